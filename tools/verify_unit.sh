#!/usr/bin/env bash
# The systemd unit as systemd itself reads it. `systemd-analyze verify` exits 0 on unknown keys: anything it prints is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v systemd-analyze >/dev/null || { echo 'skipped: there is no systemd-analyze here'; exit 0; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The program that the unit starts need not be installed for this.
sed 's|^\(Exec[A-Za-z]*=\)/usr/bin/stakeout|\1/bin/true|' systemd/stakeout.service >"$folder/stakeout.service"
output=$(systemd-analyze verify --man=no "$folder/stakeout.service" 2>&1) || true
[ -z "$output" ] || { printf '%s\n' "$output"; exit 1; }
systemd-analyze security --offline=true --threshold=20 "$folder/stakeout.service" | tail -n 1
