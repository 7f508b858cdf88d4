#!/usr/bin/env bash
# Runs inside the Debian that test_package.sh boots, with the package installed. Each printed line is a result.
set -euo pipefail
unit=stakeout.service
config=/etc/stakeout/stakeout.yaml
export DEBIAN_FRONTEND=noninteractive

failed() { echo "FAILED: $*"; systemctl status "$unit" --no-pager -l || true; journalctl --no-pager -n 60 || true; exit 1; }
trap 'failed "line $LINENO"' ERR
show() { systemctl show -P "$1" "${2:-$unit}"; }
# Waits until the command succeeds. Only a hang reaches the limit of 120 seconds.
wait_for() { local what=$1; shift; for _ in $(seq 1200); do if "$@"; then return 0; fi; sleep 0.1; done; failed "timed out waiting for $what"; }
# Keeps the changed configuration, as unattended upgrades do.
apt() { apt-get -y -qq -o Dpkg::Options::=--force-confold "$@" >>/var/log/apt.test 2>&1 || { tail -n 30 /var/log/apt.test; failed "apt-get $*"; }; }
received() { grep -q "$1" /heard; }
listen() { : >/heard; stdbuf -oL mosquitto_sub -h 127.0.0.1 -v -t 'stakeout/#' >>/heard 2>/dev/null & }

# The installed files.
stakeout --version | grep -qx "stakeout ${VERSION%%[-+~]*}"
dpkg --verify stakeout
! ldd /usr/bin/stakeout | grep 'not found' || failed 'a library is missing'
[ "$(getent passwd stakeout | cut -d: -f6,7)" = /var/lib/stakeout:/usr/sbin/nologin ] || failed "the user is $(getent passwd stakeout)"
check_file() { [ "$(stat -c '%U:%G %a' "$2")" = "$1" ] || failed "$2 is $(stat -c '%U:%G %a' "$2")"; }
check_file 'root:stakeout 640' "$config"
check_file 'root:root 755' /etc/stakeout/rules.d
check_file 'root:stakeout 750' /etc/stakeout/sources.d
check_file 'root:root 700' /etc/stakeout/credentials
check_file 'stakeout:stakeout 2775' /var/spool/stakeout/inbox
for file in man/man1/stakeout.1.gz man/man1/stakeout-run.1.gz bash-completion/completions/stakeout \
  zsh/vendor-completions/_stakeout fish/vendor_completions.d/stakeout.fish doc/stakeout/copyright doc/stakeout/changelog.gz \
  doc/stakeout/html/index.html; do
  # A minimal Debian may exclude documentation.
  [ -e "/usr/share/$file" ] || grep -rqs 'path-exclude' /etc/dpkg/dpkg.cfg.d || failed "$file is missing"
done
if sbom=$(cat /usr/share/doc/stakeout/sbom.cdx.json 2>/dev/null); then
  for part in libjpeg-turbo SQLite 'ONNX Runtime'; do grep -A 1 "\"name\": \"$part\"" <<<"$sbom" | grep -q '"version"' || failed "the SBOM has no $part"; done
else
  grep -rqs 'path-exclude' /etc/dpkg/dpkg.cfg.d || failed 'the SBOM is missing'
fi
wait_for 'the broker' mosquitto_pub -h 127.0.0.1 -t up -n
stakeout check --config "$config" 2>/dev/null
stakeout classify --format json --label 'red car' --label 'an empty scene' /samples/red-car.jpg >/scores 2>/dev/null
grep -q '"scores"' /scores
echo "installed: the program, its user and its folders; its own ONNX Runtime scores $(tr -d '\n' </scores | cut -c1-120)"

# It is not started by the installation: its configuration is still the example.
[ "$(systemctl is-enabled "$unit") $(show ActiveState)" = 'disabled inactive' ] || failed 'it was started'
useradd anna
usermod -aG stakeout anna
listen
systemctl enable --now "$unit" 2>/dev/null
[ "$(show ActiveState)" = active ] || failed 'it is not active'
echo "started: $(show StatusText)"
wait_for 'the status' received '^stakeout/status online'
runuser -u anna -- cp /samples/red-car.jpg /var/spool/stakeout/inbox/
wait_for 'an alert' received '^stakeout/inbox/objects/red_car/alert .*"raised"'
echo 'alert: raised by a picture of a user in its group'

