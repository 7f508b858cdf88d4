#!/usr/bin/env bash
# `make install` and `make uninstall` into an empty folder: `tools/test_install.sh BINARY`. Looks at what is there, whether it
# works from there, and that a configuration of the user survives both.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "${1:?the program}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed() { echo "FAILED: $*"; exit 1; }
make_it() { make --no-print-directory "$1" DESTDIR="$work/root" PREFIX=/opt/stakeout BINARY="$binary" 2>"$work/said" || { cat "$work/said"; failed "make $1"; }; }

make_it install
here=$work/root/opt/stakeout
for file in bin/stakeout lib/systemd/system/stakeout.service lib/systemd/system/stakeout@.service lib/sysusers.d/stakeout.conf \
  lib/tmpfiles.d/stakeout.conf share/stakeout/systemd/gpu.conf share/man/man1/stakeout.1.gz share/man/man1/stakeout-run.1.gz \
  share/bash-completion/completions/stakeout share/zsh/site-functions/_stakeout share/fish/vendor_completions.d/stakeout.fish \
  share/doc/stakeout/README.md share/doc/stakeout/LICENSE-MIT share/doc/stakeout/reference.yaml; do
  [ -s "$here/$file" ] || failed "$file is not there"
done
[ "$(stat -c %a "$here/bin/stakeout")" = 755 ] || failed 'the program has other rights'
! grep -rn '/usr/bin/stakeout' "$here/lib/systemd" "$here/share/stakeout" || failed 'a unit starts another program'
grep -qx 'ExecStart=/opt/stakeout/bin/stakeout run --config /etc/stakeout/stakeout.yaml' "$here/lib/systemd/system/stakeout.service"
cmp -s config/stakeout.yaml "$work/root/etc/stakeout/stakeout.yaml" || failed 'the example is not the configuration'
gzip -t "$here"/share/man/man1/*.gz
echo "install: $(find "$work/root" -type f | wc -l) files, the units start the program where it was put"

# With nothing of this machine in its environment, so that only the library beside it can be found.
scores=$(env -i "$here/bin/stakeout" classify --format json --label 'red car' --label 'an empty scene' models/bundled/samples/red-car.jpg)
grep -q '"scores":\[{"label":"red car"' <<<"${scores// /}" || grep -q '"label": *"red car"' <<<"$scores" || failed "it says $scores"
env -i "$here/bin/stakeout" check --offline --config "$work/root/etc/stakeout/stakeout.yaml" 2>"$work/said" || { cat "$work/said"; failed 'its example'; }
echo 'installed: it classifies with its own library, and its example is in order'

echo '# mine' >>"$work/root/etc/stakeout/stakeout.yaml"
make_it install
grep -qx '# mine' "$work/root/etc/stakeout/stakeout.yaml" || failed 'the configuration was overwritten'
make_it uninstall
left=$(cd "$work/root" && find . -type f)
[ "$left" = ./etc/stakeout/stakeout.yaml ] || failed "left behind: $left"
echo 'install again, uninstall: the configuration stays, and nothing else does'
