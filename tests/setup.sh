#!/usr/bin/env bash
# Installs the programs the tests run: real encoders, players and servers. Only what is missing, and only by apt.
# RR_NO_SETUP=1 skips it.
set -eu
[ "${RR_NO_SETUP:-0}" = 1 ] && exit 0

packages=(
    gcc g++ libc6-dev binutils pkg-config cmake make python3 curl valgrind procps openssl
    iproute2 util-linux
    ffmpeg rtmpdump librtmp1
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly
    nginx libnginx-mod-rtmp
)

fail() {
    echo "The tests need programs that are not on this machine: $*" >&2
    exit 1
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    missing=()
    for program in cc c++ pkg-config cmake python3 curl valgrind kill openssl ip unshare ffmpeg ffprobe rtmpdump gst-launch-1.0 nginx; do
        PATH=$PATH:/usr/sbin command -v "$program" >/dev/null 2>&1 || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] && exit 0
    fail "${missing[*]}. This is no Debian or Ubuntu: install them with your package manager (nginx with its rtmp module)."
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "${missing[*]}. Neither root nor sudo here: apt install ${missing[*]}"
    as_root=(sudo)
fi
echo "Installing what the tests need: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null; }
apt install -y --no-install-recommends "${missing[@]}" ||
    { apt update && apt install -y --no-install-recommends "${missing[@]}"; } ||
    fail "${missing[*]}. apt could not install them; its words are above."
