"""What is exported: what our readers and the rules of each format make of it, and that no text of a session is more."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.formats import peers
from tests.formats.atif_rules import problems
from tests.formats.peers import approval, asked, called, output, sample, scored
from tests.formats.trajectories import healthy, write_run
from tests.session.hostile import make_session
from workbench.formats.mlgym_export import run_folder
from workbench.formats.open import open_recording
from workbench.formats.table import FORMATS
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.session.state import SessionState, fold
from workbench.tui.source import RecordedSource

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
EVIL = "</pre><script>alert(1)</script><img src=http://x.invalid/a onerror=alert(1)> \x1b]0;owned\x07 \u202e ```\n# no"


def written(recording: Recording, form: str, out: Path) -> Path:
    write = next(each.write for each in FORMATS if each.name == form)
    assert write is not None
    out.write_bytes(write(recording, out))
    return out


def essence(state: SessionState) -> list[tuple[object, ...]]:
    return [
        (step.author, step.proposed, step.action, step.thought, step.executed, step.exit_code, step.status,
         step.observation, step.edited_by, step.rejected_by, [score.score for score in step.scores])
        for step in state.steps[1:]
    ]  # fmt: skip


@pytest.fixture
def recordings(tmp_path: Path) -> dict[str, Recording]:
    changed = called("b", "sleep 30", ran="sleep 1")
    changed.insert(1, approval("b", "modify"))
    refused = called("c", "rm all", code=None, error={"type": "approval", "message": "no"})
    refused.insert(1, approval("c", "reject", explanation="no"))
    late = called("d", "exit 7", code=7, metadata={"author": "human:ann"})[1:]
    answered = {"event": "model", "model": "some/model", "output": {"choices": [{"message": {"content": "so it is"}}]}}
    (tmp_path / "a.json").write_bytes(
        peers.inspect_json(
            sample(
                "s", *called("a", "ls"), scored("I", intermediate=True), *changed, *refused, *late, answered, scored(1)
            )
        )
    )
    human = {"role": "user", "content": "User command: pwd", "extra": {"actions": [{"command": "pwd"}]}}
    no = {"role": "user", "content": "no", "extra": {"interrupt_type": "UserRejection"}}
    skipped = output("so-0") | {"extra": peers.NOT_RUN}
    mini = peers.mini(asked("rm"), skipped, no, human, asked("ls", said="x"), output("x-0", "a\n", 1))
    (tmp_path / "m.json").write_text(json.dumps(mini), encoding="utf-8")
    make_session(tmp_path / "own")
    return {
        "inspect": open_recording(tmp_path / "a.json"),
        "mini": open_recording(tmp_path / "m.json"),
        "mlgym": open_recording(write_run(tmp_path / "runs", healthy(), baseline={"Score": 1.02})),
        "own": open_recording(tmp_path / "own"),
    }


@pytest.mark.parametrize("form", ["atif", "inspect", "eval"])
def test_atif_and_inspect_read_back_as_they_were(tmp_path: Path, recordings: dict[str, Recording], form: str) -> None:
    for name, recording in recordings.items():
        out = tmp_path / (f"{name}.eval" if form == "eval" else f"{name}.json")
        state = fold(recording.events)
        back = fold(open_recording(written(recording, form.replace("eval", "inspect"), out)).events)
        assert essence(back) == essence(state), name
        assert [(s.step, s.kind, s.verdict) for s in back.scores_until()] == [
            (s.step, s.kind, s.verdict) for s in state.scores_until()
        ]
        assert back.ended and state.ended and back.ended.exit_status == state.ended.exit_status
        assert back.input_tokens == state.input_tokens and back.cost == pytest.approx(state.cost)
        if form == "atif":
            assert problems(json.loads(out.read_bytes())) == []


@pytest.mark.parametrize("form", ["atif", "inspect"])
def test_a_proposal_that_came_again_is_one_turn_of_the_model(tmp_path: Path, form: str) -> None:
    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task="quick", model="openai:m", metric=ev.Metric(name="Score")),
        ev.ModelResponded(text="ls", model="openai:m", usage=ev.Usage(input_tokens=9, output_tokens=3, cost=0.5)),
        ev.ActionProposed(step=1, author="model:m", action="ls", thought="I look."),
        ev.ScoreRecorded(step=1, score=0.5, metrics={"Score": 0.5}, author="human:ada", visible_to_agent=False),
        ev.ActionRejected(step=1, author="", comment="dropped: ada took over"),
        ev.MessageInjected(author="human:ada", text="Look everywhere."),
        ev.SessionResumed(),
        ev.ActionProposed(step=2, author="model:m", action="ls", thought="I look."),
        ev.ActionEdited(step=2, author="human:ada", before="ls", after="ls -a"),
        ev.ActionFinished(step=2, exit_code=0, observation="a"),
        ev.SessionEnded(exit_status="stopped"),
    ]
    recording = Recording(events, "", tmp_path / "s")
    out = written(recording, form, tmp_path / "out.json")
    state, back = fold(events), fold(open_recording(out).events)
    assert [(step.proposed, step.action, step.status) for step in back.steps[1:]] == [("ls", "ls -a", "ran")]
    assert [entry.score for entry in back.scores_until()] == [0.5]
    assert (back.cost, back.input_tokens, back.output_tokens) == (state.cost, 9, 3)
    assert back.steps[1].spending.cost == state.cost == sum(step.spending.cost for step in state.steps)
    assert "Look everywhere." in out.read_text() and "took over" not in out.read_text()
    if form == "atif":
        value = json.loads(out.read_bytes())
        assert problems(value) == []
        [turn] = [step for step in value["steps"] if step["source"] == "agent"]
        assert (turn["metrics"]["cost_usd"], turn["llm_call_count"]) == (0.5, 1)


def test_mlgyms_layout_reads_back_with_its_scores(tmp_path: Path, recordings: dict[str, Recording]) -> None:
    for name, recording in recordings.items():
        for path, data in run_folder(recording, tmp_path / "out" / name).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        [run] = (tmp_path / "out" / name).iterdir()
        state, back = fold(recording.events), fold(open_recording(run).events)
        kept = [step for step in state.steps[1:] if step.status != "rejected"]
        assert [(s.author, s.action, s.executed, s.exit_code) for s in back.steps[1:]] == [
            (s.author, s.action, s.executed, s.exit_code) for s in kept
        ], name
        assert [s.score for s in back.scores_until() if s.score is not None] == [
            s.score for s in state.scores_until() if s.score is not None
        ]
        assert back.model.rpartition(":")[2] and back.ended is not None
        [traj] = run.glob("*.traj")
        value = json.loads(traj.read_bytes())
        answers = [message for message in value["history"] if message["role"] == "assistant"]
        assert len(answers) == len(value["trajectory"])


def test_a_cast_is_whole_lines_whose_times_never_go_back(tmp_path: Path, recordings: dict[str, Recording]) -> None:
    third = '{"version":3,"term":{"cols":40,"rows":6}}\n[0.5,"o","a"]\n[-0.2,"r","50x7"]\n[0.5,"m","x"]\n[1,"o","b'
    (tmp_path / "x.cast").write_text(third, encoding="utf-8")
    for name, recording in {**recordings, "cast": open_recording(tmp_path / "x.cast")}.items():
        data = written(recording, "cast", tmp_path / "out.cast").read_bytes()
        assert data.endswith(b"\n") and b"\n\n" not in data
        head, *events = map(json.loads, data.splitlines())
        assert head["version"] == 2 and (head["width"], head["height"]) != (0, 0)
        times = [event[0] for event in events]
        assert times == sorted(times) and {event[1] for event in events} <= {"o", "r", "m"}
        assert any(event[1] == "m" for event in events), name
    assert (head["width"], [event[1:] for event in events]) == (40, [["o", "a"], ["r", "50x7"], ["m", "x"]])


def test_a_terminal_recording_is_shown_whole(tmp_path: Path) -> None:
    third = '{"version":3,"term":{"cols":40,"rows":6}}\n[0.5,"o","one "]\n[0.5,"o","two"]\n[1,"x","0"]\n'
    (tmp_path / "x.cast").write_text(third, encoding="utf-8")
    shown = RecordedSource(open_recording(tmp_path / "x.cast")).shell_text(0)
    assert shown.data == b"one two" and shown.sizes == ((0, 40, 6),)


class _Page(html.parser.HTMLParser):
    """What a page would have a browser do."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def evil(tmp_path: Path) -> Recording:
    found = sample("s", *called("a", EVIL, result=EVIL), scored("C"), input=EVIL)
    (tmp_path / "evil.json").write_bytes(peers.inspect_json(found))
    return open_recording(tmp_path / "evil.json")


