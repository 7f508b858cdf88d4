#!/usr/bin/env bash
# Runs inside the container that test_systemd.sh boots. Each line that it prints is something that was seen.
set -euo pipefail
unit=stakeout.service
config=/etc/stakeout/stakeout.yaml

failed() { echo "FAILED: $*"; systemctl status "$unit" --no-pager -l || true; journalctl --no-pager -u "$unit" -n 60 || true; exit 1; }
trap 'failed "line $LINENO"' ERR
show() { systemctl show -P "$1" "${2:-$unit}"; }
# A condition that comes about sooner or later.
wait_for() { local what=$1; shift; for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.1; done; failed "waited in vain for $what"; }

systemd-sysusers stakeout.conf
systemd-tmpfiles --create stakeout.conf
/usr/sbin/mosquitto -d -c /etc/mosquitto/test.conf
password=$(cat /etc/stakeout/credentials/mqtt)
: >/heard
stdbuf -oL mosquitto_sub -h 127.0.0.1 -u watcher -P "$password" -v -t 'stakeout/#' -t 'garage/#' >>/heard 2>/heard.errors &
# Cameras: one by HTTP, one by RTSP.
(cd /samples && exec python3 -m http.server --bind 127.0.0.1 8000) >/dev/null 2>&1 &
[ ! -e /samples/rtsp.py ] || /usr/bin/python3 /samples/rtsp.py 8554 h264 10 /samples/yard.h264 >/dev/null 2>&1 &

# Returns only when the service has said READY.
systemctl start "$unit"
# systemd answers the one who started it a moment before it shows the new state to others: seen once under load.
wait_for 'it to be active' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
echo "ready: $(show StatusText)"
wait_for 'its status on the broker, with the password from the credential' grep -q '^stakeout/status online' /heard
echo 'credential: read, the broker let it in'

version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
type=notify
[ "$version" -lt 253 ] || type=notify-reload
[ "$(show Type) $(show Type stakeout@garage)" = "$type $type" ] || failed "its type is $(show Type)"
complaints=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -i stakeout) || true
[ -z "$complaints" ] || failed "systemd has something to say about it: $complaints"
echo "systemd $version: its type is $type"

process=$(show MainPID)
[ "$(ps -o user= -p "$process")" = stakeout ] || failed 'it runs as somebody else'
for line in 'CapEff: 0000000000000000' 'CapBnd: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2'; do
  tr '\t' ' ' <"/proc/$process/status" | grep -qx "$line" || failed "its process is not $line"
done
# What it sees: as root inside of its mounts, so that only the mounts can refuse.
in_its_world() { nsenter -t "$process" -m -- "$@"; }
for folder in / /usr /etc/stakeout /home/anna/pictures; do
  if in_its_world touch "$folder/written" 2>/dev/null; then failed "it can write to $folder"; fi
done
in_its_world touch /var/lib/stakeout/written /var/cache/stakeout/written
! in_its_world sh -c 'ls /dev/kmsg /dev/mem /dev/*da' 2>/dev/null | grep . || failed 'it sees devices'
echo 'sandbox: its user, no capability, system calls filtered, no device; it can write to its state and its cache only'

memory=$(show MemoryMax) group=$(show ControlGroup)
[ "$memory" != infinity ] && [ "$(ps -o ni= -p "$process" | tr -d ' ')" = 5 ] || failed 'there is no limit'
for file in "/sys/fs/cgroup/memory$group/memory.limit_in_bytes" "/sys/fs/cgroup$group/memory.max"; do
  [ ! -e "$file" ] || [ "$(cat "$file")" -le "$memory" ] || failed "the kernel's limit is $(cat "$file")"
done
echo "limits: memory $memory bytes, $(show TasksMax) threads, nice 5"

cp /samples/pink-heart.jpg /home/anna/pictures/
cameras='gate home inbox'
[ ! -e /samples/rtsp.py ] || cameras="$cameras yard"
for camera in $cameras; do wait_for "$camera" grep -q "^stakeout/$camera/status online" /heard; done
wait_for 'an alert of a camera' grep -q '^stakeout/gate/objects/red_car/alert .*"raised"' /heard
[ -n "$(find /var/cache/stakeout -user stakeout -type f)" ] || failed 'no vectors in its cache'
wait_for 'words of what it does' bash -c "systemctl show -P StatusText $unit | grep -q '^[1-9][0-9]* sources online'"
echo "sources: $cameras are online, with a model out of the cache; systemctl status says: $(show StatusText)"
install -m 644 /samples/red-car.jpg /var/lib/stakeout/inbox/
wait_for 'an alert' grep -q '^stakeout/inbox/objects/red_car/alert .*"raised"' /heard
echo 'alert: raised by a picture in a folder that a group may write to'

