"""Runs in the room of a submission: loads its network and its five checkpoints, samples actions for observations.

A question is a line of JSON (checkpoint, seed, shape and form of the observations, form of the actions), then the
observations: 32-bit numbers, or bits. The answer is one 32-bit number for each observation.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from dotmap import DotMap
from submission_server import NotASubmission

CHECKPOINTS = 5
SMALLEST = 64
"""Observations are filled up to this many, or the next power of two: for each number of them there is a compilation."""


class Faulty(Exception):
    """The submission's own code raised an exception. `str()` says where."""


class Policies:
    """The network with the parameters of each checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = sorted((folder / "checkpoints").glob("*.pkl"))
        if len(files) != CHECKPOINTS:
            raise NotASubmission(f"checkpoints/ has {len(files)} files *.pkl; {CHECKPOINTS} are wanted")
        sources = [name for name in ("src", ".") if (folder / name / "networks.py").is_file()]
        if not sources:
            raise NotASubmission("src/networks.py is missing: it must have get_model_ready(rng, config)")
        config = self.config()
        sys.path[:0] = [str(folder / sources[0]), str(folder)]
        os.chdir(folder)
        self.model = self.guarded(lambda: self.ready(config), "networks.py")
        if not hasattr(self.model, "apply"):
            raise NotASubmission(f"get_model_ready returned a {type(self.model).__name__}, which has no apply")
        self.params = [self.parameters(file) for file in files]
        self.sample = jax.jit(self.sampled)

    def config(self) -> Any:
        import yaml

        for name in ("checkpoints/config.yaml", "config.yaml", "src/config.yaml"):
            if (self.folder / name).is_file():
                try:
                    found = yaml.safe_load((self.folder / name).read_text(encoding="utf-8"))
                except (ValueError, yaml.YAMLError) as error:
                    raise NotASubmission(f"{name} is no YAML: {error}") from None
                if not isinstance(found, dict):
                    raise NotASubmission(f"{name} has no fields")
                return DotMap(found.get("train_config", found))
        raise NotASubmission("src/config.yaml is missing")

    def ready(self, config: Any) -> Any:
        from networks import get_model_ready

        return get_model_ready(jax.random.PRNGKey(0), config)[0]

    def parameters(self, file: Path) -> Any:
        try:
            with file.open("rb") as stream:
                found = pickle.load(stream)
        except Exception as error:
            raise NotASubmission(f"checkpoints/{file.name} cannot be loaded: {type(error).__name__}: {error}") from None
        try:
            return jax.tree.map(jnp.asarray, found["network"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            wanted = "a dict with the parameters under 'network'"
            raise NotASubmission(f"checkpoints/{file.name} is not {wanted} ({type(error).__name__}: {error})") from None

    def sampled(self, params: Any, observations: Any, key: Any) -> Any:
        for_model, for_action = jax.random.split(key)
        _, distribution = self.model.apply(params, observations, for_model)
        return distribution.sample(seed=for_action)

    def answer(self, question: bytes) -> bytes:
        line, _, body = question.partition(b"\n")
        head = json.loads(line)
        count, *shape = head["shape"]
        if head["form"] == "bits":
            bits = np.unpackbits(np.frombuffer(body, np.uint8), count=int(np.prod(head["shape"])))
            seen = bits.reshape(count, *shape).astype(np.float32)
        else:
            seen = np.frombuffer(body, "<f4").reshape(count, *shape)
        filled = max(SMALLEST, 1 << (count - 1).bit_length())
        batch = np.zeros((filled, *shape), np.float32)
        batch[:count] = seen
        params, key = self.params[head["checkpoint"]], jax.random.PRNGKey(head["seed"])
        actions = np.asarray(self.guarded(lambda: self.sample(params, batch, key), f"checkpoint {head['checkpoint']}"))
        if actions.shape not in ((filled,), (filled, 1)):
            raise NotASubmission(
                f"sample() gave an array of shape {actions.shape} for {filled} observations: {(filled,)} is wanted"
            )
        if head["action"] == "int32" and actions.dtype.kind not in "iu":
            raise NotASubmission(f"sample() gave numbers of type {actions.dtype}; whole ones are wanted")
        return actions.reshape(-1)[:count].astype(head["action"]).tobytes()

    def guarded(self, work: Any, what: str) -> Any:
        """The submission's code: of its exceptions the last line that is in its own files is told."""
        try:
            return work()
        except Exception as error:
            own = [
                f"{Path(frame.filename).name}, line {frame.lineno}: "
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).is_relative_to(self.folder)
            ]
            where = own[-1] if own else f"{what}: "
            raise Faulty(f"{where}{type(error).__name__}: {error}") from None


answer = Policies(Path(os.environ["ARTIFACT"])).answer
