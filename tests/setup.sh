#!/usr/bin/env bash
# Installs the programs the tests run: real encoders, players and servers. Only what is missing, by apt; into the folder
# where cargo builds, python-librtmp and schemathesis by pip and nginx-rtmp's stylesheet. RR_NO_SETUP=1 skips it.
set -eu
[ "${RR_NO_SETUP:-0}" = 1 ] && exit 0

packages=(
    gcc g++ libc6-dev binutils pkg-config cmake make python3 curl valgrind procps openssl
    iproute2 util-linux xsltproc xz-utils
    ffmpeg rtmpdump librtmp1 librtmp-dev libcurl4-openssl-dev
    python3-venv python3-dev libffi-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly
    nginx libnginx-mod-rtmp libnginx-mod-stream chromium
    obs-studio xvfb vlc-bin vlc-plugin-base mpv
)

fail() {
    echo "The tests need programs that are not on this machine: $*" >&2
    exit 1
}

# python_package PACKAGE VERSION MODULE: in an environment of its own, built there where it is no wheel.
python_package() {
    local target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target} python=/usr/bin/python3
    local venv=$target/python-${1#python-}
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "import $3" 2>/dev/null && return
    [ -x "$python" ] || python=python3
    echo "Installing what the tests need: $1, in $venv"
    mkdir -p "$target"
    "$python" -m venv --clear "$venv" &&
        "$venv/bin/pip" install -q --no-input --disable-pip-version-check --use-pep517 "$1==$2" ||
        fail "$1. pip could not install it; its words are above."
}

python_packages() {
    # Built as its users build it, against the headers and the library of the distribution.
    python_package python-librtmp 0.3.0 librtmp
    python_package schemathesis 4.32.5 schemathesis
}

# stylesheet: stat.xsl, with which people look at nginx-rtmp's statistics. Debian has it only in the source package, so
# apt gets a list of sources of its own, made from the system's.
stylesheet() {
    local target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}
    [ -s "$target/nginx-rtmp/stat.xsl" ] && return
    command -v dpkg-query >/dev/null 2>&1 ||
        fail "nginx-rtmp's stat.xsl. Copy it from the module's source to $target/nginx-rtmp/stat.xsl"
    echo "Installing what the tests need: nginx-rtmp's stat.xsl, in $target/nginx-rtmp"
    mkdir -p "$target/nginx-rtmp/apt/sources" "$target/nginx-rtmp/apt/lists/partial"
    (
        cd "$target/nginx-rtmp/apt"
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^deb /deb-src /p' >sources/from-list.list
        for list in /etc/apt/sources.list.d/*.sources; do
            [ -e "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" >"sources/${list##*/}"
        done
        from_here() {
            apt-get -qq -o APT::Sandbox::User=root -o Dir::Cache="$PWD" -o Dir::State::lists="$PWD/lists" \
                -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$PWD/sources" "$@" </dev/null
        }
        from_here update && from_here source --tar-only --download-only libnginx-mod-rtmp &&
            tar -xOf libnginx-mod-rtmp_*.orig.tar.* --wildcards '*/stat.xsl' >../stat.xsl && [ -s ../stat.xsl ]
    ) || fail "nginx-rtmp's stat.xsl. apt could not get it; its words are above."
    rm -rf "$target/nginx-rtmp/apt"
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    missing=()
    for program in cc c++ pkg-config cmake python3 curl valgrind kill prlimit openssl ip unshare ffmpeg ffprobe rtmpdump \
        gst-launch-1.0 nginx chromium obs Xvfb vlc mpv ffplay setpriv xsltproc; do
        PATH=$PATH:/usr/sbin command -v "$program" >/dev/null 2>&1 || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] || fail "${missing[*]}. This is no Debian or Ubuntu: install them with your package" \
        "manager (nginx with its rtmp and stream modules, and the headers of librtmp and libcurl)."
    python_packages
    stylesheet
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    python_packages
    stylesheet
    exit 0
fi

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
python_packages
stylesheet
