#!/bin/sh
# Installs Chromium, a virtual display and what Qt needs on Debian or Ubuntu, where they are missing and this user may: the
# tests of the report and of the viewers need them.
set -eu
command -v chromium >/dev/null && command -v xvfb-run >/dev/null && ldconfig -p | grep -q libxcb-icccm.so.4 && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "no Chromium or no xvfb-run: install them by hand, or the tests that need them are skipped" >&2
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core xvfb xauth \
    libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0 libglx0 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 \
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-render0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 \
    libxcb-xinerama0 libxcb-xkb1 libxkbcommon-x11-0 libdbus-1-3 >/dev/null
