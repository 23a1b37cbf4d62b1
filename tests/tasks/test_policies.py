"""The frame of the reinforcement learning tasks: what policies are asked, what they answer, what that scores."""

from __future__ import annotations

import asyncio
import json
import math
import os
import pickle
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from workbench.isolation.bwrap import python_inside
from workbench.scoring.evaluation import Evaluation, evaluate
from workbench.scoring.evaluator import load_evaluator
from workbench.tasks.catalogue import find_task
from workbench.tasks.control_environments import Breakout, Environment, MetaMaze, MountainCar
from workbench.tasks.datasets import prepare_task
from workbench.tasks.packages import installed_for
from workbench.tasks.policies import Plan, read_plan, score_policies
from workbench.tasks.submission import DataFolders, Failure, Job, Scores, Submission

TASKS = ("rlMountainCarContinuous", "rlBreakoutMinAtar", "rlMetaMazeMisc")
Policy = Callable[[NDArray[Any]], Any]


class Answering(Submission):
    """A submission that is asked without a process, and keeps the questions."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.asked: list[tuple[dict[str, Any], NDArray[Any]]] = []

    def send(self, question: bytes, most: int) -> bytes:
        line, _, body = question.partition(b"\n")
        head = json.loads(line)
        bits = head["form"] == "bits"
        raw = np.unpackbits(np.frombuffer(body, np.uint8)) if bits else np.frombuffer(body, "<f4")
        seen = raw[: math.prod(head["shape"])].reshape(head["shape"])
        self.asked.append((head, seen))
        actions = self.policy(seen)
        if isinstance(actions, bytes):
            return actions
        assert len(actions) * 4 == most
        return np.asarray(actions).astype("<f4" if head["action"] == "float32" else "<i4").tobytes()


def job_of(policy: Policy, seed: int = 1, data: dict[str, DataFolders] | None = None) -> tuple[Job, Answering]:
    answering = Answering(policy)
    job = Job([answering], random.Random(seed), "test", Path("/"), lambda fraction, text: None, data=data or {})
    return job, answering


def run(environment: Environment[Any], policy: Policy, plan: Plan, seed: int = 1) -> tuple[Scores, Answering]:
    job, answering = job_of(policy, seed)
    return score_policies(environment, plan, job), answering


def swing(seen: NDArray[Any]) -> NDArray[Any]:
    return np.where(seen[:, 1] < 0, -1.0, 1.0)


def follow(seen: NDArray[Any]) -> NDArray[Any]:
    ball, trail, paddle = (seen[..., part].max(axis=1).argmax(axis=1) for part in (1, 2, 0))
    wanted = np.clip(ball + np.sign(ball.astype(int) - trail), 0, 9)
    return np.where(wanted < paddle, 1, np.where(wanted > paddle, 2, 0))


def wander(seen: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(len(seen)).integers(0, 4, len(seen))


def test_a_car_that_swings_arrives() -> None:
    scores, answering = run(MountainCar(), swing, Plan(2, 30, 200))
    assert 80 < scores.metrics["Reward Mean"] < 95 and 0 < scores.metrics["Reward Std"] < 5
    assert scores.standard_error is not None and 0 < scores.standard_error < 0.5
    sizes = [len(seen) for head, seen in answering.asked if head["checkpoint"] == 0]
    assert sizes[0] == 60 and sizes == sorted(sizes, reverse=True) and sizes[-1] < 30 and len(sizes) < 200
    assert run(MountainCar(), lambda seen: np.zeros(len(seen)), Plan(1, 30, 200))[0].metrics["Reward Mean"] == 0


def test_a_paddle_that_follows_the_ball_clears_the_bricks() -> None:
    scores, answering = run(Breakout(), follow, Plan(1, 8, 999))
    assert scores.metrics["Reward Mean"] > 25
    assert {head["form"] for head, _ in answering.asked} == {"bits"} and answering.asked[0][1].shape == (8, 10, 10, 4)
    assert run(Breakout(), lambda seen: np.ones(len(seen)), Plan(1, 8, 999))[0].metrics["Reward Mean"] < 2


def test_a_maze_is_over_when_its_frames_are() -> None:
    scores, answering = run(MetaMaze(), wander, Plan(1, 64, 199))
    assert 0 < scores.metrics["Reward Mean"] < 10
    frames = [head["checkpoint"] for head, _ in answering.asked]
    assert [frames.count(number) for number in range(5)] == [199] * 5
    assert answering.asked[198][1][:, -1].tolist() == [198.0] * len(answering.asked[198][1])


def test_the_same_seed_gives_the_same_score() -> None:
    plan = Plan(1, 30, 199)
    first, again, other = (run(MetaMaze(), wander, plan, seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    _, answering = run(MetaMaze(), wander, plan)
    seeds = [head["seed"] for head, _ in answering.asked]
    assert len(set(seeds)) == len(seeds)


def test_no_episode_keeps_its_place() -> None:
    _, answering = run(MountainCar(), lambda seen: np.zeros(len(seen)), Plan(1, 200, 3))
    first, second = answering.asked[0][1][:, 0], answering.asked[1][1][:, 0]
    assert np.abs(np.sort(first) - np.sort(second)).max() < 0.001
    assert np.mean(np.abs(first - second) < 0.001) < 0.2


@pytest.mark.parametrize(
    ("environment", "policy", "said"),
    [
        (MountainCar(), lambda seen: np.full(len(seen), np.nan), "no finite number"),
        (MountainCar(), lambda seen: np.where(seen[:, 1] == 0, 0, np.inf), "inf, no finite number"),
        (MountainCar(), lambda seen: b"\0" * (4 * len(seen) - 4), "316 bytes came for 80 actions"),
        (MountainCar(), lambda seen: b"", "0 bytes came"),
        (Breakout(), lambda seen: np.full(len(seen), 3), "an action is 3; there are 0 to 2"),
        (MetaMaze(), lambda seen: np.full(len(seen), -1), "an action is -1; there are 0 to 3"),
        (MetaMaze(), lambda seen: np.full(len(seen), 2**31 - 1), "there are 0 to 3"),
    ],
)
def test_answers_that_are_no_actions(environment: Environment[Any], policy: Policy, said: str) -> None:
    with pytest.raises(Failure) as failure:
        run(environment, policy, Plan(1, 80, 50))
    assert failure.value.verdict == "invalid" and said in failure.value.message
    assert "(checkpoint 1, frame " in failure.value.message


def test_the_largest_action_there_is_has_a_score() -> None:
    scores, _ = run(MountainCar(), lambda seen: np.full(len(seen), 3.4e38), Plan(1, 10, 200))
    assert all(map(math.isfinite, scores.metrics.values())) and scores.metrics["Reward Mean"] < -1e75


@pytest.mark.parametrize("name", TASKS)
def test_the_evaluators(name: str) -> None:
    task = find_task(name).under(variant="tiny")
    judge = load_evaluator(task.folder, task.spec.evaluate.file, task.spec.evaluate.function)
    prepared = prepare_task(task)
    folders = {ident: DataFolders(item.public(), item.secret) for ident, item in prepared.items()}
    job, answering = job_of(lambda seen: np.zeros(len(seen)), data=folders)
    scores = judge(job)
    assert set(scores.metrics) == {metric.key for metric in task.spec.metrics}
    assert len(answering.asked[0][1]) == 64
    published = prepare_task(find_task(name))["rl-budget"]
    assert read_plan(job_of(wander, data={"": DataFolders(published.public(), published.secret)})[0], 1) == Plan(
        5, 256, 1
    )


NETWORK = """
import jax
import jax.numpy as jnp


