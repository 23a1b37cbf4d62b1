"""Reasoning in an answer's text is kept apart and never run; a command that only speaks of such tags stays whole."""

from __future__ import annotations

import pytest

from workbench.agents.messages import Response
from workbench.agents.parsing import FormatError, ParserName, make_parser
from workbench.agents.thinking import split_thinking

FORMS: dict[ParserName, str] = {
    "thought_action": "So.\n```\n{}\n```",
    "last_fence": "So.\n```bash\n{}\n```",
    "xml": "<thought>So.</thought>\n<action>\n{}\n</action>",
    "json": '{{"thought": "So.", "action": "{}"}}',
    "action_only": "{}",
}
every_form = pytest.mark.parametrize(("parser", "form"), FORMS.items(), ids=list(FORMS))


@every_form
@pytest.mark.parametrize(
    "answer",
    [
        "<think>\n{bad}\n</think>\n\n{good}",
        "<think>{bad}</think>{good}",
        "\n <THINK>\n{bad}\n</THINK>\n{good}",
        "<thinking>\n{bad}\n</thinking>\n{good}",
        "{bad}\n</think>\n{good}",
        "{bad}\n</think>\n<think>\n{bad}\n</think>\n{good}",
        "I would say {bad}\n\nbut no.</think>{good}",
        "<think>one</think>\n<think>\n{bad}\n</think>\n{good}",
    ],
    ids=repr,
)
def test_a_command_that_was_only_thought_of(parser: ParserName, form: str, answer: str) -> None:
    response = Response(answer.format(bad=form.format("rm -rf data"), good=form.format("ls")))
    assert "rm -rf data" in response.reasoning and "rm" not in response.text
    assert make_parser(parser).parse(response).action == "ls"


@every_form
@pytest.mark.parametrize(
    "answer", ["<think>\n{bad}", "Well.</think>\n<think>\n{bad}\n", "<think>{bad}</think>", "{bad}\n</think>"], ids=repr
)
def test_nothing_but_reasoning_is_no_answer(parser: ParserName, form: str, answer: str) -> None:
    response = Response(answer.format(bad=form.format("rm -rf data")))
    assert "rm -rf data" in response.reasoning and response.text == ""
    with pytest.raises(FormatError, match="only reasoning"):
        make_parser(parser).parse(response)


@pytest.mark.parametrize(
    "command",
    [
        "sed -i 's/<think>.*//' out.txt",
        "python3 - <<'EOF'\\nprint(text.split('</think>')[-1])\\nEOF",
        "cat > prompt.txt <<'EOF'\\n<think>\\nlike this\\n</think>\\nEOF",
        "grep -c '</think>' *.jsonl",
    ],
)
@every_form
def test_a_command_may_speak_of_such_tags(parser: ParserName, form: str, command: str) -> None:
    if parser == "action_only":
        return  # nothing tells its command from reasoning
    text = form.format(command if parser == "json" else command.replace("\\n", "\n"))
    response = Response(text)
    assert (response.text, response.reasoning) == (text, "")
    assert make_parser(parser).parse(response).action == command.replace("\\n", "\n")


def test_a_word_about_tags_is_no_reasoning() -> None:
    text = "I strip the <think> tag.\n```\nsed -i 's/<think>//' out.txt\n```"
    assert split_thinking(text) == ("", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a<think>" * 300_000, ""), ("</think>x\n" * 300_000, "x"), ("```\n<think>\n" * 200_000, "")],
    ids=["begun", "ended", "fences"],
)
def test_any_number_of_tags_is_read_at_once(text: str, said: str) -> None:
    assert split_thinking(text)[1] == said