def test_a_page_shows_hostile_text_and_does_nothing_with_it(tmp_path: Path, evil: Recording) -> None:
    page = written(evil, "html", tmp_path / "run.html").read_text(encoding="utf-8")
    seen = _Page()
    seen.feed(page)
    assert seen.tags.count("script") == 1 and "img" not in seen.tags and "svg" in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [value for name, value in seen.attributes if name in ("src", "href", "action", "data")]
    policy = dict(seen.attributes)["content"] is not None and re.search(r"default-src 'none'.*sha256-", page)
    assert policy and "alert(1)" in page and "\x1b" not in page and "\u202e" not in page
    assert "prefers-color-scheme:dark" in page and "@media print" in page


def test_markdown_keeps_texts_in_their_blocks(tmp_path: Path, evil: Recording) -> None:
    page = written(evil, "md", tmp_path / "run.md").read_text(encoding="utf-8")
    assert "````text" in page and "\x1b" not in page
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", page)
    assert "alert" not in outside and "\n# no" not in outside


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_a_browser_shows_the_page_and_finds_in_it(
    tmp_path: Path, evil: Recording, recordings: dict[str, Recording]
) -> None:
    def browsed(recording: Recording, find: str = "") -> tuple[str, str]:
        page = written(recording, "html", tmp_path / "run.html")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
        command += [f"--user-data-dir={tmp_path / 'browser'}", f"{page.as_uri()}{find}"]
        done = subprocess.run(command, capture_output=True, timeout=50, check=True)
        return done.stdout.decode(), done.stderr.decode()

    shown, said = browsed(evil)
    assert "alert(1)" in shown and "<img" not in shown and "Refused" not in said and "CONSOLE" not in said
    shown, said = browsed(recordings["mlgym"], "#find=retur%200")
    assert re.search(r'id="found"[^>]*>1 of 8 steps<', shown) and shown.count('class="hidden"') == 7
