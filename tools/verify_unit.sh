#!/usr/bin/env bash
# Checks the systemd units with `systemd-analyze`, with and without their drop-ins. `systemd-analyze verify` exits with 0 for unknown
# keys, so any output is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=tools/skip.sh
. tools/skip.sh
command -v systemd-analyze >/dev/null || missing 'systemd-analyze is missing (Debian: systemd)'

folder=$(mktemp -d) units=$(mktemp -d)
trap 'rm -rf "$folder" "$units"' EXIT
tools/units.sh "$units/here"
export SYSTEMD_UNIT_PATH="$folder:"

# verify UNIT FILE THRESHOLD [DROP-IN]: the threshold is in tenths of the exposure level of systemd.
verify() {
  local unit=$1 file=$2 threshold=$3 drop_in=${4-} output
  rm -rf "${folder:?}"/*
  # The program of the unit need not be installed.
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
verify stakeout.service stakeout.service 12 edit.conf
verify stakeout.service stakeout.service 13 openvino.conf

# The units for older and newer releases of systemd differ only in the reload.
tools/units.sh "$units/old" 252
tools/units.sh "$units/new" 253
for unit in stakeout.service stakeout@.service; do
  different=$(diff "$units/old/$unit" "$units/new/$unit" | grep '^[<>]' | tr '\n' ' ') || true
  [ "$different" = '< Type=notify > Type=notify-reload < ExecReload=/bin/kill -HUP $MAINPID ' ] ||
    { echo "for systemd 253 and newer $unit differs in: $different"; exit 1; }
done

# The template differs from the service only by the name of the instance: in its comment, folders, user, description and configuration.
plain() {
  grep -v '^#' "$1" | sed -e 's|/%i\.yaml|/stakeout.yaml|; s|stakeout/%i$|stakeout|; s|stakeout-%i$|stakeout|; s| (%i)$||'
}
diff <(plain systemd/stakeout.service) <(plain systemd/stakeout@.service) ||
  { echo 'stakeout@.service differs from stakeout.service by more than the instance'; exit 1; }
