#!/usr/bin/env bash
# Installs what `make librtmp` left: install-librtmp.sh FOLDER DESTDIR PREFIX LIBDIR INCLUDEDIR
set -eu
folder=$1 destdir=$2 prefix=$3 libdir=$4 includedir=$5
here=$(cd "$(dirname "$0")" && pwd)

lib=$destdir$libdir
install -d "$lib/pkgconfig" "$destdir$includedir/librtmp"
install -m 755 "$folder/librtmp.so.1" "$lib/librtmp.so.1"
ln -sfn librtmp.so.1 "$lib/librtmp.so"
if cmp -s "$folder/librtmp.a" "$lib/librrelay.a"; then
    ln -f "$lib/librrelay.a" "$lib/librtmp.a"
else
    install -m 644 "$folder/librtmp.a" "$lib/librtmp.a"
fi
install -m 644 "$here"/../include/librtmp/*.h "$destdir$includedir/librtmp/"
sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@INCLUDEDIR@|$includedir|g" \
    "$here/librtmp.pc.in" >"$lib/pkgconfig/librtmp.pc"
chmod 644 "$lib/pkgconfig/librtmp.pc"
echo "librtmp.so.1 is in $destdir$libdir. Programs of librtmp run on it where it is found before the distribution's: after"
echo "ldconfig, if that folder comes first in 'ldconfig -p'; or with LD_LIBRARY_PATH=$libdir."