# Upgrade, with a changed configuration, an undelivered alert, and a second instance.
sed 's|/var/spool/stakeout/inbox|/srv/garage|; s|^mqtt:|mqtt:\n  prefix: garage|' "$config" >/etc/stakeout/garage.yaml
mkdir /srv/garage
systemctl enable --now stakeout@garage 2>/dev/null
echo '# This line is mine.' >>"$config"
# As the package before this version has installed it.
chown root:root "$config"
chmod 644 "$config"
systemctl stop mosquitto
wait_for 'the end of the broker' bash -c '! mosquitto_pub -h 127.0.0.1 -t up -n 2>/dev/null'
runuser -u anna -- cp /samples/blue-umbrella.jpg /var/spool/stakeout/inbox/
wait_for 'the raised alert' bash -c "systemctl show -P StatusText $unit | grep -q '[1-9][0-9]* alerts* wait'"
before="$(show MainPID) $(show MainPID stakeout@garage)"
apt install /packages/new.deb
[ "$(dpkg-query -f '${Version}' -W stakeout)" = "$VERSION+next" ] || failed 'it was not upgraded'
grep -qx '# This line is mine.' "$config" || failed 'the configuration was overwritten'
check_file 'root:stakeout 640' "$config"
grep -qx '# The next version says more.' "$config.dpkg-dist" || failed 'the new example is missing'
wait_for 'the service after the upgrade' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
wait_for 'the other instance' bash -c "[ \"\$(systemctl show -P ActiveState stakeout@garage)\" = active ]"
for old in $before; do
  [ "$old" != "$(show MainPID)" ] && [ "$old" != "$(show MainPID stakeout@garage)" ] || failed 'the old version still runs'
done
echo "upgrade: to $VERSION+next, both instances were restarted, and the changed configuration is unchanged"
systemctl start mosquitto
wait_for 'the broker' mosquitto_pub -h 127.0.0.1 -t up -n
listen
wait_for 'the alert from before the upgrade' received '^stakeout/inbox/objects/blue_umbrella/alert .*"raised"'
echo 'outbox: the alert from before the upgrade arrived after it'

# A version that had the folder for pictures in the state folder, with a configuration that names it.
systemctl stop "$unit"
mv /var/spool/stakeout/inbox /var/lib/stakeout/inbox
rmdir /var/spool/stakeout
sed -i 's|/var/spool/stakeout/inbox|/var/lib/stakeout/inbox|' "$config"
apt install --reinstall /packages/new.deb
[ -L /var/lib/stakeout/inbox ] && [ -s /var/spool/stakeout/inbox/red-car.jpg ] || failed 'the folder for pictures was not moved'
check_file 'stakeout:stakeout 2775' /var/spool/stakeout/inbox
systemctl start "$unit"
wait_for 'the service over the old path' bash -c "[ \"\$(systemctl show -P ActiveState $unit)\" = active ]"
runuser -u anna -- cp /samples/green-tree.jpg /var/lib/stakeout/inbox/
wait_for 'an alert over the old path' received '^stakeout/inbox/objects/green_tree/alert .*"raised"'
echo 'upgrade from 0.1.0: the folder for pictures left the state folder with its pictures, and its old path still works'
for file in /var/lib/stakeout/*; do
  [ ! -f "$file" ] || [ "$(stat -c %a "$file")" = 600 ] || failed "$file is $(stat -c %a "$file")"
done

apt remove stakeout
[ "$(show ActiveState) $(show ActiveState stakeout@garage)" = 'inactive inactive' ] || failed 'it still runs after its removal'
[ ! -e /usr/bin/stakeout ] && [ ! -e /usr/lib/stakeout ] && [ ! -e /lib/systemd/system/$unit ] && [ ! -e /usr/lib/systemd/system/$unit ]
grep -qx '# This line is mine.' "$config" && [ -d /var/spool/stakeout/inbox ] && [ -s /etc/stakeout/garage.yaml ]
echo 'remove: both instances were stopped; configuration and outbox are kept'

apt install /packages/new.deb
grep -qx '# This line is mine.' "$config" || failed 'the configuration did not survive'
apt purge stakeout
# Files that a user has added are kept.
[ "$(find /etc/stakeout -type f)" = /etc/stakeout/garage.yaml ] || failed "left in /etc: $(find /etc/stakeout)"
left=$(find /var/lib/stakeout /var/spool/stakeout /var/cache/stakeout /var/lib/systemd/deb-systemd-helper-* /etc/systemd/system -name '*stakeout*' 2>/dev/null) || true
[ -z "$left" ] || failed "left behind: $left"
[ "$(dpkg-query -f '${Status}' -W stakeout 2>/dev/null || true)" != 'install ok installed' ]
echo 'purge: only the files of a user and the system user are left'
echo 'all tests passed'
