#!/usr/bin/env bash
# The units for one systemd: `tools/units.sh FOLDER [VERSION]` writes them there. From 253 on `systemctl reload` returns when the new
# configuration is in force (Type=notify-reload); before, systemd does not know that type, and reload returns a moment earlier.
#
# Without VERSION it is this machine's systemd, or the one of its distribution; where neither is known, the older form, which all understand.
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
    # It sends SIGHUP by itself then.
    sed -e 's/^Type=notify$/Type=notify-reload/' -e '/^ExecReload=.*kill -HUP/d' "$unit" >"$folder/$unit"
  else
    cp "$unit" "$folder/$unit"
  fi
  chmod 644 "$folder/$unit"
done
