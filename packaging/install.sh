#!/usr/bin/env bash
# Installs what `make build` left: install.sh TARGET VERSION SOVERSION DESTDIR PREFIX LIBDIR INCLUDEDIR BINDIR
set -eu
target=$1 version=$2 soversion=$3 destdir=$4 prefix=$5 libdir=$6 includedir=$7 bindir=$8
here=$(cd "$(dirname "$0")" && pwd)

lib=$destdir$libdir
install -d "$lib/pkgconfig" "$lib/cmake/rrelay" "$destdir$includedir" "$destdir$bindir"

install -m 755 "$target/release/librrelay.so" "$lib/librrelay.so.$version"
ln -sfn "librrelay.so.$version" "$lib/librrelay.so.$soversion"
ln -sfn "librrelay.so.$soversion" "$lib/librrelay.so"
install -m 644 "$target/release/librrelay.a" "$lib/librrelay.a"
install -m 644 "$here/../include/rrelay.h" "$destdir$includedir/rrelay.h"

libs_private=$(sed -n 's/^Libs.private: //p' "$here/rrelay.pc.in")
fill() {
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@INCLUDEDIR@|$includedir|g" \
        -e "s|@VERSION@|$version|g" -e "s|@SOVERSION@|$soversion|g" \
        -e "s|@MAJOR@|$(echo "$version" | cut -d. -f1)|g" -e "s|@MINOR@|$(echo "$version" | cut -d. -f2)|g" \
        -e "s|@LIBS_PRIVATE@|$(echo "$libs_private" | tr ' ' ';')|g" "$here/$1" >"$2"
    chmod 644 "$2"
}
fill rrelay.pc.in "$lib/pkgconfig/rrelay.pc"
fill rrelay-config.cmake.in "$lib/cmake/rrelay/rrelay-config.cmake"
fill rrelay-config-version.cmake.in "$lib/cmake/rrelay/rrelay-config-version.cmake"

# The server in the tree looks beside itself; the installed one looks where the library now is. `$ORIGIN/release` of the
# tree means nothing there, so it is linked anew.
if [ -f "$target/rr_server" ]; then
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c99 ${CFLAGS:--O2} -pthread -I"$destdir$includedir" "$here"/../c-examples/rr_server*.c -o "$destdir$bindir/rr_server" \
        -L"$lib" -l:"librrelay.so.$soversion" -Wl,-rpath,"$libdir" ${LDFLAGS:-}
fi
# The library starts it where streams run in processes, and looks for it in this folder.
if [ -f "$target/release/rrelay-worker" ]; then
    install -d "$lib/rrelay"
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c99 ${CFLAGS:--O2} -I"$destdir$includedir" "$here/../c-examples/rrelay_worker.c" -o "$lib/rrelay/rrelay-worker" \
        -L"$lib" -l:"librrelay.so.$soversion" -Wl,-rpath,"$libdir" ${LDFLAGS:-}
fi
echo "rrelay $version is in $destdir$prefix. Should programs not find librrelay.so.$soversion: run ldconfig, or, where the"
echo "loader does not search $libdir, link them with -Wl,-rpath,$libdir or set LD_LIBRARY_PATH=$libdir."
