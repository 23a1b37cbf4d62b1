#!/bin/bash
# Runs tests against a Podman of its own, for machines that test this project. As root.
#
#   scripts/test-podman.sh root|rootless [ARGUMENTS OF PYTEST]
#
# Installs what is missing of Podman, serves its socket in a temporary folder, gives it the agents' image (Docker's or
# the machine's Podman's, where one of them has it; else it is built), and runs the tests with $DOCKER_HOST at that
# socket: as root, or as the ordinary user mlgym-podman, who is made where it is not there yet. At the end the service is
# stopped and everything that it kept is removed.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
shift
say() { printf 'test-podman: %s\n' "$*"; }
fail() { printf 'test-podman: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "root alone can install Podman and make a user"
case $kind in root | rootless) ;; *) fail "root or rootless, not $kind" ;; esac

# In a mount namespace of its own: what is mounted below goes with it.
if [ "${TEST_PODMAN_INSIDE:-}" != "$kind" ]; then
    missing=''
    for pair in podman:podman runc:runc newuidmap:uidmap /usr/libexec/podman/catatonit:catatonit; do
        command -v "${pair%%:*}" >/dev/null || missing+=" ${pair##*:}"
    done
    if [ -n "$missing" ]; then
        say "installing$missing"
        # shellcheck disable=SC2086  # a list of names
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    fi
    TEST_PODMAN_INSIDE=$kind exec unshare --mount "$0" "$kind" "$@"
fi

folder=$(mktemp -d /var/tmp/mlgym-podman.XXXXXX)
user=root home=$folder/home run=$folder/run service=''
if [ "$kind" = rootless ]; then
    user=mlgym-podman
    id "$user" >/dev/null 2>&1 || useradd --no-create-home --shell /bin/bash "$user"
    grep -qs "^$user:" /etc/subuid || usermod --add-subuids 300000-365535 --add-subgids 300000-365535 "$user"
fi
stop() {
    [ -z "$service" ] || { kill -- "-$service" && wait "$service"; } 2>/dev/null || true
    # What keeps a rootless user's namespace.
    ! [ -f "$run/libpod/tmp/pause.pid" ] || kill "$(cat "$run/libpod/tmp/pause.pid")" 2>/dev/null || true
    umount -R "$folder/checkout" "$folder/store/overlay" "$home/.local/share/containers/storage/overlay" 2>/dev/null || true
    rm -rf --one-file-system "$folder"
}
trap stop EXIT
chmod 711 "$folder"
install -d -o "$user" -g "$user" -m 700 "$home" "$run"
install -d -m 1777 "$folder/tmp"

# crun does not run on control groups of both versions at once, and without systemd nobody else makes groups.
printf '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >"$folder/containers.conf"
as_user=(setpriv --reuid "$user" --regid "$user" --init-groups env -i -C "$home" HOME="$home" USER="$user"
    TMPDIR="$folder/tmp" XDG_RUNTIME_DIR="$run" CONTAINERS_CONF="$folder/containers.conf" STORAGE_DRIVER=overlay
    LANG=C.UTF-8 TERM=dumb PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin)
# This checkout, where the user may read it.
mkdir "$folder/checkout"
mount --bind "$PWD" "$folder/checkout"
store=()
[ "$kind" = rootless ] || store=(--root "$folder/store" --runroot "$run/containers")
setsid "${as_user[@]}" podman "${store[@]}" system service --time=0 "unix://$run/podman.sock" >"$folder/log" 2>&1 &
service=$!
for _ in $(seq 120); do
    [ ! -S "$run/podman.sock" ] || break
    kill -0 "$service" 2>/dev/null || break
    sleep 0.5
done
[ -S "$run/podman.sock" ] || { cat "$folder/log" >&2; fail "Podman does not serve its socket"; }
export DOCKER_HOST=unix://$run/podman.sock

# A Python that the user may run.
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version='import sys; print(sys.version_info[:2])'
for python in "$folder/checkout/.venv/bin/python" /usr/bin/python3 ''; do
    [ "$("${as_user[@]}" "$python" -c "$version" 2>/dev/null)" != "$(.venv/bin/python -c "$version")" ] || break
done
[ -n "$python" ] || fail "$user can run no Python of the version that .venv has"
packages=$folder/checkout/${packages#"$PWD/"}

image=$(.venv/bin/python -c 'from workbench.isolation.spec import DEFAULT_IMAGE; print(DEFAULT_IMAGE)')
load() { "${as_user[@]}" podman "${store[@]}" load --quiet; }
if (unset DOCKER_HOST; docker image inspect "$image") >/dev/null 2>&1; then
    (unset DOCKER_HOST; docker save "$image") | load
elif podman image exists "$image"; then
    podman save "$image" | load
elif [ "$kind" = root ]; then
    .venv/bin/python -m workbench image build
else
    fail "neither Docker nor Podman has $image: mlgym-tui image build, as root"
fi

"${as_user[@]}" env DOCKER_HOST="$DOCKER_HOST" PYTHONPATH="$folder/checkout:$packages" PYTHONDONTWRITEBYTECODE=1 \
    MLGYM_REQUIRE_ALL="${MLGYM_REQUIRE_ALL:-}" \
    sh -c 'cd "$1" && shift && exec "$@"' sh "$folder/checkout" "$python" -m pytest -p no:cacheprovider -m docker "$@"
