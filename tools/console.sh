#!/usr/bin/env bash
# Checks the console in web/: its types, that web/dist/ is what its sources build, that its API types are those of the program, and the
# tests in a browser. `tools/console.sh [PROGRAM]`. Needs nodejs, npm and chromium (tools/setup.sh gate), and a
# registry of npm packages unless web/node_modules has what the lock file names.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/skip.sh
program=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/stakeout}")
export STAKEOUT=$program

for tool in node npm; do
  command -v "$tool" >/dev/null || missing "the console is not checked: $tool is not installed; run tools/setup.sh gate"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd web
# The packages that the lock file names, and no scripts of theirs. A folder that has exactly these packages is kept.
same() { [ -f node_modules/.package-lock.json ] && npm ls --all >"$work/ls" 2>&1 && [ node_modules/.package-lock.json -nt package-lock.json ]; }
same || npm ci --ignore-scripts --no-fund --no-audit >"$work/npm" 2>&1 || {
  grep -v '^npm warn' "$work/npm" | tail -n 8
  grep -qE 'E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|NETUNREACH|TIMEDOUT)|ETIMEOUT|EIDLETIMEOUT' "$work/npm" || exit 1
  not_checked 'the console: no registry of npm packages can be reached'
  exit 0
}

echo 'types'
npm run --silent check

echo 'web/dist/ is built from web/src/'
node build.mjs "$work/dist"
unpacked() { for file in "$1"/*.gz; do printf '%s ' "$(basename "$file")"; gzip -dc "$file" | sha256sum; done; cat "$1"/assets.rs "$1"/report.* "$1"/packages.json; }
# Compressed files may differ between releases of zlib; what they contain may not.
diff <(unpacked dist) <(unpacked "$work/dist") || {
  echo 'FAILED: web/dist/ is not what web/src/ builds: run `npm run build` in web/, and commit web/dist/'
  exit 1
}

if [ -x "$program" ]; then
  echo 'web/src/api-types.ts is written from the OpenAPI document'
  node tools/types.mjs "$work/api-types.ts"
  diff src/api-types.ts "$work/api-types.ts" || {
    echo 'FAILED: the API has other types: run `npm run types` in web/, and commit web/src/api-types.ts'
    exit 1
  }
else
  echo "FAILED: there is no $program: run cargo build"
  exit 1
fi

command -v chromium >/dev/null || missing "the console is not tested in a browser: chromium is not installed; run tools/setup.sh gate"
echo 'tests in a browser'
npm test --silent
