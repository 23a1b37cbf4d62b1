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

function open { __mlgym_run open "$@"; }
function goto { __mlgym_run goto "$@"; }
function scroll_up { __mlgym_run scroll_up "$@"; }
function scroll_down { __mlgym_run scroll_down "$@"; }
function create { __mlgym_run create "$@"; }
function edit { __mlgym_run edit "$@"; }
function insert { __mlgym_run insert "$@"; }
function search_dir { __mlgym_run search_dir "$@"; }
function search_file { __mlgym_run search_file "$@"; }
function find_file { __mlgym_run find_file "$@"; }
function validate { __mlgym_run validate "$@"; }
function submit { __mlgym_run submit "$@"; }
function memory_write { __mlgym_run memory_write "$@"; }
function memory_read { __mlgym_run memory_read "$@"; }
function literature_search { __mlgym_run literature_search "$@"; }
function literature_read { __mlgym_run literature_read "$@"; }
