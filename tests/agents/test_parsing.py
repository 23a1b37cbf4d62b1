"""Parsers take any answer: an action, or a reason that the model can act on. What `turn` writes, `parse` reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.agents.messages import Response, StopReason, ToolCall
from workbench.agents.parsing import FormatError, ParserName, make_parser
from workbench.agents.tools import BadCall, action_of, call_of, make_tools, sendable_name
from workbench.sandbox.commands import COMMAND_NAMES, command_docs

PARSERS: list[ParserName] = list(get_args(ParserName))
TEXT_PARSERS: list[ParserName] = ["thought_action", "last_fence", "xml", "json"]

FENCES = ["```", "````", " ```", "```bash", "```python"]
TAGS = ["<action>", "</action>", "<thought>", "{", "}", '"', '{"action": "ls"}', '"action":', "[" * 2000, "9" * 5000]
TEXT = ["ls", "text", " ", "\n", "\r\n", "\x00", "\ud800", "é"]
pieces = st.sampled_from([*FENCES, *TAGS, *TEXT])
answers = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=80)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
argument_names = st.sampled_from(["path", "line", "first_line", "last_line", "after_line", "text", "command", "term"])
calls = st.builds(
    ToolCall,
    id=st.text(max_size=4),
    name=st.sampled_from(["bash", *COMMAND_NAMES]) | st.text(max_size=8),
    arguments=st.dictionaries(argument_names | st.text(max_size=4), json_values, max_size=4),
    raw_arguments=st.sampled_from(["", "{", '{"path": ', "[1]", "9" * 5000]),
)
stops: list[StopReason] = ["stop", "length", "tool_calls"]
responses = st.builds(
    Response, text=answers, tool_calls=st.lists(calls, max_size=3).map(tuple), stop_reason=st.sampled_from(stops)
)
actions = st.text(st.characters(exclude_characters="\r", codec="utf-8") | st.just("`"), min_size=1, max_size=60).filter(
    lambda text: bool(text.strip())
)
"""Commands; a carriage return before a line's end would be dropped, as answers with CRLF have them."""
thoughts = st.text(st.characters(exclude_characters="`\r<>", codec="utf-8"), max_size=40).map(str.strip)


def reason(parser: ParserName, text: str, stop: StopReason = "stop", *tool_calls: ToolCall) -> str:
    """Why an answer is refused."""
    with pytest.raises(FormatError) as caught:
        make_parser(parser, COMMAND_NAMES).parse(Response(text, tool_calls=tool_calls, stop_reason=stop))
    return str(caught.value)


@pytest.mark.parametrize("parser", PARSERS)
@given(response=responses)
def test_any_answer_gives_an_action_or_a_reason(parser: ParserName, response: Response) -> None:
    try:
        parsed = make_parser(parser, COMMAND_NAMES).parse(response)
    except FormatError as error:
        assert str(error)
    else:
        assert parsed.action.strip()


@pytest.mark.parametrize("parser", TEXT_PARSERS)
@given(thought=thoughts, action=actions)
def test_what_a_turn_says_is_read_back(parser: ParserName, thought: str, action: str) -> None:
    if parser == "xml" and "action>" in action:
        return  # taken as it stands, not escaped
    turn = make_parser(parser).turn(thought, action, 3)
    parsed = make_parser(parser).parse(Response(turn.content))
    assert (parsed.action, parsed.thought, parsed.remark) == (action, thought, "")
    assert (turn.role, turn.step) == ("assistant", 3)


@given(thought=thoughts, action=actions)
def test_a_tool_call_is_read_back(thought: str, action: str) -> None:
    parser = make_parser("tool_calls", COMMAND_NAMES)
    turn = parser.turn(thought, action, 12)
    parsed = parser.parse(Response(turn.content, tool_calls=turn.tool_calls))
    assert (parsed.action, parsed.thought) == (action, thought)
    assert turn.tool_calls[0].id == "step00012"


def test_text_around_the_block_is_the_thought() -> None:
    parsed = make_parser("thought_action").parse(Response("First I look.\r\n```bash\r\nls\r\npwd\r\n```\r\nThen more."))
    assert parsed.action == "ls\npwd"
    assert parsed.thought == "First I look.\n\nThen more."


