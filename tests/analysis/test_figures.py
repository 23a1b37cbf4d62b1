"""Figures and reports of a few rows: what is drawn, and what a browser shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.analysis.rows import row
from tests.analysis.test_summary import _runs
from tests.formats.test_exports import CHROMIUM
from workbench.analysis import mlgym
from workbench.analysis.figures import as_svg, figures, save
from workbench.analysis.output import WRITERS
from workbench.analysis.plot import plot_profiles
from workbench.analysis.report import html_page, markdown
from workbench.analysis.summary import analyze, tables
from workbench.session.run import Run


@pytest.mark.parametrize("runs", [[], [row("game", "a")], [row("game", "a", attempts=[1.0])], _runs()[:1]])
def test_few_runs_give_a_result(runs: list[Run], tmp_path: Path) -> None:
    analysis = analyze(runs)
    for table in tables(analysis):
        for write in WRITERS.values():
            assert write(table)
    assert "<h1>" in html_page(analysis, "mlgym-tui analyze") and markdown(analysis, "x").startswith("# ")
    assert plot_profiles(analysis, "best", 60, 10)


def test_figures_are_written_with_their_data(tmp_path: Path) -> None:
    person = row("game", "human:ann", attempts=[3.0], author="human", baseline=1.0)
    drawn = list(figures(analyze([*_runs(), person])))
    assert [figure.name for figure in drawn] == [
        "profiles_best", "profiles_last", "aup", "aup_cost", "exits", "failed_by_model", "failed_by_task", "actions",
        "actions_by_step", "scores_steps_game", "scores_seconds_game", "people_game", "scores_steps_maze",
        "scores_seconds_maze",
    ]  # fmt: skip
    made = save(drawn[0], tmp_path)
    assert [path.suffix for path in made] == [".csv", ".png", ".svg", ".pdf"]
    assert made[0].read_text().startswith("log10_ratio,a,ann,b,baseline\n")
    assert "Performance profile" in made[2].read_text()  # text stays text
    again = save(drawn[0], tmp_path / "..", ("svg",))
    assert again[1].read_bytes() == made[2].read_bytes()  # the same data give the same file


def test_what_runs_are_called_is_never_markup() -> None:
    page = html_page(analyze([row("<b>game", "<script>x</script>", attempts=[1.0])]), "x")
    assert "<script" not in page and "<b>game" not in page


def test_names_of_others_are_shown_and_not_acted_upon(tmp_path: Path) -> None:
    named = "a\n\x1b[31m\udcff"
    runs = [row(task, named, attempts=(score,), path=f"/runs/\udcff{task}") for task, score in (("s", 1.0), ("t", 2.0))]
    analysis = analyze(runs)
    assert analysis.models == ["a ^[[31m<U+DCFF>"]
    for write in WRITERS.values():
        for table in tables(analysis):
            assert "\x1b" not in write(table).encode().decode()
    assert "\x1b" not in html_page(analysis, "analyze")


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_a_browser_shows_the_report_and_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html_page(analyze([*_runs(), row("<img src=x>", "a", attempts=[1.0])]), "mlgym-tui analyze"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'browser'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=50, check=True)
    shown, said = done.stdout.decode(), done.stderr.decode()
    assert "Area under the performance profile" in shown and shown.count("<svg") >= 10 and "<img" not in shown
    assert "Refused" not in said and "CONSOLE" not in said


@pytest.mark.parametrize("score", [1e308, float("-inf"), float("nan"), 1e99, 5e-324])
def test_no_score_is_too_much(score: float) -> None:
    runs = [row("game", "a", attempts=(score, 1.0), baseline=score), row("game", "b", attempts=(2.0, score))]
    analysis = analyze(runs)
    assert analysis.end < 200 and plot_profiles(analysis, "last", 60, 10)
    for table in [*tables(analysis), *mlgym.published(runs)[1]]:
        assert WRITERS["json"](table)
    [steps] = [figure for figure in figures(analysis) if figure.name == "scores_steps_game"]
    assert as_svg(steps).endswith("</svg>\n")
