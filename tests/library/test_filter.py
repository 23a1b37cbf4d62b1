"""The filter language: what its terms mean, how they combine, and that nothing makes it break."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.library.filter import FilterError, Value, parse

RUN: dict[str, Value] = {
    "": "blotto openai:gpt-5 Submitted",
    "task": "blotto",
    "status": "autosubmission (exit_format)",
    "score": 1.25,
    "steps": 12.0,
    "working": 600.0,
    "cost": None,
    "by": "human",
    "tag": ("good", "ablation"),
    "failure": (),
}


def holds(text: str) -> bool:
    return parse(text, RUN).matches(RUN.get)


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "blotto", "BLOTTO", "gpt-5 submitted", "/gpt-\\d/", "task:blot", "task:/^b.*o$/", 'status:"(exit_f"',
        "status:format", "score>1.2", "score >= 1.25", "score=1.25", "score == 1.25", "score!=2", "steps<1k",
        "working=10m", "working<1h", "task=Blotto", "task!=chess", "score:*", "not cost:*", "not cost>0", "cost!=1",
        "by:human score>1", "tag=good", "tag=Ablation", "tag:abl", "tag:/^abl/", "tag!=bad", "not failure:*",
        "chess or blotto", "not (chess or go)", "chess go or blotto", "blotto and not chess",
        "task:blotto status:format score>1.2 by:human",
    ],
)  # fmt: skip
def test_what_holds(text: str) -> None:
    assert holds(text)
    assert not text.strip() or not holds(f"not ({text})")


@pytest.mark.parametrize(
    "text",
    [
        "chess", "/^gpt/", "task:go", "score>1.25", "cost<1", "cost=0", "blotto chess", "not blotto", "task=blot",
        "tag=abl",
    ],
)  # fmt: skip
def test_what_does_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("taks:blotto", "there is no field 'taks': did you mean 'task'?"),
        ("score>high", "score> needs a number, and 'high' is none"),
        ("score>", "what score> is compared with is missing"),
        ("(blotto", "a ( is not closed"),
        ("blotto)", "a ) has no ( before it"),
        ("blotto or", "something is missing after 'or'"),
        ("or blotto", "something is missing at its beginning"),
        ("not", "something is missing after 'not'"),
        ("blotto && score>1", "&& is written 'and' here"),
        ('"two words', "a \" has no second one in '\"two words'"),
        ("/[/", "/[/ is no regular expression: unterminated character set at position 0"),
        ("/usr", "the expression '/usr' begins with / and does not end with one (quote it if it is a word)"),
        ("(" * 60 + "a" + ")" * 60, "it is nested more than 50 levels deep"),
        ("x" * 3000, "a filter has at most 2,000 characters, this one 3,000"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(FilterError) as error:
        parse(text, RUN)
    assert str(error.value) == said


NAMES = ["task", "score", "cost"]
THINGS = st.fixed_dictionaries(
    {
        "": st.text("ab ", max_size=4),
        "task": st.text("ab", max_size=3),
        "score": st.one_of(st.none(), st.floats(-5, 5)),
        "cost": st.integers(0, 3).map(float),
    }
)
TERMS = st.one_of(
    st.sampled_from(["a", "b", "ab", '"a b"', "/a+b/", "task:a", "task:/^b/", "task=ab", "score:*"]),
    st.builds(
        lambda name, op, number: f"{name}{op}{number}",
        st.sampled_from(["score", "cost"]),
        st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
        st.integers(-5, 5),
    ),
)


@given(TERMS, TERMS, TERMS, THINGS)
def test_how_terms_combine(a: str, b: str, c: str, thing: dict[str, Value]) -> None:
    def holds(text: str) -> bool:
        return parse(text, thing).matches(thing.get)

    assert holds(f"{a} {b}") == holds(f"{a} and {b}") == (holds(a) and holds(b))
    assert holds(f"{a} or {b}") == (holds(a) or holds(b))
    assert holds(f"not {a}") != holds(a)
    assert holds(f"{a} or {b} {c}") == holds(f"{a} or ({b} {c})")
    assert holds(f"not {a} {b}") == holds(f"(not {a}) {b}")
    assert holds(f"not ({a} or {b})") == holds(f"not {a} not {b}")


@given(st.sampled_from(["score", "cost"]), st.integers(-5, 5), THINGS)
def test_of_what_is_known_one_comparison_in_three_holds(name: str, number: int, thing: dict[str, Value]) -> None:
    found = [parse(f"{name}{op}{number}").matches(thing.get) for op in "<=>"]
    assert sum(found) == (thing[name] is not None)


@given(
    st.one_of(st.text(max_size=40), st.lists(st.sampled_from(list('ab:<>=!/"\\() .*or not')), max_size=30).map("".join))
)
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        found = parse(text, NAMES)
    except FilterError as error:
        assert "\n" not in str(error) or "\n" in text
    else:
        assert found.matches(lambda name: "a" if name in ("", "task") else None) in (True, False)


SLOW, LONG = "/(a|aa)+$/", "a" * 200 + "!"
"""`re` would take longer for this than anybody lives."""


def test_an_expression_that_takes_too_long_is_given_up_on_the_side_of_caution() -> None:
    for text in (SLOW, f"not {SLOW}", f"score>1 or {SLOW}"):
        found = parse(text)
        assert found.matches({"": LONG}.get) and not found.matches({"": LONG}.get, unsure=False)
        assert found.matches({"": "aaa"}.get) == ("not" not in text)


def test_many_texts_together_cost_little() -> None:
    from workbench.library import expression

    wanted = expression.Expression("(a|aa)+$")
    begun = time.process_time()
    for _ in range(200):
        with pytest.raises(expression.TooSlow):
            wanted.search(LONG)
    assert wanted.given_up == 200 and time.process_time() - begun < 20
