"""Plans: what they say, and the jobs that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.rows import row
from workbench.sweep.estimate import estimates
from workbench.sweep.plan import Plan, PlanError, jobs, only, read_plan
from workbench.sweep.slurm import script


def _plan(folder: Path, text: str) -> Path:
    file = folder / "plan.yaml"
    file.write_text(text)
    return file


def test_every_combination_is_a_job(tmp_path: Path) -> None:
    plan = read_plan(_plan(tmp_path, "tasks: [a, b]\nmodels: [x, y]\nseeds: [7, 8]\nlimits: {steps: 5}\n"))
    found = jobs(plan)
    assert [job.name for job in found[:5]] == ["a x #7", "a y #7", "b x #7", "b y #7", "a x #8"]
    assert len({job.key for job in found}) == 8 and found[0].spec.sweep == found[0].key
    assert found[0].spec.limits.steps == 5


def test_a_job_stays_the_same_when_the_plan_grows_or_is_given_more(tmp_path: Path) -> None:
    small = jobs(Plan(tasks=["a"]))
    large = jobs(read_plan(_plan(tmp_path, "tasks: [b, a]\nseeds: 3\nlimits: {cost: 4}\nparallel: 9\n")))
    assert small[0].key in {job.key for job in large}


def test_a_program_is_an_agent_and_the_models_answer_it(tmp_path: Path) -> None:
    program = "{command: mini --go, env: [DEBUG=1], mounts: [/opt/mine]}"
    found = jobs(read_plan(_plan(tmp_path, f"tasks: [a]\nmodels: [openai:x, openai:y]\nagents: [{program}]\n")))
    assert [job.spec.upstream for job in found] == ["openai:x", "openai:y"]
    spec = found[0].spec
    assert (spec.agent_command, spec.agent_env, spec.agent_mount) == ("mini --go", ("DEBUG=1",), ("/opt/mine",))
    assert (spec.model, spec.agent, found[0].name) == ("", "", "a openai:x mini --go #0")
    assert len({job.key for job in found}) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [a]\nagents: [{command: mini}]\n", "needs models"),
        ("models: [x]\n", "tasks"),
        ("tasks: []\n", "plan.yaml, line 1: tasks"),
        ("tasks: [a]\nmodel: [x]\n", "model"),
        ("tasks: [a, a]\n", "'a' is there twice"),
        ("tasks: [a]\nbudget: {cost: -1}\n", "plan.yaml, line 2: budget.cost"),
        ("tasks: [a]\nseeds: 0\n", "seeds"),
        ("- a\n", "must be a mapping"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlanError, match=r"plan\.yaml") as raised:
        read_plan(_plan(tmp_path, text))
    assert said in str(raised.value)


def test_too_many_jobs_are_refused() -> None:
    with pytest.raises(PlanError, match="more than 100,000"):
        jobs(Plan(tasks=[str(n) for n in range(11)], seeds=10_000))


def test_some_jobs_by_number() -> None:
    found = jobs(Plan(tasks=["a", "b"]))
    assert only(found, [1]) == found[1:]
    with pytest.raises(PlanError, match="the plan has 2"):
        only(found, [2])


def test_a_script_for_slurm_runs_each_job_by_its_number() -> None:
    text = script(Path("/plans/my plan.yaml"), Path("/runs"), 12, 4)
    assert "#SBATCH --array=0-11%4\n" in text
    assert "sweep '/plans/my plan.yaml' --sessions /runs --only" in text


def test_an_estimate_is_the_median_of_sessions_like_it() -> None:
    alike = [row("a", "x", n, cost=float(n), working=10.0 * n) for n in (1, 2, 6)]
    found = estimates(jobs(Plan(tasks=["a", "b"], models=["x"])), alike)
    [estimate] = found.values()
    assert (estimate.sessions, estimate.cost, estimate.seconds) == (3, (2.0, 1.0, 6.0), (20.0, 10.0, 60.0))
