#!/bin/sh
# The last step of making the image, the same whether it is built from the Dockerfile or from Debian packages.
# Runs as root in the new system, and leaves nothing in it that differs from one build machine to the next.
set -eu

groupadd --gid 1000 agent
useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash agent
install -d -o agent -g agent /home/agent/workspace
install -d /run/mlgym

# What nobody reads in a sandbox. Copyright files stay.
find /usr/share/doc -mindepth 2 ! -name copyright ! -type d -delete
rm -rf /usr/share/man/* /usr/share/locale/* /usr/share/info/*

# A bootstrap leaves the builder's mirror, name and name server behind.
printf 'deb http://deb.debian.org/debian bookworm main\n' > /etc/apt/sources.list
rm -f /etc/apt/sources.list.d/debian.sources
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/bootstrap.log /var/log/apt /var/log/dpkg.log
: > /etc/hostname 2>/dev/null || true
: > /etc/resolv.conf 2>/dev/null || true