def test_a_longer_fence_may_hold_shorter_ones() -> None:
    action = "cat > a.md <<'EOF'\n```python\nx\n```\nEOF"
    parsed = make_parser("thought_action").parse(Response(f"I write it.\n````\n{action}\n````"))
    assert parsed.action == action


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("```\nls\n```<|im_end|>", "ls"),
        ("```bash\nls\n```<|eot_id|>\n", "ls"),
        ("```\nls\n``` </s><eos>", "ls"),
        ("```\nls\n```\n<|im_end|>\n<|endoftext|>", "ls"),
        ("```\nls\n```<\uff5cend\u2581of\u2581sentence\uff5c>", "ls"),
        ("```\nls\n```<end_of_turn>\nThat lists them.", "ls"),
        ("```bash\nls -la```", "ls -la"),
        ("```bash\ncd x\nls -la``` <|im_end|>", "cd x\nls -la"),
        ("````\nls````\nThat lists them.", "ls"),
        ("1. I look:\n   ```bash\n   if true; then\n     ls\n   fi\n   ```\n2. Then I see.", "if true; then\n  ls\nfi"),
        ("- so\n    - look\n\n      ```\n      ls\n      ```", "ls"),
        ("- ```bash\n  ls\n  pwd\n  ```", "ls\npwd"),
        ("\t```\n\tls\n\t```", "ls"),
        ("   ```\n   cat <<EOF\n   a\n     b\n   EOF\n```", "cat <<EOF\na\n  b\nEOF"),
        ("```\ncat > a.md <<EOF\n    ```\n    x\n    ```\nEOF\n```", "cat > a.md <<EOF\n    ```\n    x\n    ```\nEOF"),
        ("```\necho '<|im_end|>' > t\n```", "echo '<|im_end|>' > t"),
        ("```\r\nls\r\npwd\r\n```\r\n", "ls\npwd"),
    ],
)
@pytest.mark.parametrize("parser", ["thought_action", "last_fence"])
def test_fences_as_models_write_them(parser: ParserName, text: str, action: str) -> None:
    assert make_parser(parser).parse(Response(text)).action == action


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        ("xml", "<action>\r\nls\r\npwd\r\n</action>"),
        ("xml", "<action>ls\npwd</action><|im_end|>"),
        ("json", '{"action": "ls\\r\\npwd"}'),
        ("json", '{"action": "ls\\npwd"}</s>'),
        ("action_only", "ls\r\npwd<|im_end|>"),
    ],
)
def test_line_ends_and_stop_tokens_in_other_forms(parser: ParserName, text: str) -> None:
    assert make_parser(parser).parse(Response(text)).action == "ls\npwd"


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (ToolCall("1", "bash", {"command": "ls\r\npwd"}), "ls\npwd"),
        (ToolCall("1", "create", {"path": "a", "text": "x\r\ny"}), "create a <<'END_OF_TEXT'\nx\ny\nEND_OF_TEXT"),
    ],
)
def test_line_ends_in_calls(call: ToolCall, action: str) -> None:
    parsed = make_parser("tool_calls", COMMAND_NAMES).parse(Response("", tool_calls=(call,)))
    assert (parsed.action, parsed.remark) == (action, "")


def test_an_argument_that_no_tool_has_is_left_aside_and_told() -> None:
    calls = (ToolCall("1", "submit", {"reason": "done", "why": 3}),)
    parsed = make_parser("tool_calls", COMMAND_NAMES).parse(Response("", tool_calls=calls))
    assert parsed.action == "submit"
    assert parsed.remark == "submit takes no argument 'reason' or 'why'; the call was run without."


