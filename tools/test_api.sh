#!/usr/bin/env bash
# Tests the API of a running service with schemathesis (PyPI): it reads the served OpenAPI document, sends generated requests to every
# address, and checks each answer against the document. `tools/test_api.sh target/release/stakeout`. Skips if PyPI is not reachable.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/skip.sh
program=$(realpath "${1:-target/release/stakeout}")
port=${PORT:-29464}

folder=$(mktemp -d)
trap 'kill "${service:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet 'schemathesis>=4,<5' 2>"$folder/pip" ||
  missing "schemathesis cannot be installed: $(tail -n 1 "$folder/pip")"

mkdir "$folder/inbox"
cat >"$folder/stakeout.yaml" <<EOF
mqtt: { url: "mqtt://127.0.0.1:1" }
listen: { address: "127.0.0.1:$port", token: 0123456789abcdef }
state_dir: $folder/state
label_sets:
  objects: { background: [an empty scene], labels: { red car: 0.75 } }
sources:
  inbox: { folder: $folder/inbox, watch: [objects] }
EOF
"$program" run --config "$folder/stakeout.yaml" >"$folder/log" 2>&1 &
service=$!
address=http://127.0.0.1:$port
token='Authorization: Bearer 0123456789abcdef'
for _ in $(seq 600); do
  curl -sf -o "$folder/ready" -H "$token" "$address/readyz" && break
  kill -0 "$service" 2>/dev/null || { cat "$folder/log"; exit 1; }
  sleep 0.2
done
cp models/bundled/samples/red-car.jpg "$folder/inbox/1.jpg"

# A stream of events does not end, so it is left out here; the tests of the program read it.
"$folder/python/bin/schemathesis" run "$address/api/v1/openapi.json" --url "$address" -H "$token" --exclude-path /api/v1/events \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection \
  --max-examples "${EXAMPLES:-200}" --request-timeout 60 --no-color
kill -0 "$service" || { echo 'the service has ended'; cat "$folder/log"; exit 1; }
if grep -q panicked "$folder/log"; then cat "$folder/log"; exit 1; fi
