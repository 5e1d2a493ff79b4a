#!/usr/bin/env bash
# Links librtmp.so.1 from the static library: librtmp.sh ARCHIVE FOLDER. Nothing is compiled again.
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
# shellcheck disable=SC2086
${CC:-cc} ${LDFLAGS:-} -shared -o "$folder/librtmp.so.1.new" -Wl,-soname,librtmp.so.1 -Wl,--version-script="$script" \
    -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro -Wl,--gc-sections \
    -Wl,--whole-archive "$archive" -Wl,--no-whole-archive -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
# A program that runs keeps the file it has mapped.
mv "$folder/librtmp.so.1.new" "$folder/librtmp.so.1"
ln -sfn librtmp.so.1 "$folder/librtmp.so"
