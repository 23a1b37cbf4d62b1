# The agent commands as shell functions, sourced by the shell's start-up file. Each runs the program tools.py beside
# this file. Its place and Python's are fixed here, so that neither cd nor a broken PATH takes the commands away; the
# compiled program is kept in the agent's home, which halves the time of a command.

if ! [[ ${__mlgym_tools-} && ${__mlgym_tools@a} == *r* ]]; then
  __mlgym_tools=$(
    \builtin cd -P -- "${BASH_SOURCE[0]%/*}" >/dev/null 2>&1
    \builtin printf '%s' "$PWD"
  )
  __mlgym_python=${MLGYM_PYTHON:-/usr/bin/python3}
  [[ -x $__mlgym_python ]] || __mlgym_python=$(\builtin type -P python3 || \builtin printf python3)
  \builtin readonly __mlgym_tools __mlgym_python
fi

function __mlgym_run {
  \builtin command "$__mlgym_python" -I -S -c 'import sys
folder, sys.pycache_prefix = sys.argv.pop(1), sys.argv.pop(1)
sys.path.append(folder)
import tools
sys.pycache_prefix = None
tools.start()' "$__mlgym_tools" "${HOME:-/home/agent}/.mlgym/cache" "$@"
}

# The names stand in agent_commands.py, each on a line of its own that holds nothing else.
while IFS= \builtin read -r __mlgym_line; do
  if [[ $__mlgym_line =~ ^\ +\"([a-z_]+)\",$ ]]; then
    \builtin eval "function ${BASH_REMATCH[1]} { __mlgym_run ${BASH_REMATCH[1]} \"\$@\"; }"
  fi
done <"$__mlgym_tools/agent_commands.py"
\builtin unset -v __mlgym_line
