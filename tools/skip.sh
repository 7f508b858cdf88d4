# Sourced by the scripts of the tests. A skipped test is printed, and listed again at the end of `make test` and `make check`, which
# name a file for that in STAKEOUT_SKIPPED.

# skip WHY: ends the script, because this machine does not allow the test.
skip() {
  echo "skipped: $*"
  [ -z "${STAKEOUT_SKIPPED-}" ] || echo "$(basename "$0"): $*" >>"$STAKEOUT_SKIPPED"
  exit 0
}

# missing WHAT: like skip, because something is not installed. In `make check` this is a failure: it installs everything.
missing() {
  [ -z "${STAKEOUT_REQUIRE_ALL-}" ] || { echo "FAILED: $*"; exit 1; }
  skip "$*"
}

# list_skipped: prints what was skipped, once for each reason.
list_skipped() {
  [ -s "$STAKEOUT_SKIPPED" ] || { echo 'nothing was skipped'; return 0; }
  echo 'skipped:'
  sort -u "$STAKEOUT_SKIPPED" | awk '{
    split($0, part, ": "); why = substr($0, length(part[1]) + 3); count[why]++
    if (count[why] <= 3) names[why] = names[why] (count[why] > 1 ? ", " : "") part[1]
  } END { for (why in count) print "  " why " (" names[why] (count[why] > 3 ? " and " count[why] - 3 " more" : "") ")" }'
}

# not_checked WHAT: remembers that a check of the gate was not made, which is no success. STAKEOUT_UNCHECKED names a file for that.
not_checked() {
  echo "NOT checked: $*"
  [ -z "${STAKEOUT_UNCHECKED-}" ] || echo "$*" >>"$STAKEOUT_UNCHECKED"
}

# list_unchecked: prints what was not checked, as the last lines of the gate.
list_unchecked() {
  [ -s "${STAKEOUT_UNCHECKED-}" ] || return 0
  sort -u "$STAKEOUT_UNCHECKED" | sed 's/^/NOT checked: /'
}
