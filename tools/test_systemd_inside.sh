#!/usr/bin/env bash
# Runs inside the container that test_systemd.sh boots. Each printed line is a result.
set -euo pipefail
unit=stakeout.service
config=/etc/stakeout/stakeout.yaml

failed() { echo "FAILED: $*"; systemctl status "$unit" --no-pager -l || true; journalctl --no-pager -u "$unit" -n 60 || true; exit 1; }
trap 'failed "line $LINENO"' ERR
show() { systemctl show -P "$1" "${2:-$unit}"; }
# Waits until the command succeeds. Only a hang reaches the limit of 120 seconds.
wait_for() { local what=$1; shift; for _ in $(seq 1200); do if "$@"; then return 0; fi; sleep 0.1; done; failed "timed out waiting for $what"; }

systemd-sysusers stakeout.conf
systemd-tmpfiles --create stakeout.conf
/usr/sbin/mosquitto -d -c /etc/mosquitto/test.conf
password=$(cat /etc/stakeout/credentials/mqtt)
: >/heard
stdbuf -oL mosquitto_sub -h 127.0.0.1 -u watcher -P "$password" -v -t 'stakeout/#' -t 'garage/#' >>/heard 2>/heard.errors &
# Cameras: one over HTTP, one over RTSP.
(cd /samples && exec python3 -m http.server --bind 127.0.0.1 8000) >/dev/null 2>&1 &
[ ! -e /samples/rtsp.py ] || /usr/bin/python3 /samples/rtsp.py 8554 h264 10 /samples/yard.h264 >/dev/null 2>&1 &

# Returns when the service has sent READY.
systemctl start "$unit"
# systemd may answer `systemctl start` before it shows the new state: observed once under load.
wait_for 'the active state' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
echo "ready: $(show StatusText)"
wait_for 'the status on the broker, with the password from the credential' grep -q '^stakeout/status online' /heard
echo 'credential: read, and the broker accepts it'

version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
type=notify
[ "$version" -lt 253 ] || type=notify-reload
[ "$(show Type) $(show Type stakeout@garage)" = "$type $type" ] || failed "its type is $(show Type)"
complaints=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -i stakeout) || true
[ -z "$complaints" ] || failed "systemd-analyze reports: $complaints"
echo "systemd $version: its type is $type"

process=$(show MainPID)
[ "$(ps -o user= -p "$process")" = stakeout ] || failed 'it runs as another user'
for line in 'CapEff: 0000000000000000' 'CapBnd: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2'; do
  tr '\t' ' ' <"/proc/$process/status" | grep -qx "$line" || failed "its process does not have: $line"
done
# As root inside its mounts, so only the mounts can refuse.
in_its_mounts() { nsenter -t "$process" -m -- "$@"; }
for folder in / /usr /etc/stakeout /home/anna/pictures; do
  if in_its_mounts touch "$folder/written" 2>/dev/null; then failed "it can write to $folder"; fi
done
in_its_mounts touch /var/lib/stakeout/written /var/cache/stakeout/written /var/spool/stakeout/inbox/.written
! in_its_mounts sh -c 'ls /dev/kmsg /dev/mem /dev/*da' 2>/dev/null | grep . || failed 'it sees devices'
decoder=$(pgrep -P "$process" -f 'stakeout decoder' | head -n 1)
[ -n "$decoder" ] || failed 'no process decodes pictures for it'
for line in 'CapEff: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2'; do
  tr '\t' ' ' <"/proc/$decoder/status" | grep -qx "$line" || failed "the process that decodes pictures does not have: $line"
done
! journalctl -u "$unit" | grep 'there is no sandbox' || failed 'pictures are decoded in the service'
echo 'sandbox: its user, no capability, system calls filtered, no device; it can write to its state, its cache and its pictures only'

[ "$(stat -c '%U:%G %a' /run/stakeout)" = 'stakeout:stakeout 750' ] || failed "/run/stakeout is $(stat -c '%U:%G %a' /run/stakeout)"
echo 'socket: its folder is for the group stakeout'

memory=$(show MemoryMax) group=$(show ControlGroup)
[ "$memory" != infinity ] && [ "$(ps -o ni= -p "$process" | tr -d ' ')" = 5 ] || failed 'it has no limits'
for file in "/sys/fs/cgroup/memory$group/memory.limit_in_bytes" "/sys/fs/cgroup$group/memory.max"; do
  [ ! -e "$file" ] || [ "$(cat "$file")" -le "$memory" ] || failed "the limit of the kernel is $(cat "$file")"
done
echo "limits: memory $memory bytes, $(show TasksMax) threads, nice 5"

cp /samples/pink-heart.jpg /home/anna/pictures/
cameras='gate home inbox'
[ ! -e /samples/rtsp.py ] || cameras="$cameras yard"
for camera in $cameras; do wait_for "$camera" grep -q "^stakeout/$camera/status online" /heard; done
wait_for 'an alert of a camera' grep -q '^stakeout/gate/objects/red_car/alert .*"raised"' /heard
[ -n "$(find /var/cache/stakeout -user stakeout -type f)" ] || failed 'its cache has no vectors'
wait_for 'the status text' bash -c "systemctl show -P StatusText $unit | grep -q '^[1-9][0-9]* sources online'"
echo "sources: $cameras are online, with a model from the cache; status text: $(show StatusText)"
install -m 644 /samples/red-car.jpg /var/spool/stakeout/inbox/
wait_for 'an alert' grep -q '^stakeout/inbox/objects/red_car/alert .*"raised"' /heard
echo 'alert: raised by a picture in the folder of its group'

