#!/usr/bin/env bash
# Tests the service with a real systemd: `tools/test_systemd.sh BINARY`. It boots systemd in a container over a temporary overlay of
# this machine's root, with the unit of this repository. `tools/test_systemd.sh --in ROOT` boots that system, in which the package and
# a broker must be installed. It tests the start, READY, credentials (plain and encrypted), the sandbox, an alert, a good and a bad
# reload, a hang that the watchdog ends, a kill, an instance of the template, the stop, and a bad configuration.
#
# It needs root, overlayfs and systemd-nspawn (package systemd-container); without them it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=tools/skip.sh
. tools/skip.sh
[ "$(id -u)" = 0 ] || skip 'booting systemd in a container needs root'
command -v systemd-nspawn >/dev/null || missing 'systemd-nspawn is missing (Debian: systemd-container)'
base=/
if [ "${1:?the binary to test}" = --in ]; then
  base=$(realpath "${2:?the root}")
else
  binary=$(realpath "$1")
  library=$(find "${XDG_DATA_HOME:-$HOME/.local/share}/stakeout/lib" /usr/lib/stakeout -name 'libonnxruntime.so*' 2>/dev/null | head -n 1) || true
  [ -n "$library" ] || missing 'ONNX Runtime is missing: run tools/setup.sh demo'
fi
[ -x "$base/lib/systemd/systemd" ] || missing 'systemd is missing'
[ -x "$base/usr/sbin/mosquitto" ] || missing 'mosquitto is missing'

work=$(mktemp -d)
clean_up() {
  umount "$work/over/root" 2>/dev/null || true
  umount "$work/over" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
mkdir "$work/over"
mount -t tmpfs tmpfs "$work/over" 2>/dev/null || skip 'mounts are not allowed'
mkdir "$work"/over/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/over/upper,workdir=$work/over/work" "$work/over/root" 2>/dev/null ||
  skip 'overlay mounts are not allowed'
root=$work/over/root

rm -f "$root/etc/machine-id"
# No other service of this machine.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/var/log/journal
mkdir -p "$root"/{usr/lib/stakeout,etc/stakeout/rules.d,etc/stakeout/credentials,samples,home/anna/pictures,var/cache/stakeout/model}
mkdir -p "$root"/etc/systemd/system/{stakeout.service.d,stakeout@.service.d}
if [ "$base" = / ]; then
  install -m 755 "$binary" "$root/usr/bin/stakeout"
  install -m 644 "$library" "$root/usr/lib/stakeout/"
  tools/units.sh "$root/etc/systemd/system"
  install -m 644 packaging/sysusers.d/stakeout.conf "$root/usr/lib/sysusers.d/stakeout.conf"
  install -m 644 packaging/tmpfiles.d/stakeout.conf "$root/usr/lib/tmpfiles.d/stakeout.conf"
fi
cp models/bundled/samples/*.jpg "$root/samples/"
# A model that root has fetched before.
cp -r models/bundled/{*.json,onnx} "$root/var/cache/stakeout/model/"
chmod -R u=rwX,go=rX "$root/var/cache/stakeout" "$root/samples"
chmod 755 "$root/home/anna" "$root/home/anna/pictures"

password=a-word-that-only-root-can-read
(umask 077; printf '%s' "$password" >"$root/etc/stakeout/credentials/mqtt")
cat >"$root/etc/systemd/system/stakeout.service.d/test.conf" <<END
[Service]
LoadCredential=mqtt:/etc/stakeout/credentials/mqtt
END
cp "$root/etc/systemd/system/stakeout.service.d/test.conf" "$root/etc/systemd/system/stakeout@.service.d/test.conf"
# Shorter than by default, and longer than a busy machine may keep a healthy service from running.
echo 'WatchdogSec=20s' >>"$root/etc/systemd/system/stakeout.service.d/test.conf"
cat >"$root/etc/stakeout/stakeout.yaml" <<'END'
mqtt: { url: "mqtt://127.0.0.1:1883", username: watcher, password: "${credential:mqtt}" }
model: /var/cache/stakeout/model
label_sets:
  objects:
    template: a photo of {}
    background: [an empty scene, a plain background, something else]
    labels: { red car: 0.75 }
sources:
  inbox: { folder: /var/spool/stakeout/inbox, watch: [objects] }
  home: { folder: /home/anna/pictures, watch: [objects] }
  gate: { http: "http://127.0.0.1:8000/red-car.jpg", every: 1s, watch: [objects] }
END
cat >"$root/etc/stakeout/garage.yaml" <<'END'
mqtt: { url: "mqtt://127.0.0.1:1883", username: watcher, password: "${credential:mqtt}", prefix: garage }
label_sets: { objects: { background: [an empty scene], labels: { red car: 0.75 } } }
sources: { inbox: { folder: /var/spool/stakeout/inbox, watch: [objects] } }
END
# An RTSP camera, if the packages for it are installed.
if command -v ffmpeg >/dev/null && chroot "$root" /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null; then
  ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=10 -t 4 -c:v libx264 -preset ultrafast -g 10 -bf 0 -pix_fmt yuv420p \
    -x264-params aud=1:scenecut=0 -f h264 "$root/samples/yard.h264" </dev/null
  cp tests/it/common/rtsp.py "$root/samples/"
  echo '  yard: { rtsp: "rtsp://127.0.0.1:8554/stream", every: 1s, watch: [objects] }' >>"$root/etc/stakeout/stakeout.yaml"
fi
cat >"$root/etc/mosquitto/test.conf" <<'END'
listener 1883 127.0.0.1
password_file /etc/mosquitto/test.passwords
user root
END
chroot "$root" mosquitto_passwd -b -c /etc/mosquitto/test.passwords watcher "$password" 2>/dev/null

install -m 755 tools/test_systemd_inside.sh "$root/usr/bin/test-inside"
cat >"$root/etc/systemd/system/test-inside.service" <<END
[Unit]
After=network.target
[Service]
Type=oneshot
ExecStart=/bin/bash /usr/bin/test-inside
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/inside.log
StandardError=inherit
TimeoutStartSec=1200
[Install]
WantedBy=multi-user.target
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s /etc/systemd/system/test-inside.service "$root/etc/systemd/system/multi-user.target.wants/"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# With its own network, so that the ports of this machine do not matter.
timeout 1300 systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network --boot --console=pipe </dev/null >"$work/console" 2>&1 || true
[ -s "$root/inside.log" ] || { cat "$work/console"; echo 'systemd did not start in the container'; exit 1; }
cat "$root/inside.log"
grep -qx 'all tests passed' "$root/inside.log"