class Model:
    def apply(self, params, observations, rng):
        return jnp.zeros((len(observations), 1)), Distribution(params, observations)


class Distribution:
    def __init__(self, params, observations):
        self.params, self.observations = params, observations

    def sample(self, seed):
        ACTION


def get_model_ready(rng, config):
    return Model(), {"push": jnp.zeros(())}
"""
OTHER_NETWORK = """
import flax.linen as nn
import gymnax
import jax.numpy as jnp
from tensorflow_probability.substrates import jax as tfp


class Network(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x, rng):
        push = self.param("push", nn.initializers.ones, ())
        mean = jnp.where(x[..., 1:] < 0, -1.0, 1.0) * push * jnp.ones(self.outputs)
        return jnp.zeros(len(x)), tfp.distributions.MultivariateNormalDiag(mean, 0.1 * jnp.ones_like(mean))


def get_model_ready(rng, config):
    env, env_params = gymnax.make(config.env_name, **config.env_kwargs)
    model = Network(env.num_actions)
    return model, model.init(rng, jnp.zeros((1, *env.observation_space(env_params).shape)), rng)
"""
SWING = "return jnp.where(self.observations[:, 1] < 0, -1.0, 1.0) * self.params['push']"


def submission(folder: Path, action: str = SWING, checkpoints: int = 5, content: bytes | None = None) -> Path:
    """A workspace with a submission that needs no training: five times how hard to push."""
    (folder / "src").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "src" / "networks.py").write_text(NETWORK.replace("ACTION", action))
    (folder / "src" / "config.yaml").write_text("train_config: {env_name: MountainCarContinuous-v0}\n")
    fine = pickle.dumps({"network": {"push": np.ones((), np.float32)}})
    for number in range(checkpoints):
        (folder / "checkpoints" / f"config-{number}.pkl").write_bytes(fine if content is None else content)
    return folder


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.code,)


def bomb(code: str) -> bytes:
    return pickle.dumps({"network": Bomb(code)})


FORGE = (
    "import os\n"
    "for n in range(3, 64):\n"
    '    try: os.write(n, b\'{"result": {"verdict": "ok", "metrics": {"Reward Mean": 1e9}}}\\n\')\n'
    "    except OSError: pass\n"
)
SEARCH = """
import os
found = []
for folder, folders, files in os.walk("/"):
    if folder in ("/proc", "/sys", "/usr", "/opt"):
        folders.clear()
    found += {"evaluation.json", "rewards.py", "control_environments.py", "task.yaml", "budget.json"} & set(files)