sed -i 's/red car: 0.75 }/red car: 0.75, blue umbrella: 0.75 }/' "$config"
systemctl reload "$unit"
# The newer kind returns when it is in force: the very next picture is looked at for it.
in_force() { journalctl -u "$unit" | grep -q 'has changed and is in force'; }
[ "$type" = notify-reload ] || wait_for 'the change' in_force
install -m 644 /samples/blue-umbrella.jpg /var/lib/stakeout/inbox/
wait_for 'an alert of the new label' grep -q '^stakeout/inbox/objects/blue_umbrella/alert .*"raised"' /heard
echo "reload ($type): a new label is watched"

sed -i 's/blue umbrella: 0.75/blue umbrella: 7.5/' "$config"
if systemctl reload "$unit"; then failed 'a reload with a mistake was called good'; fi
wait_for 'the mistake in the journal' bash -c "journalctl -u $unit | grep -q 'stakeout.yaml:'"
[ "$(show ActiveState) $(show MainPID)" = "active $process" ] || failed 'a bad reload did something to the service'
echo 'bad reload: reported as failed, and the service goes on'
sed -i 's/blue umbrella: 7.5/blue umbrella: 0.75/' "$config"
systemctl reload "$unit"

restarts() { [ "$(show NRestarts)" = "$1" ] && [ "$(show ActiveState)" = active ]; }
kill -STOP "$process"
wait_for 'the watchdog, and the service after it' restarts 1
[ "$(show MainPID)" != "$process" ] || failed 'it is the process that hung'
journalctl -u "$unit" | grep -q 'Watchdog timeout' || failed 'it was not the watchdog'
sleep 8
restarts 1 || failed 'the watchdog ended a service that did not hang'
echo 'watchdog: a process that hung was replaced, one that works is left alone'

kill -KILL "$(show MainPID)"
wait_for 'the service after a kill' restarts 2
echo 'restart: a process that was killed was replaced'

# The same secret, encrypted with the key of this machine.
systemd-creds setup >/dev/null 2>&1 || true
if printf '%s' "$password" | systemd-creds encrypt --with-key=host --name=mqtt - /etc/stakeout/credentials/mqtt.encrypted 2>/creds.errors; then
  ! grep -qF "$password" /etc/stakeout/credentials/mqtt.encrypted || failed 'it is not encrypted'
  sed -i 's|^LoadCredential=.*|LoadCredentialEncrypted=mqtt:/etc/stakeout/credentials/mqtt.encrypted|' "/etc/systemd/system/$unit.d/test.conf"
  systemctl daemon-reload
  : >/heard
  systemctl restart "$unit"
  wait_for 'its status, with the encrypted password' grep -q '^stakeout/status online' /heard
  echo 'encrypted credential: read, the broker let it in'
else
  echo "encrypted credential NOT looked at: systemd-creds says $(cat /creds.errors)"
fi

systemctl start stakeout@garage
wait_for 'the instance' grep -q '^garage/status online' /heard
[ -d /var/lib/stakeout/garage ] && [ "$(stat -c %U /var/lib/stakeout/garage)" = stakeout ] || failed 'it has no folder of its own'
[ "$(show MainPID stakeout@garage)" != "$(show MainPID)" ] || failed 'it is the same process'
systemctl stop stakeout@garage
[ "$(show ActiveState)" = active ] || failed 'the service went with its instance'
echo 'template: stakeout@garage runs beside it, with its own folder and topics'

systemctl stop "$unit"
[ "$(show Result)" = success ] || failed "stopped with $(show Result)"
wait_for 'its last word' bash -c "grep '^stakeout/status' /heard | tail -n 1 | grep -q offline"
echo 'stop: offline was said, and the result is success'

echo 'treshold: 1' >>"$config"
if systemctl start "$unit"; then failed 'it starts with a bad configuration'; fi
[ "$(show ExecMainStatus)" = 78 ] || failed "it ended with $(show ExecMainStatus)"
sleep 4
[ "$(show ActiveState) $(show NRestarts)" = 'failed 0' ] || failed 'it is tried again and again'
echo 'bad configuration: exit code 78, and not tried again'
! journalctl --no-pager | grep -qF "$password" || failed 'the password is in the journal'
echo 'all is well'
