"""Loads a language model, and answers with its losses, or with its probabilities at some places."""

import inspect
import os
import struct
import sys

import torch
from submission_server import NotASubmission

FOLDER = os.environ["ARTIFACT"]
TOKENS = 16384 if torch.cuda.is_available() else 2048
"""That are computed at once: their logits are large."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load():
    sys.path.insert(0, FOLDER)
    for name in ("baseline.py", "model_config.pt"):
        if not os.path.isfile(f"{FOLDER}/{name}"):
            raise NotASubmission(f"{name} is missing: it belongs to model.pt")
    import baseline

    for name in ("Model", "ModelConfig"):
        if not hasattr(baseline, name):
            raise NotASubmission(f"baseline.py has no class {name}")
        setattr(sys.modules["__main__"], name, getattr(baseline, name))  # where a pickled configuration looks for it
    config = read("model_config.pt")
    if isinstance(config, dict):
        config = baseline.ModelConfig(**config)
    weights = read("model.pt")
    if isinstance(weights, dict) and isinstance(weights.get("model"), dict):
        weights = weights["model"]
    if not isinstance(weights, dict):
        raise NotASubmission(f"model.pt holds a {type(weights).__name__}, not a state dict")
    model = baseline.Model(config)
    try:
        model.load_state_dict({strip(name): tensor for name, tensor in weights.items()})
    except (RuntimeError, TypeError) as error:
        raise NotASubmission(f"model.pt does not fit Model: {' '.join(str(error).split())[:300]}") from None
    return model.to(DEVICE).eval()


def read(name):
    """Tensors and other objects, such as the configuration's class: what a pickle runs, it runs in this room."""
    try:
        return torch.load(f"{FOLDER}/{name}", map_location="cpu", weights_only=False)
    except Exception as error:
        raise NotASubmission(f"{name} cannot be loaded: {type(error).__name__}: {str(error)[:200]}") from None


def strip(name):
    """Compiled and distributed models have prefixes."""
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):
        name = name.removeprefix(prefix)
    return name


MODEL = load()
PARAMETERS = inspect.signature(MODEL.forward).parameters


def logits_of(inputs):
    """[batch, length, vocabulary], in 32 bits."""
    more = {}
    if "targets" in PARAMETERS and "return_logits" in PARAMETERS:
        more = {"targets": torch.zeros_like(inputs), "return_logits": True}
    found = MODEL(inputs, **more)
    found = found[0] if isinstance(found, (tuple, list)) else found
    found = getattr(found, "logits", found)
    if not isinstance(found, torch.Tensor) or found.shape[:2] != inputs.shape or found.ndim != 3:
        shape = tuple(getattr(found, "shape", ()))
        raise NotASubmission(f"Model gives {shape} for sequences of {tuple(inputs.shape)}, not logits at each position")
    return found.float()


@torch.inference_mode()
def answer(question):
    kind, rows, length = struct.unpack_from("<cII", question)
    inputs = integers(question, 9, rows * length).view(rows, length)
    rest, together = 9 + 4 * rows * length, max(1, TOKENS // length)
    if kind == b"L":
        targets = integers(question, rest, rows * length).view(rows, length)
        parts = [
            torch.nn.functional.cross_entropy(logits_of(x).flatten(0, 1), y.flatten(), reduction="none")
            for x, y in zip(inputs.split(together), targets.split(together), strict=True)
        ]
    else:
        places = integers(question, rest, rows)
        parts = [
            logits_of(x)[torch.arange(len(x), device=DEVICE), at].log_softmax(-1)
            for x, at in zip(inputs.split(together), places.split(together), strict=True)
        ]
    return torch.cat(parts).float().cpu().numpy().astype("<f4").tobytes()


def integers(data, start, count):
    return torch.frombuffer(bytearray(data[start : start + 4 * count]), dtype=torch.int32).long().to(DEVICE)