@pytest.mark.parametrize("name", ["", "open file!", "functions.bash", "1st", "a" * 200, "\ud83d", "bash\n", "é"])
def test_names_go_back_in_a_form_that_servers_take(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", sendable_name(name))
    assert sendable_name("memory_read") == "memory_read"


@pytest.mark.parametrize(
    ("parser", "text", "stop", "words"),
    [
        ("thought_action", "", "stop", "empty"),
        ("thought_action", "I would run ls.", "stop", "no fenced block"),
        ("thought_action", "```\nls\n```\nand\n```\npwd\n```", "stop", "2 fenced blocks (on lines 1, 5)"),
        ("thought_action", "a\n```\nls", "stop", "begins on line 2 is never closed"),
        ("thought_action", "a\n```\ncat > x <<E\nlong", "length", "cut off"),
        ("thought_action", "long", "length", "limit for the length"),
        ("thought_action", "```\n \n```", "stop", "line 1 is empty"),
        ("thought_action", "```python\nprint(1)\n```", "stop", "marked as Python"),
        ("last_fence", "```\nls\n```\n```json\n{}\n```", "stop", "JSON"),
        ("last_fence", "```\nls\n```\n```\npwd", "stop", "line 4 is never closed"),
        ("xml", "ls", "stop", "no <action> element"),
        ("xml", "<action>ls", "stop", "never closed"),
        ("xml", "<action>a</action> or <action>b</action>", "stop", "more than one"),
        ("xml", "<action>\n</action>", "stop", "empty"),
        ("json", "ls", "stop", "not one JSON object: Expecting value, line 1, column 1"),
        ("json", '{"action": "ls"', "length", "cut off"),
        ("json", '["ls"]', "stop", "not an object"),
        ("json", '{"thought": "hm"}', "stop", 'no "action"'),
        ("json", '{"action": 3}', "stop", 'no "action"'),
        ("json", '{"action": " "}', "stop", "empty"),
        ("action_only", "cat > x <<E\nlong", "length", "cut off"),
        ("action_only", "  ", "stop", "empty"),
        ("tool_calls", "I am done.", "stop", "calls no tool. When you are done, call submit."),
        ("tool_calls", "hm", "length", "before any call"),
    ],
)
def test_reasons(parser: ParserName, text: str, stop: StopReason, words: str) -> None:
    assert words in reason(parser, text, stop)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (ToolCall("1", "opne", {"path": "a"}), "no tool 'opne'; there are bash, open, goto"),
        (ToolCall("1", "open", {}), "open needs the argument 'path'"),
        (ToolCall("1", "open", {"path": 3}), "'path' of open must be a string"),
        (ToolCall("1", "open", {"path": "a", "line": "x"}), "'line' of open must be a whole number"),
        (ToolCall("1", "open", {"path": "a", "line": True}), "whole number"),
        (ToolCall("1", "goto", {"line": 2.5}), "whole number"),
        (
            ToolCall("1", "goto", {"lines": 2}),
            "needs the argument 'line'; it takes no argument 'lines'; its arguments are",
        ),
        (ToolCall("1", "bash", {"command": " "}), "empty"),
        (ToolCall("1", "insert", {"after_line": 1, "text": ""}), "not empty"),
        (ToolCall("1", "bash", raw_arguments='{"command": "ls'), "not a JSON object (Unterminated string"),
    ],
)
def test_reasons_for_calls(call: ToolCall, words: str) -> None:
    assert words in reason("tool_calls", "", "stop", call)


def test_only_the_first_call_is_run_and_the_model_is_told() -> None:
    calls = (ToolCall("a", "open", {"path": "x.py"}), ToolCall("b", "goto", {"line": 3}), ToolCall("c", "submit"))
    parsed = make_parser("tool_calls", COMMAND_NAMES).parse(Response("look", tool_calls=calls))
    assert parsed.action == "open x.py"
    assert parsed.remark == "Your answer had 3 calls; only the first was run, not: goto, submit."


def test_of_several_blocks_the_last_is_run_and_the_model_is_told() -> None:
    parsed = make_parser("last_fence").parse(Response("```python\nx = 1\n```\nso\n```\npwd\n```"))
    assert parsed.action == "pwd"
    assert "only the last one was run" in parsed.remark
    assert "x = 1" in parsed.thought


