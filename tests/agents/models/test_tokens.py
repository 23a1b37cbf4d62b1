"""The estimate against counts made once with two published tokenizers (the higher of the two)."""

from __future__ import annotations

import json
import time

import pytest

from workbench.agents.messages import Message, Tool, ToolCall
from workbench.agents.models.tokens import estimate_prompt, estimate_tokens

PYTHON = '''class Strategy(nn.Module):
    """A small network that plays."""

    def __init__(self, hidden_size: int = 64, num_layers: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(hidden_size, hidden_size) for _ in range(num_layers)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = F.relu(layer(x)) + 0.1 * x
        return x.softmax(dim=-1)


if __name__ == "__main__":
    main(sys.argv[1:])
'''
C = """static int cmp_entries(const void *a, const void *b) {
\tconst struct entry *x = *(const struct entry **)a, *y = *(const struct entry **)b;
\tif (x->mtime != y->mtime)
\t\treturn x->mtime < y->mtime ? -1 : 1;
\treturn strcmp(x->name, y->name);  /* then by name */
}
#define MAX_ENTRIES 4096
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
"""
SHELL = """#!/bin/bash
set -euo pipefail
for f in $(find . -name '*.csv' | sort); do
    echo "==> $f: $(wc -l < "$f") lines"
    python3 clean.py --input "$f" --output "${f%.csv}.parquet" || exit 1
done
grep -rn "import torch" src/ | awk -F: '{print $1}' | uniq -c
"""
PROSE = (
    "The agent reads the starter file, validates the baseline to see its score, and then edits the solution so that "
    "it does better. Whenever a command fails it looks at the message, thinks about what went wrong, and tries "
    "something else instead of repeating itself. At the end it submits the best attempt.\n"
)
TRACEBACK = """Traceback (most recent call last):
  File "/home/agent/workspace/train.py", line 87, in <module>
    loss.backward()
  File "/usr/lib/python3/dist-packages/torch/_tensor.py", line 492, in backward
    torch.autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)
"""
LOG = "".join(
    f"Epoch {i}/20: loss={1.9 - 0.07 * i:.4f} val_acc={0.31 + 0.021 * i:.4f} lr=1.0e-03 [{i * 30:>4}/600] 12.{i} it/s\n"
    for i in range(1, 9)
)
JSON = json.dumps(
    [{"name": f"item{i}", "value": i * 0.37, "tags": ["alpha", "beta"], "ok": True} for i in range(8)], indent=2
)
CSV = "Id,SalePrice,LotArea\n" + "".join(f"{1461 + i},{120000 + i * 1373.25:.2f},{8450 + i * 37}\n" for i in range(20))
HEX = (
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n"
    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752\n"
)
CHINESE = "机器学习研究代理在终端中工作，用户可以观察、暂停和编辑它的操作。"  # noqa: RUF001


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        (PYTHON, 148), (C, 123), (SHELL, 98), (PROSE, 63), (TRACEBACK, 116), (LOG, 408), (JSON, 373), (CSV, 408),
        (HEX, 120), (CHINESE, 32),
    ],
    ids=["python", "c", "shell", "prose", "traceback", "log", "json", "csv", "hex", "chinese"],
)  # fmt: skip
def test_the_estimate_is_high_rather_than_low(text: str, counted: int) -> None:
    assert 0.95 * counted <= estimate_tokens(text) <= 1.4 * counted


@pytest.mark.parametrize("text", ["a", " ", "\n", "é", "\ud800", "\x00", "9", "🎉"])
def test_anything_is_at_least_a_token(text: str) -> None:
    assert estimate_tokens(text) >= 1
    assert estimate_tokens("") == 0


def test_large_texts_do_not_take_long() -> None:
    """Linear: twenty times as much text takes no hundred times as long (and a million spaces are no trap)."""

    def seconds(text: str) -> float:
        """Of the processor, the best of three."""
        times = []
        for _ in range(3):
            times.append(time.thread_time())
            estimate_tokens.__wrapped__(text)
            times[-1] = time.thread_time() - times[-1]
        return min(times)

    small, large = seconds(PYTHON * 50 + "a"), seconds(PYTHON * 1000 + "b")
    assert large < 100 * max(small, 0.001)
    assert seconds(" " * 1_000_000) < 100 * max(small, 0.001)


def test_a_prompt_counts_all_that_is_sent() -> None:
    plain = estimate_prompt([Message("user", PROSE)])
    assert plain > estimate_tokens(PROSE)
    call = ToolCall("t1", "run", {"command": PROSE})
    assert estimate_prompt([Message("user", PROSE), Message("assistant", "", tool_calls=(call,))]) > 2 * plain - 20
    assert estimate_prompt([Message("user", PROSE)], [Tool("run", PROSE, {"type": "object"})]) > 2 * plain - 20
