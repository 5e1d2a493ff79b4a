#!/bin/sh
# Makes the encoded media of this folder anew, with Debian 12's ffmpeg 5.1 (libx265, libsvtav1, libx264, aac, libopus).
# Not part of any build: the files are kept, since encoders change. The E-RTMP files beside them are made from these by
# `RR_BLESS=1 cargo test --test enhanced vectors`, and are to be made again after this.
set -e
cd "$(dirname "$0")"
encode() { out=$1; shift; ffmpeg -v error -y -f lavfi -i "$@" -fflags +bitexact -flags +bitexact -map_metadata -1 "$out"; }
# Pictures of 64x64, 30 a second, a key frame every twelfth, none elsewhere. The times in milliseconds have remainders.
encode hevc.mp4 testsrc2=size=64x64:rate=30 -t 1.2 -c:v libx265 -pix_fmt yuv420p -crf 40 -tag:v hvc1 \
    -x265-params log-level=error:keyint=12:min-keyint=12:scenecut=0:open-gop=0:bframes=2:b-adapt=0:info=0
encode av1.mp4 testsrc2=size=64x64:rate=30 -t 1.2 -c:v libsvtav1 -pix_fmt yuv420p -qp 55 -preset 8 -g 12
encode avc.mp4 testsrc2=size=64x64:rate=30 -t 1.2 -c:v libx264 -pix_fmt yuv420p -crf 40 -g 12 -bf 2 \
    -x264-params keyint=12:min-keyint=12:scenecut=0
encode avc-small.mp4 smptebars=size=32x32:rate=30 -t 1.2 -c:v libx264 -pix_fmt yuv420p -crf 40 -g 12 -bf 0 \
    -x264-params keyint=12:min-keyint=12:scenecut=0
# Sound: frames of 20 ms, and of 1024 samples at 44100 a second.
encode opus.mp4 sine=440:sample_rate=48000 -t 1.2 -c:a libopus -b:a 16k
encode aac.mp4 sine=440:sample_rate=44100 -t 1.2 -c:a aac -b:a 24k
encode aac-other.mp4 sine=880:sample_rate=44100 -t 1.2 -c:a aac -b:a 16k
