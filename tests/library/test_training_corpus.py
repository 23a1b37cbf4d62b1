"""Recordings of real training programs, beside what each logged itself.

Runs only where `MLGYM_CORPUS` names a folder with `training-output/`: `NAME.raw`, what the terminal was sent, and
`NAME.json`, a list of {"step": …, name: value, …}. A value counts as shown where its digits stand in the recording.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from workbench.library.metrics import of_file

RECORDINGS = Path(os.environ.get("MLGYM_CORPUS", "")).expanduser() / "training-output"
pytestmark = pytest.mark.skipif(
    not os.environ.get("MLGYM_CORPUS") or not RECORDINGS.is_dir(),
    reason="MLGYM_CORPUS names no folder with training-output/",
)

NOT_SHOWN = {
    "*": r"max_steps|epoch_|total|batch|epochs?|.*_batch_count|.*_best|total_flos|model|C",
    "fastai_fit": "raw_loss",  # the bar shows a smoothed one, without a name
    "sk": "train_score|val_score|train0|train1|test0|test1",  # without iterations
    "spacy": "cats_score",  # printed in percent
    "tqdm_nested": "",
}
NAMES = {
    "sk": {"val": "validation_score"},
    "lgbm": {"cv_auc_mean": "valid_s_auc", "cv_auc_stdv": "valid_s_auc_stdv"},
    "lightning_fit": {"train_loss": "train_loss_step"},
    "lightning_dumb": {"train_loss": "train_loss_step"},
    "keras_fit": {f"final_{name}": name for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
}
"""What the program prints it as."""
NOT_LOGGED = {
    "lightning_fit": "train_loss_epoch@.*|val_loss@0.0",  # a mean that is not in the JSON; the sanity check
    "accel_tqdm": "(eval_loss|perplexity|lr)@.*",
    "tqdm_nested": "lr@.*",
    "jaxp": "(eval_loss|lr)@.*",
    "sk": "(train|test)@.*",
    "spacy": "cats_score@.*",
    "rich_prog_dumb": "loss@3.0",  # of a bar that counts epochs
}
FORMS = ("{:.3f}", "{:.4f}", "{:.5f}", "{:.6f}", "{:.8f}", "{:.3g}", "{:.4g}", "{:.6g}", "{:.8g}", "{:g}")


def plain(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


def near(one: float, other: float) -> bool:
    return abs(one - other) <= max(abs(other) * 6e-3, 6e-5)


def shares(name: str) -> tuple[float, float, list[object]]:
    """Of the values that were shown, those found; of those reported, the true; and what is wrong."""
    text = re.sub(
        r"\x1b\[[\d;?]*[A-Za-z]", " ", (RECORDINGS / f"{name}.raw").read_text(encoding="utf-8", errors="replace")
    )
    text = re.sub(r"\x08+|\r", "\n", text)
    readings = [(plain(each.name), each.step, each.value) for each in of_file(RECORDINGS / f"{name}.raw")]
    true: list[tuple[str, set[float], float]] = []
    shown = []
    for row in json.loads((RECORDINGS / f"{name}.json").read_text()):
        # Lightning may draw the count before the value that belongs to it.
        steps = {row["step"], row["step"] + 1, row.get("epoch", row["step"])}
        for key, value in row.items():
            if key != "step" and not re.fullmatch(NOT_SHOWN["*"] + "|" + NOT_SHOWN.get(name, "-"), key):
                true.append((plain(NAMES.get(name, {}).get(key, key)), steps, value))
                beside = rf"\b{row['batch']:.0f}/{row['total']:.0f}\b.*" if "batch" in row else r"(?<![\w.+-])"
                forms = "|".join({re.escape(form.format(value)) for form in FORMS})
                if re.search(rf"{beside}(?:{forms})(?![\d.]\d|\d|e)", text):
                    shown.append(true[-1])
    missing: list[object] = [
        each for each in shown if not any(r[0] == each[0] and r[1] in each[1] and near(r[2], each[2]) for r in readings)
    ]
    judged = [r for r in readings if not re.fullmatch(NOT_LOGGED.get(name, "-"), f"{r[0]}@{r[1]}") and r[0] != "epoch"]
    false = [r for r in judged if not any(r[0] == t[0] and r[1] in t[1] and near(r[2], t[2]) for t in true)]
    return 1 - len(missing) / max(len(shown), 1), 1 - len(false) / max(len(judged), 1), [missing, false]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.raw")) or ["none"])
def test_what_was_shown_is_found_and_what_is_reported_is_true(name: str) -> None:
    found, true, wrong = shares(name)
    assert (found >= 0.95, true >= 0.98) == (True, True), (found, true, wrong)
