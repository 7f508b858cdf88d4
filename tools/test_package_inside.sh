#!/usr/bin/env bash
# Runs inside the Debian that test_package.sh boots, with the package installed. Each line that it prints is something that was
# seen.
set -euo pipefail
unit=stakeout.service
config=/etc/stakeout/stakeout.yaml
export DEBIAN_FRONTEND=noninteractive

failed() { echo "FAILED: $*"; systemctl status "$unit" --no-pager -l || true; journalctl --no-pager -n 60 || true; exit 1; }
trap 'failed "line $LINENO"' ERR
show() { systemctl show -P "$1" "${2:-$unit}"; }
# A condition that comes about sooner or later.
wait_for() { local what=$1; shift; for _ in $(seq 600); do if "$@"; then return 0; fi; sleep 0.1; done; failed "waited in vain for $what"; }
# Keeps the configuration of the user, as unattended upgrades do.
apt() { apt-get -y -qq -o Dpkg::Options::=--force-confold "$@" >>/var/log/apt.test 2>&1 || { tail -n 30 /var/log/apt.test; failed "apt-get $*"; }; }
heard() { grep -q "$1" /heard; }
listen() { : >/heard; stdbuf -oL mosquitto_sub -h 127.0.0.1 -v -t 'stakeout/#' >>/heard 2>/dev/null & }

# What is there.
stakeout --version | grep -qx "stakeout ${VERSION%%[-+~]*}"
dpkg --verify stakeout
! ldd /usr/bin/stakeout | grep 'not found' || failed 'a library is missing'
[ "$(getent passwd stakeout | cut -d: -f6,7)" = /var/lib/stakeout:/usr/sbin/nologin ] || failed "the user is $(getent passwd stakeout)"
seen() { [ "$(stat -c '%U:%G %a' "$2")" = "$1" ] || failed "$2 is $(stat -c '%U:%G %a' "$2")"; }
seen 'root:root 644' "$config"
seen 'root:root 755' /etc/stakeout/rules.d
seen 'root:root 700' /etc/stakeout/credentials
seen 'stakeout:stakeout 2775' /var/lib/stakeout/inbox
for file in man/man1/stakeout.1.gz man/man1/stakeout-run.1.gz bash-completion/completions/stakeout \
  zsh/vendor-completions/_stakeout fish/vendor_completions.d/stakeout.fish doc/stakeout/copyright doc/stakeout/changelog.gz; do
  # A clean Debian may be told to leave papers out, and says so.
  [ -e "/usr/share/$file" ] || grep -rqs 'path-exclude' /etc/dpkg/dpkg.cfg.d || failed "$file is not there"
done
wait_for 'the broker' mosquitto_pub -h 127.0.0.1 -t up -n
stakeout check --config "$config" 2>/dev/null
stakeout classify --format json --label 'red car' --label 'an empty scene' /samples/red-car.jpg >/scores 2>/dev/null
grep -q '"scores"' /scores
echo "installed: the program, its user and its folders; its own ONNX Runtime scores $(tr -d '\n' </scores | cut -c1-120)"

# It waits to be started: what it watches is still the example.
[ "$(systemctl is-enabled "$unit") $(show ActiveState)" = 'disabled inactive' ] || failed 'it starts by itself'
useradd anna
usermod -aG stakeout anna
listen
systemctl enable --now "$unit" 2>/dev/null
[ "$(show ActiveState)" = active ] || failed 'it is not active'
echo "started: $(show StatusText)"
wait_for 'its status' heard '^stakeout/status online'
runuser -u anna -- cp /samples/red-car.jpg /var/lib/stakeout/inbox/
wait_for 'an alert' heard '^stakeout/inbox/objects/red_car/alert .*"raised"'
echo 'alert: for a picture that somebody of its group brought'

# Upgrade, with a configuration that was changed, an alert that nobody took yet, and a second instance.
sed 's|/var/lib/stakeout/inbox|/srv/garage|; s|^mqtt:|mqtt:\n  prefix: garage|' "$config" >/etc/stakeout/garage.yaml
mkdir /srv/garage
systemctl enable --now stakeout@garage 2>/dev/null
echo '# This line is mine.' >>"$config"
systemctl stop mosquitto
wait_for 'the broker to be gone' bash -c '! mosquitto_pub -h 127.0.0.1 -t up -n 2>/dev/null'
runuser -u anna -- cp /samples/blue-umbrella.jpg /var/lib/stakeout/inbox/
wait_for 'the alert to be raised' bash -c "systemctl show -P StatusText $unit | grep -q '[1-9][0-9]* alerts* wait'"
before="$(show MainPID) $(show MainPID stakeout@garage)"
apt install /packages/new.deb
[ "$(dpkg-query -f '${Version}' -W stakeout)" = "$VERSION+next" ] || failed 'it was not upgraded'
grep -qx '# This line is mine.' "$config" || failed 'the configuration was overwritten'
grep -qx '# The next version says more.' "$config.dpkg-dist" || failed 'the new example is nowhere'
wait_for 'the service after the upgrade' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
wait_for 'the other instance' bash -c "[ \"\$(systemctl show -P ActiveState stakeout@garage)\" = active ]"
for old in $before; do
  [ "$old" != "$(show MainPID)" ] && [ "$old" != "$(show MainPID stakeout@garage)" ] || failed 'the old version still runs'
done
echo "upgrade: to $VERSION+next, both instances were started again, and the changed configuration is as it was"
systemctl start mosquitto
wait_for 'the broker' mosquitto_pub -h 127.0.0.1 -t up -n
listen
wait_for 'the alert from before the upgrade' heard '^stakeout/inbox/objects/blue_umbrella/alert .*"raised"'
echo 'outbox: the alert from before the upgrade arrived after it'

apt remove stakeout
[ "$(show ActiveState) $(show ActiveState stakeout@garage)" = 'inactive inactive' ] || failed 'it runs on after its removal'
[ ! -e /usr/bin/stakeout ] && [ ! -e /usr/lib/stakeout ] && [ ! -e /lib/systemd/system/$unit ] && [ ! -e /usr/lib/systemd/system/$unit ]
grep -qx '# This line is mine.' "$config" && [ -d /var/lib/stakeout/inbox ] && [ -s /etc/stakeout/garage.yaml ]
echo 'remove: both instances were stopped; configuration and outbox are still there'

apt install /packages/new.deb
grep -qx '# This line is mine.' "$config" || failed 'the configuration did not survive'
apt purge stakeout
# What a user added is the user's.
[ "$(find /etc/stakeout -type f)" = /etc/stakeout/garage.yaml ] || failed "left in /etc: $(find /etc/stakeout)"
left=$(find /var/lib/stakeout /var/cache/stakeout /var/lib/systemd/deb-systemd-helper-* /etc/systemd/system -name '*stakeout*' 2>/dev/null) || true
[ -z "$left" ] || failed "left behind: $left"
[ "$(dpkg-query -f '${Status}' -W stakeout 2>/dev/null || true)" != 'install ok installed' ]
echo 'purge: nothing is left of it but what a user wrote, and the user that it ran as'
echo 'all is well'
