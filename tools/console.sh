#!/usr/bin/env bash
# Checks the console and the documentation in web/: their types, that web/dist/ and web/dist-docs/ are what their sources build, that the API
# types are those of the program, and the tests in a browser. `tools/console.sh [PROGRAM]`. Needs nodejs, npm and chromium (tools/setup.sh gate), and a
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

echo 'web/dist/ and web/dist-docs/ are built from their sources'
node build.mjs "$work/dist"
node docs.mjs "$work/dist-docs"
# Compressed files may differ between releases of zlib; what they contain may not.
unpacked() {
  local file
  for file in "$1"/*; do
    printf '%s ' "$(basename "$file")"
    case $file in *.gz) gzip -dc "$file" | sha256sum ;; *) sha256sum <"$file" ;; esac
  done
}
for built in dist dist-docs; do
  diff <(unpacked "$built") <(unpacked "$work/$built") || {
    echo "FAILED: web/$built/ is not what its sources build: run \`npm run build\` in web/, and commit web/$built/"
    exit 1
  }
done

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