sed -i 's/red car: 0.75 }/red car: 0.75, blue umbrella: 0.75 }/' "$config"
systemctl reload "$unit"
# With notify-reload, `systemctl reload` returns when the change is in effect.
in_force() { journalctl -u "$unit" | grep -q 'has changed and is in force'; }
[ "$type" = notify-reload ] || wait_for 'the change' in_force
install -m 644 /samples/blue-umbrella.jpg /var/spool/stakeout/inbox/
wait_for 'an alert of the new label' grep -q '^stakeout/inbox/objects/blue_umbrella/alert .*"raised"' /heard
echo "reload ($type): a new label is watched"

sed -i 's/blue umbrella: 0.75/blue umbrella: 7.5/' "$config"
if systemctl reload "$unit"; then failed 'a reload of an invalid configuration succeeded'; fi
wait_for 'the error in the journal' bash -c "journalctl -u $unit | grep -q 'stakeout.yaml:'"
[ "$(show ActiveState) $(show MainPID)" = "active $process" ] || failed 'an invalid reload changed the service'
echo 'invalid reload: reported as failed, and the service continues'
sed -i 's/blue umbrella: 7.5/blue umbrella: 0.75/' "$config"
systemctl reload "$unit"

restarts() { [ "$(show NRestarts)" = "$1" ] && [ "$(show ActiveState)" = active ]; }
kill -STOP "$process"
wait_for 'the restart by the watchdog' restarts 1
[ "$(show MainPID)" != "$process" ] || failed 'it is still the process that hung'
journalctl -u "$unit" | grep -q 'Watchdog timeout' || failed 'it was not the watchdog'
# Two pings of the new process: it keeps the watchdog from ending it.
for ping in first second; do
  last=$(show WatchdogTimestampMonotonic)
  wait_for "the $ping ping" bash -c "[ \"\$(systemctl show -P WatchdogTimestampMonotonic $unit)\" != $last ]"
done
restarts 1 || failed 'the watchdog ended a service that did not hang'
echo 'watchdog: a process that hung was replaced, and the new one sends pings'

kill -KILL "$(show MainPID)"
wait_for 'the restart after a kill' restarts 2
echo 'restart: a killed process was replaced'

# The same password, encrypted with the key of this machine.
systemd-creds setup >/dev/null 2>&1 || true
if printf '%s' "$password" | systemd-creds encrypt --with-key=host --name=mqtt - /etc/stakeout/credentials/mqtt.encrypted 2>/creds.errors; then
  ! grep -qF "$password" /etc/stakeout/credentials/mqtt.encrypted || failed 'it is not encrypted'
  sed -i 's|^LoadCredential=.*|LoadCredentialEncrypted=mqtt:/etc/stakeout/credentials/mqtt.encrypted|' "/etc/systemd/system/$unit.d/test.conf"
  systemctl daemon-reload
  : >/heard
  systemctl restart "$unit"
  wait_for 'the status, with the encrypted password' grep -q '^stakeout/status online' /heard
  echo 'encrypted credential: read, and the broker accepts it'
else
  echo "encrypted credential NOT tested: $(cat /creds.errors)"
fi

systemctl start stakeout@garage
wait_for 'the instance' grep -q '^garage/status online' /heard
[ -d /var/lib/stakeout/garage ] && [ "$(stat -c %U /var/lib/stakeout/garage)" = stakeout ] || failed 'it has no own folder'
[ "$(show MainPID stakeout@garage)" != "$(show MainPID)" ] || failed 'it is the same process'
systemctl stop stakeout@garage
[ ! -e /run/stakeout-garage ] && [ -d /run/stakeout ] || failed 'the folder of its socket is another one'
[ "$(show ActiveState)" = active ] || failed 'the service stopped with its instance'
echo 'template: stakeout@garage runs in addition, with its own folder and topics'

systemctl stop "$unit"
[ "$(show Result)" = success ] || failed "the result of the stop is $(show Result)"
wait_for 'the status offline' bash -c "grep '^stakeout/status' /heard | tail -n 1 | grep -q offline"
echo 'stop: offline was published, and the result is success'

echo 'treshold: 1' >>"$config"
if systemctl start "$unit"; then failed 'it starts with an invalid configuration'; fi
[ "$(show ExecMainStatus)" = 78 ] || failed "it exited with $(show ExecMainStatus)"
# Before a restart the state is `activating (auto-restart)`.
[ "$(show ActiveState) $(show SubState) $(show NRestarts)" = 'failed failed 0' ] || failed "it is restarted: $(show ActiveState) $(show SubState)"
echo 'invalid configuration: exit code 78, and no restart'
! journalctl --no-pager | grep -qF "$password" || failed 'the password is in the journal'
echo 'all tests passed'
