#!/usr/bin/env bash
# Makes the repository of the Home Assistant app: `tools/home_assistant_app.sh [--output FOLDER] [DEB...]`.
#
# Copies packaging/home-assistant to FOLDER (target/home-assistant) and puts the packages into the app's folder, from which the supervisor
# builds the image. Without DEB the package for this machine is built; a repository for both processors needs the packages for amd64 and
# arm64, each built on Debian 13. Copy FOLDER/stakeout to /addons of a Home Assistant to try it, or publish FOLDER as a git repository.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

output=$here/target/home-assistant
if [ "${1-}" = --output ]; then
  output=$2
  shift 2
fi
[ $# -gt 0 ] || set -- "$("$here/tools/package.sh")"

app=$here/packaging/home-assistant/stakeout
version=$(sed -n 's/^version: "\(.*\)"$/\1/p' "$app/config.yaml")
for deb in "$@"; do
  case $(basename "$deb") in
    stakeout_"$version"[-_]*_amd64.deb | stakeout_"$version"[-_]*_arm64.deb | stakeout_"$version"_amd64.deb | stakeout_"$version"_arm64.deb) ;;
    *) echo "home_assistant_app: $deb is no package of version $version for amd64 or arm64: build it with tools/package.sh" >&2; exit 1 ;;
  esac
done

rm -rf "$output"
mkdir -p "$output"
cp -r "$here/packaging/home-assistant/." "$output/"
mkdir "$output/stakeout/packages"
cp "$@" "$output/stakeout/packages/"
echo "$output"
