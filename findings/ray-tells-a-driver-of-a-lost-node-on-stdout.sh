#!/usr/bin/env bash
# Ray 2.60.0: a driver that asks for silence (log_to_driver=False, logging_level="error") is told of the loss of a node on its
# standard OUTPUT, some twenty lines of the raylet's log among it. A program that prints JSON there has to send file
# descriptor 1 elsewhere while it is connected.
set -euo pipefail
work=$(mktemp -d)
export HOME=$work RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
mkdir -p "$work/.ray"
(umask 077 && python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$work/.ray/auth_token")
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q ray==2.60.0
ray=$work/venv/bin/ray
trap '"$ray" stop -f >/dev/null 2>&1; rm -rf "$work"' EXIT
"$ray" start --head --port=6391 --num-cpus=1 --include-dashboard=false >"$work/head.log" 2>&1
address=$(grep -o '[0-9.]*:6391' "$work/head.log" | head -n 1)
"$ray" start --address="$address" --num-cpus=1 --resources='{"far": 1}' >"$work/node.log" 2>&1

cat >"$work/driver.py" <<'END'
import os, signal, sys, time
import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")

@ray.remote(resources={"far": 1}, max_retries=0)
def where():
    return os.getppid()

os.kill(ray.get(where.remote()), signal.SIGKILL)  # the raylet of the other node
time.sleep(15)
END
"$work/venv/bin/python" "$work/driver.py" "$address" >"$work/out" 2>"$work/err" || true
lines=$(grep -c . "$work/out" || true)
echo "ray $("$work/venv/bin/python" -c 'import ray; print(ray.__version__)'): $lines lines on the standard output of a driver that prints nothing"
grep -q 'Raylet is terminated' "$work/out" || { echo "changed: nothing of the lost node on standard output"; exit 1; }
