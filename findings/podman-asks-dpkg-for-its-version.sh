#!/bin/sh
# Podman 4.3.1 (Debian 12): whoever asks its service for `/version` or `/info` waits until dpkg has said which packages
# conmon, the runtime and slirp4netns come from. The SDK of Docker asks for the version at each connection. `/_ping` says
# the versions of engine and API in its headers, at once. As root on Debian 12, with what podman depends on.
set -eu
folder=$(mktemp -d)
trap 'kill "$service" && wait "$service" || true; umount "$folder/store/overlay" 2>/dev/null || true; rm -rf "$folder"' EXIT
(cd "$folder" && apt-get download -q podman=4.3.1+ds1-8+deb12u1+b3 && dpkg -x podman_*.deb installed) >/dev/null
(cd "$folder" && exec installed/usr/bin/podman --root "$folder/store" --runroot "$folder/run" --log-level error \
    system service --time=0 "unix://$folder/socket") &
service=$!
until [ -S "$folder/socket" ]; do sleep 0.1; done
ask() { curl -s -o "$folder/said" -D "$folder/head" -w '%{time_total}' --unix-socket "$folder/socket" "http://d/$1"; }
ask _ping >/dev/null # its first answer comes late
ping=$(ask _ping)
grep -E '^(Server|Api-Version)' "$folder/head"
version=$(ask version)
grep -o '"Package":"[^"]*"' "$folder/said"
echo "_ping: $ping s, version: $version s"
python3 -c 'import sys; assert float(sys.argv[2]) > 10 * float(sys.argv[1]), "changed: it says its version at once"' \
    "$ping" "$version"
