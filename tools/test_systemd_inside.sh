#!/usr/bin/env bash
# Runs inside the container that test_systemd.sh boots. Each line that it prints is something that was seen.
set -euo pipefail
unit=stakeout.service
config=/etc/stakeout/stakeout.yaml

failed() { echo "FAILED: $*"; systemctl status "$unit" --no-pager -l || true; journalctl --no-pager -u "$unit" -n 60 || true; exit 1; }
trap 'failed "line $LINENO"' ERR
show() { systemctl show -P "$1" "$unit"; }
# A condition that comes about sooner or later.
wait_for() { local what=$1; shift; for _ in $(seq 300); do if "$@"; then return 0; fi; sleep 0.1; done; failed "waited in vain for $what"; }

systemd-sysusers stakeout.conf
systemd-tmpfiles --create stakeout.conf
/usr/sbin/mosquitto -d -c /etc/mosquitto/test.conf
password=$(cat /etc/stakeout/credentials/mqtt)
stdbuf -oL mosquitto_sub -h 127.0.0.1 -u watcher -P "$password" -v -t 'stakeout/#' >/heard 2>/heard.errors &

# Returns only when the service has said READY.
systemctl start "$unit"
# systemd answers the one who started it a moment before it shows the new state to others: seen once under load.
wait_for 'it to be active' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
echo "ready: $(show StatusText)"
wait_for 'its status on the broker, with the password from the credential' grep -q '^stakeout/status online' /heard
echo 'credential: read, the broker let it in'

process=$(show MainPID)
[ "$(ps -o user= -p "$process")" = stakeout ] || failed 'it runs as somebody else'
install -m 644 /samples/red-car.jpg /var/lib/stakeout/inbox/
wait_for 'an alert' grep -q '^stakeout/inbox/objects/red_car/alert .*"raised"' /heard
echo 'alert: raised by a picture in a folder that a group may write to'

sed -i 's/red car: 0.75 }/red car: 0.75, blue umbrella: 0.75 }/' "$config"
systemctl reload "$unit"
install -m 644 /samples/blue-umbrella.jpg /var/lib/stakeout/inbox/
wait_for 'an alert of the new label' grep -q '^stakeout/inbox/objects/blue_umbrella/alert .*"raised"' /heard
echo 'reload: a new label is watched'

sed -i 's/blue umbrella: 0.75/blue umbrella: 7.5/' "$config"
if systemctl reload "$unit"; then failed 'a reload with a mistake was called good'; fi
wait_for 'the mistake in the journal' bash -c "journalctl -u $unit | grep -q 'stakeout.yaml:'"
[ "$(show ActiveState) $(show MainPID)" = "active $process" ] || failed 'a bad reload did something to the service'
echo 'bad reload: reported as failed, and the service goes on'
sed -i 's/blue umbrella: 7.5/blue umbrella: 0.75/' "$config"
systemctl reload "$unit"

if grep -q '^WatchdogSec=' "/etc/systemd/system/$unit"; then
  kill -STOP "$process"
  wait_for 'the watchdog' bash -c "[ \"\$(systemctl show -P NRestarts $unit)\" = 1 ]"
  wait_for 'the service after it' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
  [ "$(show MainPID)" != "$process" ] || failed 'it is the process that hung'
  sleep 8
  [ "$(show NRestarts)" = 1 ] || failed 'the watchdog ended a service that did not hang'
  echo 'watchdog: a process that hung was replaced, one that works is left alone'
fi

systemctl stop "$unit"
[ "$(show Result)" = success ] || failed "stopped with $(show Result)"
wait_for 'its last word' bash -c "tail -n 3 /heard | grep -q '^stakeout/status offline'"
echo 'stop: offline was said, and the result is success'

echo 'treshold: 1' >>"$config"
if systemctl start "$unit"; then failed 'it starts with a bad configuration'; fi
[ "$(show ExecMainStatus)" = 78 ] || failed "it ended with $(show ExecMainStatus)"
sleep 4
[ "$(show ActiveState)" = failed ] || failed 'it is tried again and again'
echo 'bad configuration: exit code 78, and not tried again'
! journalctl --no-pager | grep -qF "$password" || failed 'the password is in the journal'
echo 'all is well'
