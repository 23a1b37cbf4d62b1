"""Multi-line actions: what the command gets, through a real bash, is what the agent wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workbench.sandbox.guest.agent_commands import ENDINGS
from workbench.sandbox.multiline import MalformedEdit, rewrite_multiline

STUBS = """
record() { builtin printf '%s\\n' "$@" >>calls; cat >"body$(wc -l <calls)"; }
edit() { record "edit $*"; }
insert() { record "insert $*"; }
create() { record "create $*"; }
"""


def run(action: str, folder: Path) -> tuple[list[str], list[bytes], str]:
    """The calls that bash makes of the action, the text each gets on standard input, and what is printed."""
    (folder / "calls").write_text("")
    script = f'cd {folder}; {STUBS}\neval -- "$1" </dev/null'
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", action.encode()], capture_output=True, timeout=20, check=False
    )
    assert done.stderr == b"", done.stderr
    calls = (folder / "calls").read_text().splitlines()
    bodies = [(folder / f"body{number}").read_bytes() for number in range(1, len(calls) + 1)]
    return calls, bodies, done.stdout.decode()


characters = st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])
shellish = st.text(st.one_of(st.sampled_from("\n\n\n'\"`$(){}<>\\ \t\r#;&|!EOF_MLGYM"), characters), max_size=80)
texts = st.one_of(
    shellish,
    st.lists(st.sampled_from(["MLGYM_EDIT", "MLGYM_EDIT_2", "EOF", "x <<'EOF'", "edit 1:2", ""])).map("\n".join),
).filter(lambda text: text and not any(line.strip() in ENDINGS for line in text.split("\n")))


@given(text=texts, name=st.sampled_from(["edit 3:5", "edit 3:5 'a b.py'", "insert 7 f", "create new.py"]))
@example(text="MLGYM_EDIT\nMLGYM_EDIT_2", name="edit 3:5")
@example(text="a\\\nb$(echo)\n\\", name="edit 3:5")
@example(text="\x01\x7f\x80", name="insert 7 f")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_arrives_byte_for_byte(text: str, name: str, tmp_path: Path) -> None:
    if name.startswith("create") and any(line.lstrip().startswith(("edit", "insert")) for line in text.split("\n")):
        name = "edit 1:1"
    action = f"x=$'it\\'s'; true && {name} # why\n{text}\nend_of_edit  \nprintf '%s\\n' \"$x\" done\n"
    calls, bodies, out = run(rewrite_multiline(action), tmp_path)
    assert calls == [name.replace("'", "")]
    assert bodies == [text.encode() + b"\n"]
    assert out == "it's\ndone\n"


@pytest.mark.parametrize(
    ("action", "calls", "bodies"),
    [
        ("edit 3:5\nnew\nend_of_edit", ["edit 3:5"], ["new\n"]),
        ("  edit 3:5\n  new\nend_of_edit\n", ["edit 3:5"], ["  new\n"]),
        ("insert 3\nnew\nend_of_insert", ["insert 3"], ["new\n"]),
        ("insert 3\nnew\nend_of_edit\n", ["insert 3"], ["new\n"]),
        ("edit 3:5\nnew\n    end_of_edit\n", ["edit 3:5"], ["new\n"]),
        ("create f\nnew\nend_of_insert\n", ["create f"], ["new\n"]),
        ("cd . && edit 1:1 f && true\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        ("edit 1:1 f | cat\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        ("edit 1:1 f >out 2>&1; true\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        (
            "edit 1:1 a; edit 2:2 b\none\nend_of_edit\ntwo\nend_of_edit",
            ["edit 1:1 a", "edit 2:2 b"],
            ["one\n", "two\n"],
        ),
        ("edit 1:1 \\\n  f\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        ("if true; then\nedit 1:1 f\nnew\nend_of_edit\nfi\n", ["edit 1:1 f"], ["new\n"]),
        ("{ edit 1:1 f\nnew\nend_of_edit\n}\n", ["edit 1:1 f"], ["new\n"]),
        ("(edit 1:1 f)\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        ("WINDOW=5 edit 1:1 f\nnew\nend_of_edit\n", ["edit 1:1 f"], ["new\n"]),
        ("edit 1:1 f\nend_of_edit\n", ["edit --delete 1:1 f"], [""]),
        ("edit 1:1 f --delete\n", ["edit 1:1 f --delete"], [""]),
        ("edit 1:1 f <<'E'\nE\n", ["edit --delete 1:1 f"], [""]),
        ("edit 1:1 f <<'E'\nbody\nE\n", ["edit 1:1 f"], ["body\n"]),
        ("edit 1:1 f <<-\\E\n\tbody\n\tE\n", ["edit 1:1 f"], ["body\n"]),
        ("edit 1:1 f <<< body", ["edit 1:1 f"], ["body\n"]),
        ("echo body | edit 1:1 f", ["edit 1:1 f"], ["body\n"]),
        ("echo body |\n edit 1:1 f", ["edit 1:1 f"], ["body\n"]),
        ("edit 1:1 f < /dev/null", ["edit 1:1 f"], [""]),
        ("edit --help", ["edit --help"], [""]),
        ("create f", ["create f"], [""]),
        ("create f\ninsert 0\nnew\nend_of_edit", ["create f", "insert 0"], ["", "new\n"]),
        ("create f\nnew\nend_of_edit", ["create f"], ["new\n"]),
        ("create f\nend_of_edit", ["create f"], [""]),
    ],
)
def test_what_bash_makes_of_an_action(action: str, calls: list[str], bodies: list[str], tmp_path: Path) -> None:
    got_calls, got_bodies, _ = run(rewrite_multiline(action), tmp_path)
    assert got_calls == calls
    assert [body.decode() for body in got_bodies] == bodies


@pytest.mark.parametrize(
    "action",
    [
        "",
        "ls -la\n",
        "echo 'x\nedit 3:5\ny'\n",
        'python -c "\nedit 3:5\nend_of_edit\n"\n',
        "cat > notes <<'EOF'\nedit 3:5\nnew\nend_of_edit\nEOF\n",
        "cat > notes <<-EOF\n\tedit 3:5\n\tEOF\n",
        "git commit -m \"$(cat <<'EOF'\nedit 3:5\nit's (\nEOF\n)\"\n",
        "# edit 3:5\nls",
        "grep edit file\n",
        "mv edit insert",
        "edit() { echo; }\n",
        "case $x in edit) echo;; insert) echo;; esac\n",
        "for edit in a b; do echo $edit; done",
        "echo $((1 << 2)) edit\n((x = 1 << 2))\nls edit",
        "x=(edit insert)\n",
        "echo `edit`\n",
        "echo ${x:-edit }\n",
        "echo edit\\\nedit\n",
        "vi edit # don't\nls\n",
        "sed -n 1p < edit\n",
        "echo a > edit\n",
        'echo "unbalanced\nedit 3:5\n',
        "echo <<\n",
    ],
)
def test_everything_else_stays_as_it_is(action: str) -> None:
    assert rewrite_multiline(action) == action


@given(st.text(max_size=200))
@settings(deadline=None)
def test_text_without_these_commands_is_never_changed(action: str) -> None:
    assert rewrite_multiline(action) == action


@given(st.lists(st.sampled_from(["edit 1:2", "insert 3", "create f", "end_of_edit", "end_of_insert", "x", "<<E", "E",
                                 "<<", "<", "'", '"', "$(", ")", "(", "`", "${", "}", "\\", "\n", "\n", "\n", " ", "#",
                                 ";", "|", "&", "((", "))"])).map("".join))  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_no_action_is_too_odd(action: str) -> None:
    try:
        rewrite_multiline(action)
    except MalformedEdit as error:
        assert "end_of_" in str(error)


@pytest.mark.parametrize(
    "action", ["edit 3:5", "edit 3:5 f\nnew text\n", "ls\ninsert 3\nx", "edit", "true && edit 1:1 f"]
)
def test_a_text_without_an_end_is_named(action: str) -> None:
    with pytest.raises(MalformedEdit, match="must end with a line that holds only end_of_edit"):
        rewrite_multiline(action)


@pytest.mark.parametrize(
    "action", ["end_of_edit", "ls\nend_of_edit\n", "edit 1:1 f <<E\nx\nE\nend_of_edit\n", "end_of_insert"]
)
def test_an_end_without_a_text_is_named(action: str) -> None:
    with pytest.raises(MalformedEdit, match="ends no text"):
        rewrite_multiline(action)


def test_what_was_recorded_in_mlgym_means_what_it_meant_there() -> None:
    assert (
        rewrite_multiline("create f\nx = (1)\nend_of_edit_not", as_mlgym=True) == "create f\nx = (1)\nend_of_edit_not"
    )
    named = rewrite_multiline("edit 1:2 other.py\nx\nend_of_edit", as_mlgym=True)
    assert named == "edit 1:2 <<'MLGYM_EDIT'\nx\nMLGYM_EDIT"
    assert rewrite_multiline("edit 1:2 other.py\nend_of_edit", as_mlgym=True).split() == ["edit", "--delete", "1:2"]
    with pytest.raises(MalformedEdit):
        rewrite_multiline("edit 1:2\nx\nend_of_insert", as_mlgym=True)
