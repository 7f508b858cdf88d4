#!/usr/bin/env bash
# Installs and uninstalls without a package manager: `tools/install.sh install|uninstall`, used by `make install` and `make uninstall`.
#
# PREFIX (/usr/local), SYSCONFDIR (/etc) and DESTDIR (empty) have their usual meaning. BINARY is the built program, ONNXRUNTIME the
# library. Neither command changes an existing configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
etc=${SYSCONFDIR:-/etc}
root=${DESTDIR-}
binary=${BINARY:-${CARGO_TARGET_DIR:-target}/release/stakeout}

main() {
  case ${1-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail 'usage: tools/install.sh install|uninstall' ;;
  esac
}

install_all() {
  [ -x "$binary" ] || fail "$binary does not exist: run 'make setup' and 'cargo build --release' first, as a normal user"
  parts=$(mktemp -d)
  trap 'rm -rf "$parts"' EXIT
  ONNXRUNTIME=$(library) tools/parts.sh "$binary" "$parts"

  put 755 "$binary" "$prefix/bin/stakeout"
  local file
  for file in "$parts"/libonnxruntime.so*; do
    [ -e "$file" ] || { say 'no ONNX Runtime was found: set ONNXRUNTIME=PATH, or onnxruntime: in the configuration'; break; }
    put 644 "$file" "$prefix/lib/stakeout/$(basename "$file")"
  done
  for file in "$parts"/onnxruntime/*; do
    [ ! -e "$file" ] || put 644 "$file" "$prefix/share/doc/stakeout/onnxruntime/$(basename "$file")"
  done
  put 644 "$parts/third-party.gz" "$prefix/share/doc/stakeout/third-party.gz"
  put 644 "$parts/sbom.cdx.json" "$prefix/share/doc/stakeout/sbom.cdx.json"
  for file in "$parts"/html/*; do put 644 "$file" "$prefix/share/doc/stakeout/html/$(basename "$file")"; done
  for file in "$parts"/man/*; do put 644 "$file" "$prefix/share/man/man1/$(basename "$file")"; done
  put 644 "$parts/stakeout.bash" "$prefix/share/bash-completion/completions/stakeout"
  put 644 "$parts/_stakeout" "$prefix/share/zsh/site-functions/_stakeout"
  put 644 "$parts/stakeout.fish" "$prefix/share/fish/vendor_completions.d/stakeout.fish"
  put 644 config/reference.yaml "$prefix/share/doc/stakeout/reference.yaml"
  # The pages, and what they link to, with the folders of the repository.
  for file in README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE config/{reference,stakeout}.yaml systemd/{gpu,camera}.conf \
    models/bundled/README.md models/bundled/samples/* $(find docs grafana -type f); do
    put 644 "$file" "$prefix/share/doc/stakeout/$file"
  done
  for file in "$parts"/systemd/*; do put_unit "$file" "$prefix/lib/systemd/system/$(basename "$file")"; done
  for file in systemd/*.conf; do
    put_unit "$file" "$prefix/share/stakeout/systemd/$(basename "$file")"
  done
  put 644 packaging/sysusers.d/stakeout.conf "$prefix/lib/sysusers.d/stakeout.conf"
  put 644 packaging/tmpfiles.d/stakeout.conf "$prefix/lib/tmpfiles.d/stakeout.conf"
  put 755 packaging/move-inbox "$prefix/share/stakeout/move-inbox"
  if [ -e "$root$etc/stakeout/stakeout.yaml" ]; then
    say "$etc/stakeout/stakeout.yaml exists and is not changed; the example is config/stakeout.yaml"
  else
    # It may have passwords. Before the first installation the group does not exist; `what_next` has the command.
    put 640 config/stakeout.yaml "$etc/stakeout/stakeout.yaml"
    chgrp stakeout "$root$etc/stakeout/stakeout.yaml" 2>/dev/null || true
  fi
  what_next
}

uninstall_all() {
  rm -f "$root$prefix"/{bin/stakeout,share/bash-completion/completions/stakeout,share/zsh/site-functions/_stakeout} \
    "$root$prefix"/{share/fish/vendor_completions.d/stakeout.fish,lib/systemd/system/stakeout.service,lib/systemd/system/stakeout@.service} \
    "$root$prefix"/{lib/sysusers.d/stakeout.conf,lib/tmpfiles.d/stakeout.conf} \
    "$root$prefix"/share/man/man1/{stakeout.1.gz,stakeout-*.1.gz}
  rm -rf "$root$prefix"/{lib/stakeout,share/stakeout,share/doc/stakeout}
  say "not removed: $etc/stakeout, /var/lib/stakeout, /var/spool/stakeout, /var/cache/stakeout, and the user stakeout"
}

# The library that `make setup` installed for this user, or for the user who runs sudo.
library() {
  local home file
  [ -z "${ONNXRUNTIME-}" ] || { echo "$ONNXRUNTIME"; return; }
  home=$HOME
  [ -z "${SUDO_USER-}" ] || home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
  for file in "${XDG_DATA_HOME:-$home/.local/share}"/stakeout/lib/libonnxruntime.so*; do echo "$file"; return; done
}

put() {
  install -D -m "$1" "$2" "$root$3"
}

# Installs a unit or a drop-in, with the paths of this installation.
put_unit() {
  sed -e "s|/usr/bin/stakeout|$prefix/bin/stakeout|; s|/usr/share/doc/stakeout|$prefix/share/doc/stakeout|; s|/etc/stakeout/|$etc/stakeout/|" \
    "$1" >"$parts/unit"
  put 644 "$parts/unit" "$2"
}

what_next() {
  [ -z "$root" ] || return 0
  say "next, as root, on a system with systemd:
  systemd-sysusers $prefix/lib/sysusers.d/stakeout.conf
  $prefix/share/stakeout/move-inbox    # after an upgrade: the folder for pictures leaves the state folder
  systemd-tmpfiles --create $prefix/lib/tmpfiles.d/stakeout.conf
  chgrp stakeout $etc/stakeout/stakeout.yaml    # only root and the service can read it
  systemctl daemon-reload
  editor $etc/stakeout/stakeout.yaml
  stakeout check --config $etc/stakeout/stakeout.yaml
  systemctl enable --now stakeout
  usermod -aG stakeout ${SUDO_USER:-YOUR-USER}    # may then put pictures into /var/spool/stakeout/inbox, after the next login"
}

say() { printf 'install: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

main "$@"
