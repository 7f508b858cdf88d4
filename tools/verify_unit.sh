#!/usr/bin/env bash
# The systemd units as systemd itself reads them, with and without their drop-ins. `systemd-analyze verify` exits 0 on unknown
# keys: anything it prints is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v systemd-analyze >/dev/null || { echo 'skipped: there is no systemd-analyze here'; exit 0; }

folder=$(mktemp -d) units=$(mktemp -d)
trap 'rm -rf "$folder" "$units"' EXIT
tools/units.sh "$units/here"
export SYSTEMD_UNIT_PATH="$folder:"

# verify UNIT FILE THRESHOLD [DROP-IN]: the threshold is in tenths of systemd's points.
verify() {
  local unit=$1 file=$2 threshold=$3 drop_in=${4-} output
  rm -rf "${folder:?}"/*
  # The program that the unit starts need not be installed for this.
  sed 's|^\(Exec[A-Za-z]*=\)/usr/bin/stakeout|\1/bin/true|' "$units/here/$file" >"$folder/$file"
  if [ -n "$drop_in" ]; then
    mkdir "$folder/$unit.d"
    sed 's|^\(Exec[A-Za-z]*=\)/usr/bin/stakeout|\1/bin/true|' "systemd/$drop_in" >"$folder/$unit.d/$drop_in"
  fi
  output=$(systemd-analyze verify --man=no "$folder/$unit" 2>&1) || true
  [ -z "$output" ] || { printf '%s\n' "$output"; exit 1; }
  systemd-analyze security --offline=true --threshold="$threshold" "$folder/$unit" >"$folder/exposure" ||
    { cat "$folder/exposure"; exit 1; }
  printf '%s %s' "$drop_in" "$(tail -n 1 "$folder/exposure")"
  echo
}

verify stakeout.service stakeout.service 12
verify stakeout@garage.service stakeout@.service 12
verify stakeout.service stakeout.service 17 gpu.conf
verify stakeout.service stakeout.service 17 camera.conf

# What a systemd of either kind gets: nothing differs but how a reload is told.
tools/units.sh "$units/old" 252
tools/units.sh "$units/new" 253
for unit in stakeout.service stakeout@.service; do
  different=$(diff "$units/old/$unit" "$units/new/$unit" | grep '^[<>]' | tr '\n' ' ') || true
  [ "$different" = '< Type=notify > Type=notify-reload < ExecReload=/bin/kill -HUP $MAINPID ' ] ||
    { echo "for systemd 253 and newer $unit differs in: $different"; exit 1; }
done

# One unit is the other but for the instance's name: its comment, folders, user, description and configuration.
plain() {
  grep -v '^#' "$1" | sed -e 's|/%i\.yaml|/stakeout.yaml|; s|stakeout/%i$|stakeout|; s|stakeout-%i$|stakeout|; s| (%i)$||'
}
diff <(plain systemd/stakeout.service) <(plain systemd/stakeout@.service) ||
  { echo 'stakeout@.service is no longer stakeout.service for an instance'; exit 1; }
