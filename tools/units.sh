#!/usr/bin/env bash
# Writes the units for one version of systemd: `tools/units.sh FOLDER [VERSION]`. With systemd 253 or newer `systemctl reload` returns when
# the new configuration is in effect (Type=notify-reload). Older versions do not know this type, and reload returns earlier.
#
# The default VERSION is that of this machine's systemd, or of its distribution. If neither is known, the older form is written, which
# every version accepts.
set -euo pipefail
folder=${1:?the folder}
mkdir -p "$folder"
folder=$(realpath "$folder")
cd "$(dirname "$0")/../systemd"

distribution() { apt-cache show --no-all-versions systemd 2>/dev/null | sed -n 's/^Version: \([0-9]*\).*/\1/p'; }
version=${2:-$( (systemctl --version 2>/dev/null || true) | sed -n '1s/^systemd \([0-9]*\).*/\1/p')}
[ -n "$version" ] || version=$(distribution || true)

for unit in stakeout.service stakeout@.service; do
  if [ "${version:-0}" -ge 253 ]; then
    # This type sends SIGHUP automatically.
    sed -e 's/^Type=notify$/Type=notify-reload/' -e '/^ExecReload=.*kill -HUP/d' "$unit" >"$folder/$unit"
  else
    cp "$unit" "$folder/$unit"
  fi
  chmod 644 "$folder/$unit"
done