# -- tools -------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
numbers = st.integers(min_value=0, max_value=10**6)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=60) | st.just(
    "END_OF_TEXT\nend_of_edit\n$HOME `x`\\\n"
)
good_calls = st.one_of(
    st.builds(lambda path, line: ("open", {"path": path, "line": line}), words, numbers),
    st.builds(lambda path: ("open", {"path": path}), words),
    st.builds(lambda path, text: ("create", {"path": path, "text": text}), words, texts.filter(bool)),
    st.builds(
        lambda a, b, path, text: ("edit", {"first_line": a, "last_line": b, "path": path, "text": text}),
        numbers, numbers, words, texts,
    ),
    st.builds(lambda a, b, text: ("edit", {"first_line": a, "last_line": b, "text": text}), numbers, numbers, texts),
    st.builds(lambda a, text: ("insert", {"after_line": a, "text": text}), numbers, texts.filter(bool)),
    st.builds(lambda term, folder: ("search_dir", {"term": term, "folder": folder}), words, words),
    st.builds(lambda name: ("find_file", {"name": name}), words),
    st.just(("scroll_down", {})),
    st.just(("submit", {})),
    st.builds(lambda note: ("memory_write", {"note": note}), texts.filter(bool)),
    st.just(("memory_read", {})),
    st.builds(lambda query: ("memory_read", {"query": query}), words),
    st.builds(lambda query, number: ("literature_search", {"query": query, "number": number}), words, numbers),
    st.builds(lambda paper: ("literature_read", {"paper": paper}), words),
)  # fmt: skip


@given(call=good_calls)
def test_the_call_of_an_action_is_the_one_that_made_it(call: tuple[str, dict[str, object]]) -> None:
    name, arguments = call
    action = action_of(ToolCall("x", name, arguments), COMMAND_NAMES)
    back = call_of(action, COMMAND_NAMES, "y")
    if arguments.get("text"):
        text = str(arguments["text"])
        arguments = {**arguments, "text": text if text.endswith("\n") else text + "\n"}
    assert (back.id, back.name, dict(back.arguments)) == ("y", name, arguments)


@pytest.mark.parametrize(
    "action", ["open a b c", "open 'a", "open  a", "edit 1:2 f", "edit x:2 f --delete", "ls", "submit; ls", "goto 1 2"]
)
def test_an_action_that_no_tool_makes_is_a_call_of_bash(action: str) -> None:
    call = call_of(action, COMMAND_NAMES, "x")
    assert (call.name, call.arguments) == ("bash", {"command": action})


def test_tools_that_are_not_offered_are_unknown() -> None:
    assert [tool.name for tool in make_tools(["submit"])] == ["bash", "submit"]
    assert call_of("open a", ["submit"], "x").name == "bash"
    with pytest.raises(BadCall, match="there are bash, submit"):
        action_of(ToolCall("x", "open", {"path": "a"}), ["submit"])


def test_every_agent_command_is_a_tool_and_documented() -> None:
    assert {tool.name for tool in make_tools(COMMAND_NAMES)} == {"bash", *COMMAND_NAMES}
    docs = command_docs(["submit", "open"])
    assert docs.startswith('open "<path>"') and "submit\n    Submits" in docs and "goto" not in docs


def test_numbers_that_models_write_in_other_ways() -> None:
    assert action_of(ToolCall("x", "goto", {"line": "12"}), COMMAND_NAMES) == "goto 12"
    assert action_of(ToolCall("x", "goto", {"line": 12.0}), COMMAND_NAMES) == "goto 12"
    assert action_of(ToolCall("x", "open", {"path": "a", "line": None}), COMMAND_NAMES) == "open a"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
def test_bash_hands_the_text_on_as_it_stands(tmp_path: Path) -> None:
    text = "a $HOME `x` \\\n\nEND_OF_TEXT\nend_of_edit\n'\"\n"
    arguments = {"first_line": 1, "last_line": 2, "path": "it's a file", "text": text}
    action = action_of(ToolCall("x", "edit", arguments), COMMAND_NAMES)
    got = tmp_path / "got"
    script = f'edit() {{ printf "%s|" "$@"; cat; }}\n{{\n{action}\n}} > {got}'
    subprocess.run(["bash", "-c", script], check=True, timeout=20)
    assert got.read_text() == f"1:2|it's a file|{text}"