raise SystemExit(f"found {found}")
"""
ENDLESS = "while True: pass"
FORK = "import os\nwhile True:\n    os.fork()\n"


@pytest.mark.packages("rlMountainCarContinuous")
@pytest.mark.bwrap
class TestInTheRoom:
    """Submissions as they come, in the real room."""

    async def score(self, folder: Path | None, seconds: float = 60.0, name: str = TASKS[0]) -> Evaluation:
        task = find_task(name).under(variant="tiny")
        limits = replace(task.spec.limits, loading_seconds=seconds, answer_seconds=seconds)
        spec = replace(task.spec, limits=limits)
        return await evaluate(msgspec.structs.replace(task, spec=spec), folder, seed=1, room="bubblewrap")

    async def test_a_fine_one(self, tmp_path: Path) -> None:
        found = await self.score(submission(tmp_path / "w"))
        assert (
            found.verdict == "ok" and found.score is not None and 80 < found.score < 95 and found.dataset == "stand-in"
        ), found

    @pytest.mark.parametrize(
        ("action", "verdict", "said"),
        [
            ("return jnp.full(len(self.observations), jnp.nan)", "invalid", "no finite number"),
            ("return jnp.zeros(3)", "invalid", "an array of shape (3,) for 64 observations"),
            ("return {}['a']", "crashed", "networks.py, line 16: KeyError: 'a'"),
            ("return jax.pure_callback(lambda: print('x' * 10**6) or exit(3), jnp.zeros(64))", "crashed", ""),
        ],
    )
    async def test_bad_actions(self, tmp_path: Path, action: str, verdict: str, said: str) -> None:
        found = await self.score(submission(tmp_path / "w", action))
        assert found.verdict == verdict and said in found.message, found

    @pytest.mark.parametrize(
        ("code", "verdict", "said"),
        [
            (FORGE, "invalid", "written to the evaluator"),
            (SEARCH, "crashed", "found ['budget.json']"),
            (FORK, "", ""),
            ("raise ValueError('no')", "invalid", "config-0.pkl cannot be loaded: ValueError: no"),
            (ENDLESS, "timeout", "did not load"),
        ],
    )
    async def test_pickles_that_run_code(self, tmp_path: Path, code: str, verdict: str, said: str) -> None:
        seconds = 1 if code in (FORK, ENDLESS) else 4
        found = await self.score(submission(tmp_path / "w", content=bomb(code)), seconds=seconds)
        assert found.verdict in ([verdict] if verdict else ["invalid", "crashed", "timeout"]), found
        assert found.score is None and said in found.message, found

    @pytest.mark.parametrize("count", [4, 6])
    async def test_how_many_checkpoints(self, tmp_path: Path, count: int) -> None:
        found = await self.score(submission(tmp_path / "w", checkpoints=count))
        assert (found.verdict, found.message) == ("invalid", f"checkpoints/ has {count} files *.pkl; 5 are wanted")

    async def test_what_is_missing(self, tmp_path: Path) -> None:
        assert (await self.score(None)).verdict == "missing"
        folder = submission(tmp_path / "w")
        shutil.rmtree(folder / "src")
        found = await self.score(folder)
        assert found.verdict == "invalid" and "src/networks.py is missing" in found.message
        shutil.rmtree(folder / "checkpoints")
        assert (await self.score(folder)).verdict == "missing"

    async def test_what_is_no_plain_file(self, tmp_path: Path) -> None:
        folder = submission(tmp_path / "w")
        file = folder / "checkpoints" / "config-3.pkl"
        file.unlink()
        file.symlink_to("/etc/passwd")
        assert (await self.score(folder)).verdict == "invalid"
        file.unlink()
        with file.open("wb") as stream:
            stream.truncate(10 << 30)
        found = await self.score(folder)
        assert found.verdict == "invalid" and "268,435,456 bytes" in found.message

    async def test_a_network_as_others_write_them(self, tmp_path: Path) -> None:
        parameters = {"network": {"params": {"push": np.ones((), np.float32)}}, "log_steps": [1]}
        folder = submission(tmp_path / "w", content=pickle.dumps(parameters))
        (folder / "src" / "networks.py").write_text(OTHER_NETWORK)
        shutil.move(folder / "src" / "config.yaml", folder / "config.yaml")
        found = await self.score(folder)
        assert found.verdict == "ok" and found.score is not None and 70 < found.score < 95, found

    async def test_the_starter_trains_in_time(self, tmp_path: Path) -> None:
        task = find_task("rlMetaMazeMisc")
        packages = installed_for(task, "local", "")
        for name, data in task.starter_files().items():
            (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "w" / name).write_bytes(data)
        made = await asyncio.to_thread(
            subprocess.run,
            [python_inside()[0], "train.py", "--minutes", "0.01", "--steps", "100000"],
            cwd=tmp_path / "w",
            env={
                "PYTHONPATH": f"{Path(__file__).with_name('gymnax')}:{packages}",
                "PATH": os.environ["PATH"],
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": "--xla_backend_optimization_level=0",  # most of the time goes into translating
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert "48 updates of 2,048 steps on cpu" in made.stdout and made.stdout.endswith("wrote checkpoints/\n")
        assert len(list((tmp_path / "w" / "checkpoints").glob("config-?.pkl"))) == 5
        found = await self.score(tmp_path / "w", name=task.id)
        assert found.verdict == "ok" and found.score is not None and 0 <= found.score < 10, found


def test_packages_for_gpus_are_wanted_where_gpus_are(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find_task(TASKS[0])
    for here, wanted in (([], []), ([0], ["jax[cuda12]==0.6.2"])):
        monkeypatch.setattr("workbench.isolation.gpus.list_gpus", lambda here=here: here)
        assert task.requirements == [*task.spec.requirements, *wanted]
