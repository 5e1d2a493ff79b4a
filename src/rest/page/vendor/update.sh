#!/usr/bin/env bash
# Takes mpegts.js, with all licences, out of npm anew: update.sh [VERSION]; without one, the version of package.json. The
# lock file has the checksums of the packages. Code of packages is not run. What is wrong in it mend.mjs mends.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/package.json" "$here/package-lock.json" "$work"
cd "$work"
npm() { command npm --no-audit --no-fund --ignore-scripts --save-exact --omit-lockfile-registry-resolved --loglevel=error \
    "$@"; }
[ -z "${1:-}" ] || npm install --package-lock-only "mpegts.js@$1"
npm ci
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' node_modules/mpegts.js/package.json)

# The bundle holds the two packages that mpegts.js depends on.
{
    echo "mpegts.js $version, copyright 2016 Bilibili, with es6-promise and events in it; changed where mpegts.js says so. The licences:"
    for package in mpegts.js es6-promise events; do
        printf '\n---- %s\n\n' "$package"
        cat "node_modules/$package/LICENSE"
    done
} >"$here/mpegts.js.LICENSE.txt"
node "$here/mend.mjs" node_modules/mpegts.js/dist/mpegts.js "$here/mpegts.js"
cp package.json package-lock.json "$here"
cd "$here"
sha256sum mpegts.js mpegts.js.LICENSE.txt >SHA256SUMS
echo "src/rest/page/vendor has mpegts.js $version"
