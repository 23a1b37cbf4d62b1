#!/usr/bin/env bash
# A sweep on a real Ray cluster of two nodes on this machine, one of which is killed in the middle: every session must end,
# and none may have been run twice. Makes a virtual environment with Ray (about 400 MB) in a temporary folder.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
export HOME=$work/home RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
mkdir -p "$HOME/.ray"
(umask 077 && python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$HOME/.ray/auth_token")
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "$here[ray]"
ray=$work/venv/bin/ray
trap '"$ray" stop -f >"$work/stop.log" 2>&1; rm -rf "$work"' EXIT

"$ray" start --head --port=6379 --num-cpus=1 --include-dashboard=false >"$work/head.log" 2>&1
address=$(grep -o '[0-9.]*:6379' "$work/head.log" | head -n 1)
"$ray" start --address="$address" --num-cpus=1 >"$work/node.log" 2>&1

echo '["echo one", "sleep 2", "echo two", "submit"]' >"$work/actions.json"
printf 'tasks: [battleOfSexes]\nmodels: ["replay:%s"]\nseeds: 8\nparallel: 2\n' "$work/actions.json" >"$work/plan.yaml"
"$work/venv/bin/mlgym-tui" sweep "$work/plan.yaml" --engine ray --address "$address" --json >"$work/result.json" &
sweep=$!
until [ "$(ls "$work/plan" 2>/dev/null | wc -l)" -ge 2 ]; do sleep 0.2; done
kill -9 "$(pgrep -f 'raylet/raylet' | tail -n 1)"
echo "a node is killed"
wait "$sweep"
python3 - "$work/result.json" "$work/plan" <<'END'
import json, os, sys
result = json.load(open(sys.argv[1]))
folders = [name for name in os.listdir(sys.argv[2]) if not name.startswith(".")]
assert result["counts"] == {"done": 8}, result["counts"]
assert len(folders) == 8 == len({each["session"] for each in result["sessions"]}), folders
print("8 sessions ended, each run once")
END
