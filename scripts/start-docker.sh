#!/bin/sh
# Makes a Docker engine and the agents' image available, for machines that test this project.
#
#   scripts/start-docker.sh [PYTHON]
#
# As root: installs docker.io and debootstrap where they are missing, starts dockerd by hand where no engine answers
# (containers and CI machines often have no init system), and builds the image where it is not there yet. As another
# user: only checks, and says what is missing. Can be run again at any time. PYTHON (default: the checkout's
# .venv/bin/python, else python3) must have the package installed.
set -eu

cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then python=$1; elif [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=python3; fi
log=${DOCKERD_LOG:-/var/log/dockerd-by-hand.log}

say() { printf 'start-docker: %s\n' "$*"; }
fail() { printf 'start-docker: %s\n' "$*" >&2; exit 1; }
engine_answers() {
    DOCKER_HOST=unix:///var/run/docker.sock "$python" -c 'from workbench.isolation.engine import connect; connect(2.0)' \
        2>/dev/null
}

missing=
if [ -z "${DOCKER_HOST:-}" ] && ! engine_answers; then
    [ "$(id -u)" = 0 ] || fail "no Docker engine answers at /var/run/docker.sock; start one, or run this as root"
    command -v dockerd >/dev/null || missing="docker.io iptables"
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
fi
if [ -n "$missing" ]; then
    say "installing $missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ -z "${DOCKER_HOST:-}" ] && ! engine_answers; then
    say "starting dockerd (log: $log)"
    setsid nohup dockerd >"$log" 2>&1 </dev/null &
    tries=0
    until engine_answers; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { tail -n 20 "$log" >&2; fail "dockerd did not come up in a minute"; }
        sleep 0.5
    done
fi

exec "$python" - <<'BUILD'
import sys

from workbench.isolation.image import image_state
from workbench.isolation.image_build import build_image
from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError

try:
    state = image_state()
    if state == "current":
        print(f"start-docker: {DEFAULT_IMAGE} is there")
    else:
        print(f"start-docker: {DEFAULT_IMAGE} is {state}: building it")
        build_image(print)
except SandboxError as error:
    sys.exit(f"start-docker: {error}; {error.hint}")
BUILD
