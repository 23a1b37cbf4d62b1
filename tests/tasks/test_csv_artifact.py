"""Tables as submissions: what is wrong is named, whatever the bytes are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tasks.csv_artifact import MAX_ROWS, r_squared, read_predictions, root_mean_squared_error
from workbench.tasks.submission import Failure

WANTED = ["1", "2", "3"]


def read(text: str | bytes, allowed: tuple[str, ...] = ()) -> dict[str, float]:
    data = text.encode() if isinstance(text, str) else text
    return read_predictions(data, "submission.csv", key="Id", column="y", wanted=WANTED, allowed=allowed)


@pytest.mark.parametrize(
    "text",
    [
        "Id,y\n3,30\n1,10\n2,20\n",
        "\ufeffId,y\r\n1,10\r\n2,20\r\n3,30\r\n",
        'extra, y ,Id\n"a,b",10,1\nc,"20",2\n\nd,3e1,3',
        "Id,y\n1.0,10.0\n 2 ,+20.\n3, 30 \n",
        "Id,y\n1,10\n2,20\n3,30\n4,nan\n",
    ],
)
def test_matched_by_id(text: str) -> None:
    assert read(text, allowed=("4",)) == {"1": 10.0, "2": 20.0, "3": 30.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Id,y\n1,1\n2,2\n", "1 Id is missing: 3"),
        ("Id,y\n1,1\n", "2 Ids are missing: 2, 3"),
        ("Id,y\n1,1\n2,2\n3,3\n3,4\n", "1 Id is there more than once: 3"),
        ("Id,y\n1,1\n2,2\n3,3\n8,4\n9,4\n", "2 Ids are unknown: 8, 9"),
        ("Id,y\n1,nan\n2,-inf\n3,\n", "3 ys are not finite: Id 1 (nan), 2 (-inf), 3 (empty)"),
        ("Id,y\n1,1e999\n2,2\n3,3\n", "1 y is not finite: Id 1 (1e999)"),
        ("Id,y\n1,1e200\n2,2\n3,3\n", "1 y is not finite: Id 1 (1e200)"),
        ("Id,y\n1,1_0\n2,0x1\n3,٣\n", "3 ys are no numbers: Id 1 ('1_0', line 2), 2 ('0x1', line 3)"),
        ("Id,y\n1,1\n1,1\n9,nan\n2,x\n", "more than once: 1; 1 Id is unknown: 9; 1 Id is missing: 3; 1 y is no number"),
        ("", "no column Id; the first line must name Id,y (it has nothing)"),
        ("id,y\n1,1\n", "no column Id"),
        ("Id;y\n1;1\n", "it has Id;y"),
        ("Id,y,y\n1,1,1\n", "more than one column y"),
        ("Id,y\n1,1\n2\n", "line 3: 1 fields, where the first line has 2"),
        ("Id,y\n1," + "9" * 20_000, "line 2: field larger than field limit"),
        (b"Id,y\n1,\xff\n", "line 2: not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_named(text: str | bytes, words: str) -> None:
    with pytest.raises(Failure) as caught:
        read(text)
    assert caught.value.verdict == "invalid" and words in caught.value.message
    assert caught.value.message.startswith("submission.csv")


def test_too_many_rows() -> None:
    with pytest.raises(Failure, match="more than 1,000,000 rows"):
        read("Id,y\n" + "1,1\n" * (MAX_ROWS + 1))


def test_long_lists_are_cut() -> None:
    with pytest.raises(Failure) as caught:
        read("Id,y\n" + "".join(f"{n},1\n" for n in range(10, 5000)))
    assert "4,990 Ids are unknown: 10, 11, 12, 13, 14, …" in caught.value.message and len(caught.value.message) < 300


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"Id,y\n{text}".encode()))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        numbers = read(data)
    except Failure as failure:
        assert failure.verdict == "invalid" and failure.message
    else:
        assert list(numbers) == WANTED and all(math.isfinite(number) for number in numbers.values())


def test_metrics() -> None:
    truth = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert r_squared(truth, truth) == 1.0 and root_mean_squared_error(truth, truth) == 0.0
    mean = dict.fromkeys(truth, 2.0)
    assert r_squared(mean, truth) == 0.0 and root_mean_squared_error(mean, truth) == pytest.approx(math.sqrt(2 / 3))
    assert math.isfinite(r_squared(dict.fromkeys(truth, 1e100), truth))
