#!/usr/bin/env bash
# Tests `make install` and `make uninstall` in an empty folder: `tools/test_install.sh BINARY`. It checks the installed files, runs the
# program there, and checks that both keep the configuration of the user.
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
  lib/tmpfiles.d/stakeout.conf share/stakeout/move-inbox share/stakeout/systemd/gpu.conf share/stakeout/systemd/edit.conf share/stakeout/systemd/openvino.conf share/man/man1/stakeout.1.gz share/man/man1/stakeout-run.1.gz \
  share/bash-completion/completions/stakeout share/zsh/site-functions/_stakeout share/fish/vendor_completions.d/stakeout.fish \
  share/doc/stakeout/README.md share/doc/stakeout/LICENSE-MIT share/doc/stakeout/reference.yaml \
  share/doc/stakeout/docs/commands.md share/doc/stakeout/config/reference.yaml share/doc/stakeout/html/{index.html,search.html,search-index.js,docs.css}; do
  [ -s "$here/$file" ] || failed "$file is missing"
done
[ "$(stat -c %a "$here/bin/stakeout")" = 755 ] || failed 'the program has other permissions'
! grep -rn '/usr/bin/stakeout' "$here/lib/systemd" "$here/share/stakeout" || failed 'a unit starts another program'
grep -qx 'ExecStart=/opt/stakeout/bin/stakeout run --config /etc/stakeout/stakeout.yaml' "$here/lib/systemd/system/stakeout.service"
[ "$(stat -c %a "$work/root/etc/stakeout/stakeout.yaml")" = 640 ] || failed 'everyone can read the configuration'
cmp -s config/stakeout.yaml "$work/root/etc/stakeout/stakeout.yaml" || failed 'the example is not the configuration'
gzip -t "$here"/share/man/man1/*.gz
echo "install: $(find "$work/root" -type f | wc -l) files; the units start the installed program"

# With an empty environment, so that the program finds only the library that is installed with it.
scores=$(env -i "$here/bin/stakeout" classify --format json --label 'red car' --label 'an empty scene' models/bundled/samples/red-car.jpg)
grep -q '"scores":\[{"label":"red car"' <<<"${scores// /}" || grep -q '"label": *"red car"' <<<"$scores" || failed "it prints $scores"
env -i "$here/bin/stakeout" check --offline --config "$work/root/etc/stakeout/stakeout.yaml" 2>"$work/said" || { cat "$work/said"; failed 'its example'; }
echo 'installed: it classifies with its own library, and its example is valid'

# The folder for pictures of an earlier version.
mkdir -p "$work/state/inbox/sub"
echo picture >"$work/state/inbox/sub/a.jpg"
for _ in first again; do "$here/share/stakeout/move-inbox" "$work/state/inbox" "$work/spool/stakeout/inbox" >/dev/null; done
[ -L "$work/state/inbox" ] && [ ! -L "$work/spool/stakeout/inbox" ] || failed 'the folder for pictures was not moved'
[ "$(cat "$work/spool/stakeout/inbox/sub/a.jpg") $(cat "$work/state/inbox/sub/a.jpg")" = 'picture picture' ] || failed 'a picture is lost'
"$here/share/stakeout/move-inbox" "$work/none/inbox" "$work/spool/stakeout/inbox"
echo 'upgrade: the folder for pictures leaves the state folder, with its pictures, and its old path still leads to them'

echo '# mine' >>"$work/root/etc/stakeout/stakeout.yaml"
make_it install
grep -qx '# mine' "$work/root/etc/stakeout/stakeout.yaml" || failed 'the configuration was overwritten'
make_it uninstall
left=$(cd "$work/root" && find . -type f)
[ "$left" = ./etc/stakeout/stakeout.yaml ] || failed "left behind: $left"
echo 'install again, uninstall: only the configuration is kept'
