"""What is read from the output of training programs: a sample of each kind."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from workbench.library.curves import Curves
from workbench.library.metrics import is_terminal, of_file
from workbench.library.training import LONGEST, Parser, Reading, own_patterns

FULL = "█" * 10


def read(text: str, size: int = 7) -> list[tuple[str, float | None, float]]:
    """Fed in small pieces: (name, step, value)."""
    parser, data = Parser(), text.encode()
    readings = [each for at in range(0, len(data), size) for each in parser.feed(data[at : at + size])]
    return [(each.name, each.step, each.value) for each in readings + parser.close()]


def tqdm(done: int, postfix: str, said: str = "") -> str:
    return f"\r{said}{done * 10}%|{FULL}| {done}/10 [00:0{done}<00:09, 1.00it/s{postfix}]"


def keras(done: int, rest: str) -> str:
    return f"\r\x1b[1m{done}/4\x1b[0m \x1b[32m━━━━━━━━\x1b[0m \x1b[1m0s\x1b[0m 7ms/step - {rest}" + "\b" * 40


SAMPLES: dict[str, tuple[str, list[tuple[str, float, float]]]] = {
    "plain": (
        "epoch 3: loss=0.5, acc=0.75\nepoch 4: loss=nan\n",
        [("loss", 3, 0.5), ("acc", 3, 0.75), ("loss", 4, math.nan)],
    ),
    "step and epoch": ("epoch 1 step 200 loss 2.5\n", [("loss", 200, 2.5)]),
    "json": ('{"step": 7, "loss": 0.25}\n', [("loss", 7, 0.25)]),
    "array": ("{'step': 9, 'eval_loss': Array(1.5, dtype=float32)}\n", [("eval_loss", 9, 1.5)]),
    "updated after its count": (
        tqdm(1, ", loss=4") + tqdm(2, ", loss=4") + tqdm(2, ", loss=3") + "\n",
        [("loss", 1, 4), ("loss", 2, 3)],
    ),
    "a count that lags": (
        tqdm(0, "")
        + tqdm(0, ", loss=4")
        + tqdm(0, ", loss=3")
        + tqdm(2, ", loss=3")
        + tqdm(2, ", loss=2")
        + tqdm(3, ", loss=2"),
        [("loss", 1, 4), ("loss", 2, 3), ("loss", 3, 2)],
    ),
    "a bar cut at the edge": (f"\r10%|{FULL}| 1/10 [00:01<00:09, 1.00it/s, acc=0.5, loss=0.6\n", [("acc", 1, 0.5)]),
    "a message behind a bar": (tqdm(5, "") + "12/01/2026 - INFO - epoch 1: eval_loss: 0.6\n", [("eval_loss", 1, 0.6)]),
    "epochs of bars": (
        tqdm(9, ", loss=4", "epoch 0: ") + tqdm(1, ", loss=3", "epoch 1: "),
        [("loss", 9, 4), ("loss", 11, 3)],
    ),
    "the Trainer": (
        tqdm(2, "") + "\r" + " " * 50 + "\r{'loss': '0.69', 'epoch': '0.3'}\n" + tqdm(3, ""),
        [("loss", 3, 0.69), ("epoch", 3, 0.3)],
    ),
    "keras": (
        "Epoch 1/2\n"
        + keras(1, "loss: 0.8")
        + keras(4, "loss: 0.7 - val_loss: 0.9")
        + "\nEpoch 2/2\n"
        + keras(2, "loss: 0.6"),
        [("loss", 1, 0.8), ("loss", 4, 0.7), ("val_loss", 4, 0.9), ("loss", 6, 0.6)],
    ),
    "lightning": (
        "\x1b[2KEpoch 0/1  ━━━━━━━━ 2/4 0:00:00 • 0:00:01 80.00it/s train_loss_step: 2.5\n"
        "\x1b[1A\x1b[2KEpoch 1/1  ━━━━━━━━ 0/4 0:00:00 • 0:00:01 80.00it/s train_loss_step: 2.5 val_loss: 3.5\n"
        "        train_loss_epoch: 2.75      \n"
        "\x1b[1A\x1b[2KEpoch 1/1  ━━━━━━━━ 1/4 0:00:00 • 0:00:01 80.00it/s train_loss_step: 1.5 val_loss:  \n"
        "        3.5 train_loss_epoch:  \n        2.75   \n",
        [("train_loss_step", 1, 2.5), ("train_loss_epoch", 4, 2.75), ("val_loss", 4, 3.5), ("train_loss_step", 4, 1.5)],
    ),
    "rich": (
        "\x1b[2Kepoch 0 ━━━━━━━━━━ 0/4 loss=0.0000 -:--:--\n\x1b[1A\x1b[2Kepoch 0 ━━━━━━━╺━━ 3/4 loss=1.5000 0:00:01\n",
        [("loss", 3, 1.5)],
    ),
    "ignite": (f"\rEpoch [1/3]: [1/40]   2%|{FULL} , loss=4.44 [00:00<?]", [("loss", 1, 4.44)]),
    "fastai": (
        "epoch     train_loss  valid_loss  time    \n\rEpoch 1/3 : |███---| 10.00% [2/20 00:00<00:00... 0.6226]"
        "\r0         0.505294    0.410770    00:00     \n",
        [("train_loss", 0, 0.505294), ("valid_loss", 0, 0.41077)],
    ),
    "xgboost": ("[3]\ttrain-auc:0.92\teval-auc:0.81\n", [("train-auc", 3, 0.92), ("eval-auc", 3, 0.81)]),
    "lightgbm": (
        "[5]\tvalid_1's auc: 0.78\n[10]\tvalid_1's auc: 0.8\nEarly stopping, best iteration is:\n"
        "[5]\tvalid_1's auc: 0.78\n"
        "[2]\tvalid's l2: 0.5 + 0.25\n",
        [("valid_1's auc", 5, 0.78), ("valid_1's auc", 10, 0.8), ("valid's l2", 2, 0.5), ("valid's l2 stdv", 2, 0.25)],
    ),
    "catboost": ("7:\ttest: 0.87\tbest: 0.9 (6)\ttotal: 54.3ms\tremaining: 353ms\n", [("test", 7, 0.87)]),
    "scikit-learn": (
        "Iteration 2, loss = 1.06\nValidation score: 0.48\n      Iter       Train Loss   Remaining Time \n"
        "        20           0.6746            0.03s\n"
        "[CV 2/3] END ..C=1;, score=(train=0.99, test=0.97) total time=   0.1s\n",
        [
            ("loss", 2, 1.06),
            ("Validation score", 2, 0.48),
            ("Train Loss", 20, 0.6746),
            ("train", 2, 0.99),
            ("test", 2, 0.97),
        ],
    ),
    "spacy": (
        "E    #       LOSS TEXTCAT  SCORE \n---  ------  ------------  ------\n  6      20          4.58    0.80\n",
        [("LOSS TEXTCAT", 20, 4.58), ("SCORE", 20, 0.8)],
    ),
    "skorch": (
        "  epoch    train_loss     dur\n-------  ------------  ------\n      1        \x1b[32m0.8342\x1b[0m  0.8915\n",
        [("train_loss", 1, 0.8342), ("dur", 1, 0.8915)],
    ),
    "tabnet": (
        "epoch 0  | loss: 0.76 | valid_auc: 0.695   |  0:00:00s\n",
        [("loss", 0, 0.76), ("valid_auc", 0, 0.695)],
    ),
    "stable-baselines3": (
        "-----\n| rollout/ |  |\n|    ep_rew_mean | 22.3 |\n| time/ |  |\n|    total_timesteps | 1,024 |\n-----\n",
        [("rollout/ep_rew_mean", 1024, 22.3), ("time/total_timesteps", 1024, 1024)],
    ),
    "optuna": (
        "[I 2026-12-01] Trial 1 finished with value: 0.3 and parameters: {}. Best is trial 0\n",
        [("value", 1, 0.3)],
    ),
    "timm": (
        "Train: 1 [   6/25 ( 25%)]  Loss: 1.72 (1.85)  Time: 0.1s, 3200.00/s  LR: 9.200e-04\n"
        "Test: [   3/10]  Time: 0.1 (0.1)  Loss: 0.5 (0.6)\n",
        [("Loss", 6, 1.72), ("LR", 6, 9.2e-4), ("Loss", 3, 0.5)],
    ),
    "pairs of steps": ("[2,  2000] loss: 2.173\n", [("loss", 2000, 2.173)]),
    "epochs of batches": (
        "Train Epoch: 1 [64/100 (1%)]\tLoss: 2.5\nTrain Epoch: 2 [64/100 (1%)]\tLoss: 2\n",
        [("Loss", 64, 2.5), ("Loss", 164, 2)],
    ),
    "batches": ("| epoch   2 |   200/ 900 batches | ms/batch 12.3 | loss  8.05 |\n", [("loss", 1100, 8.05)]),
    "a sentence": ("Iteration 4, inertia 123.5.\n", [("inertia", 4, 123.5)]),
    "source that is shown": ("  lr = 0.01\nloss = 0.5\nlearning_rate: 3e-4\n", []),
    "no metrics": (
        "Total params: 9\nFit 8 trees in 0.479 s, (171 total leaves)\nNumber of positive: 195\n"
        "saved 3/4 files\n12:30:01 1.5\n",
        [],
    ),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_of_each_kind(kind: str) -> None:
    text, expected = SAMPLES[kind]
    found = sorted(read(text), key=str)
    expected = sorted(expected, key=lambda each: str((each[0], float(each[1]), float(each[2]))))
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    assert [each[2] for each in found] == pytest.approx([each[2] for each in expected], nan_ok=True)
    assert str(read(text.replace("\n", "\r\n"), 1)) == str(read(text, 1000))


def test_the_outermost_bar_says_how_far_it_is() -> None:
    parser = Parser()
    parser.feed((tqdm(3, "") + "\n" + tqdm(9, "", "part: ") + "\x1b[A").encode())
    assert parser.progress is not None
    assert (parser.progress.done, parser.progress.total, parser.progress.left) == (3, 10, 9)


def test_what_is_kept_is_bounded() -> None:
    parser = Parser()
    for number in range(300):
        parser.feed(f"\r{number} {'x' * LONGEST * 3}".encode())
        parser.feed(f"| {number}n | 1 |\n\rb{'z' * (number % 80)} ━━━━━━ 1/{number + 1} loss=1\r".encode())
    assert len(parser._rest) <= LONGEST * 2
    assert len(parser._bars) <= 64
    assert len(parser._box) <= 256


def test_a_file_is_a_recording_or_a_session(tmp_path: Path) -> None:
    raw, cast, run = tmp_path / "a.raw", tmp_path / "a.cast", tmp_path / "a.traj"
    raw.write_text("{'loss': 0.5, 'step': 1}\n")
    cast.write_text('{"version": 2, "width": 80, "height": 24}\n[0.5, "o", "step 1 lo"]\n[1.5, "o", "ss 0.5\\r\\n"]\n')
    run.write_text('{"environment": "mlgym_blotto", "trajectory": []}')
    assert [is_terminal(each) for each in (raw, cast, run)] == [True, True, False]
    assert [[(each.name, each.step, each.value) for each in of_file(path)] for path in (raw, cast)] == [
        [("loss", 1, 0.5)]
    ] * 2


def test_the_command_itself_is_passed_over() -> None:
    for shown in ("$ train --loss=1\r\n> --acc=2\r\n", ""):
        parser = Parser("train --loss=1\r\n> --acc=2\r\n")
        readings = [each for byte in (shown + "step 1 loss 3\r\n").encode() for each in parser.feed(bytes([byte]))]
        assert [(each.name, each.step, each.value) for each in readings + parser.close()] == [("loss", 1, 3)]


def test_patterns_of_ones_own_come_first() -> None:
    given = [
        r"fold (?P<step>\d+) dice (?P<dice>[\d.]+)",
        "no ( expression",
        r"<(?P<name>\w+)=(?P<value>\S+)> @(?P<epoch>\d)",
    ]
    parser = Parser("", own_patterns(given))
    found = parser.feed(b"fold 3 dice 0.75 loss: 9\n<val_iou=1e-3> @2\n<x=none> @2\nstep 4 loss 0.5\n")
    assert [(each.name, each.step, each.value, each.split) for each in found] == [
        ("dice", 3, 0.75, ""), ("val_iou", 2, 1e-3, "val"), ("loss", 4, 0.5, ""),
    ]  # fmt: skip


def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    parser = Parser("", own_patterns([r"(?P<x>(a+)+)$"]))
    assert parser.feed((f"{'a' * 60}!\n" * 3 + "epoch 1: loss=0.5\n").encode()) == [Reading("loss", 1, 0.5, epoch=1)]


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_rise_is_told_from_chance(noise: float) -> None:
    chance = random.Random(5)
    curves = Curves()
    for at in range(-500, 500):  # it falls first
        curves.add([Reading("loss", at, (0.01 if at > 0 else -0.001) * at + chance.gauss(0, noise))])
        over = curves.by_name["loss"].rising
        assert over < 20 if at <= 0 else at < 200 or over >= 100, at


@pytest.mark.parametrize(
    ("said", "left"), [("353ms", 0.353), ("1m 5s", 65), ("2h 3m 4s", 7384), ("12.5s", 12.5), ("soon", None)]
)
def test_the_time_that_catboost_says_is_left(said: str, left: float | None) -> None:
    parser = Parser()
    parser.feed(f"7:\ttest: 0.87\ttotal: 54.3ms\tremaining: {said}\r\n".encode())
    assert parser.left == left
