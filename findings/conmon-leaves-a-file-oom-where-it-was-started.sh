#!/bin/sh
# conmon 2.1.6 (Debian 12), control groups of version 1: where a container runs out of memory, an empty file `oom` appears
# in the folder in which `podman run` (or `podman system service`) was started, and stays. As root, with podman and runc.
set -eu
folder=$(mktemp -d)
trap 'umount "$folder/store/overlay" 2>/dev/null || true; rm -rf "$folder"' EXIT
mkdir "$folder/root" "$folder/here"
(cd "$folder" && apt-get download -q conmon=2.1.6+ds1-1 && dpkg -x conmon_*.deb installed) >/dev/null
cd "$folder/here"
podman --conmon "$folder/installed/usr/bin/conmon" --root "$folder/store" --runroot "$folder/run" --runtime runc --cgroup-manager cgroupfs --log-level error run --rm \
    --network none --ulimit nproc=1000:1000 --ulimit nofile=1024:1024 --memory 64m --memory-swap 64m \
    --volume /usr:/usr:ro --volume /lib:/lib:ro --volume /lib64:/lib64:ro --rootfs "$folder/root" \
    /usr/bin/python3 -c 'x = b"x" * (1 << 30)' && exit 1
ls -l "$folder/here"
[ -f "$folder/here/oom" ] || { echo 'changed: it leaves no file'; exit 1; }
