"""Lists of runs: what is in them, in which order, and below what."""

from __future__ import annotations

import msgspec
import pytest

from workbench.library.filter import FilterError
from workbench.library.listing import Listing
from workbench.library.notes import Note, Notes
from workbench.session.outcome import category
from workbench.session.run import Author, Run


def run(ident: str, task: str = "blotto", best: float | None = None, parent: str = "", author: Author = "model") -> Run:
    return Run(
        path=f"/s/{ident}", ident=ident, task=task, best=best, parent=parent, author=author, model=f"openai:{ident}",
        changed=float(len(ident)), baseline=0.5, direction="minimize" if task == "3SATTime" else "maximize",
    )  # fmt: skip


def listed(listing: Listing) -> list[str]:
    return [row.run.ident if row.run else row.text for row in listing.rows]


def test_the_newest_first_then_by_any_column_either_way() -> None:
    listing = Listing()
    listing.put([run("aaa", best=1.0), run("b", best=3.0), run("cc", best=None), run("dddd", best=2.0)])
    assert listed(listing) == ["dddd", "aaa", "cc", "b"]
    listing.sort_by("best")
    assert listed(listing) == ["b", "dddd", "aaa", "cc"]
    listing.sort_by("best")
    assert listed(listing) == ["aaa", "dddd", "b", "cc"]
    listing.sort_by("task")
    assert len(listing.rows) == 4


def test_a_filter_that_means_nothing_leaves_what_was_shown() -> None:
    listing = Listing()
    listing.put([run("a", best=1.0), run("b", "chess")])
    listing.look_for("task:chess")
    with pytest.raises(FilterError):
        listing.look_for("task:")
    assert listed(listing) == ["b"]
    listing.notes["/s/a"] = Notes([Note(author="human:me", time="", kind="tag", value="good")])
    listing.look_for("tag:good")
    assert listed(listing) == ["a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("status=submitted", ["a"]), ("status=success", ["a"]), ("status:format", ["bb"]), ("status:max", ["ccc"]),
        ("status:crashed", ["dddd"]), ("status!=success", ["dddd", "ccc", "bb"]),
    ],
)  # fmt: skip
def test_a_status_is_called_as_the_list_or_the_log_calls_it(text: str, found: list[str]) -> None:
    ends = ("submitted", "autosubmission (exit_format)", "evaluation_format_error (max_steps)", "crashed")
    listing = Listing()
    for letter, (count, end) in zip("abcd", enumerate(ends, 1), strict=True):
        listing.put([msgspec.structs.replace(run(letter * count), status=end, category=category(end))])
    listing.look_for(text)
    assert listed(listing) == found


def test_forks_stand_below_what_they_were_forked_from() -> None:
    listing = Listing()
    listing.put([run("a"), run("fork-1", parent="a"), run("fork-of-fork", parent="/s/fork-1"), run("bb")])
    listing.put([run("lost", parent="gone"), run("x", parent="y"), run("y", parent="x")])
    rows = {row.run.ident: row.level for row in listing.rows if row.run}
    assert rows == {"lost": 0, "bb": 0, "a": 0, "fork-1": 1, "fork-of-fork": 2, "x": 0, "y": 0}
    assert listed(listing)[:4] == ["lost", "bb", "a", "fork-1"]


def test_groups_have_headings_with_what_they_come_to() -> None:
    listing = Listing()
    listing.put([run("a", "3SATTime", 12.0), run("bb", "3SATTime", 9.0), run("c", "blotto", 1.0)])
    listing.group_by("task")
    assert listed(listing) == [
        "3SATTime · 2 runs · 0 submitted · best 9.0000 · median 0 steps",
        "bb",
        "a",
        "blotto · 1 run · 0 submitted · best 1.0000 · median 0 steps",
        "c",
    ]
    listing.fold(frozenset({"3SATTime"}))
    assert [row.text[:8] if row.run is None else row.run.ident for row in listing.rows] == ["3SATTime", "blotto ·", "c"]
    assert sorted(run.ident for run in listing.found) == ["a", "bb", "c"]
    listing.fold(frozenset({"3SATTime", "blotto"}))
    assert all(row.run is None for row in listing.rows) and len(listing.rows) == 2
    listing.fold(frozenset({"3SATTime", "blotto"}))
    neighbour = listing.neighbour("/s/a", 1)
    assert neighbour is not None and neighbour.ident == "c"
    assert listing.neighbour("/s/c", 1) is None and listing.neighbour("/s/nowhere", 1) is None


def test_how_a_task_stands() -> None:
    listing = Listing()
    listing.put([run("a", "3SATTime", 12.0), run("b", "3SATTime", 9.0), run("me", "3SATTime", 7.0, author="human")])
    standing = listing.standings()["3SATTime"]
    assert standing.people is not None and standing.models is not None
    assert (standing.runs, standing.baseline, standing.people.best, standing.models.best) == (3, 0.5, 7.0, 9.0)


def test_runs_that_are_gone_leave_the_list() -> None:
    listing = Listing()
    listing.put([run("a"), run("bb")])
    listing.hold({"/s/a": listing.runs["/s/a"]}, {})
    assert listed(listing) == ["a"]
