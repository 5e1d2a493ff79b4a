#!/usr/bin/env bash
# Links librtmp.so.1 from the static library, and gives that the name librtmp.a: librtmp.sh ARCHIVE FOLDER. Nothing is
# compiled again.
set -eu
archive=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
exports=$here/../include/librtmp/exports.txt

mkdir -p "$folder"
script=$folder/librtmp.map
{
    echo "{ global:"
    sed -e '/^#/d' -e '/^$/d' -e 's/$/;/' "$exports"
    echo "local: *; };"
} >"$script"
libs=$(sed -n 's/^Libs.private: //p' "$here/librtmp.pc.in")
# shellcheck disable=SC2086
${CC:-cc} ${LDFLAGS:-} -shared -o "$folder/librtmp.so.1.new" -Wl,-soname,librtmp.so.1 -Wl,--version-script="$script" \
    -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro -Wl,--gc-sections \
    -Wl,--whole-archive "$archive" -Wl,--no-whole-archive $libs
# A program that runs keeps the file it has mapped.
mv "$folder/librtmp.so.1.new" "$folder/librtmp.so.1"
ln -sfn librtmp.so.1 "$folder/librtmp.so"
# The archive of both faces: a program that links both statically has one library, and one log, whichever comes first.
ln -f "$archive" "$folder/librtmp.a" 2>/dev/null || cp "$archive" "$folder/librtmp.a"
