"""`python -m benchmarks [PART …]`: prints the figures as ratios against floors measured in the same run.

`python -m benchmarks --base REVISION [RUNS]`: prints those that a user waits for, as ratios to another build's.
"""

from __future__ import annotations

import sys

from benchmarks.builds import compare_with
from benchmarks.rows import Row, parts


def main(wanted: list[str]) -> int:
    """Print the table. Exit code 0 whatever the figures are: they are for reading, not for passing."""
    if wanted[:1] == ["--base"]:
        if len(wanted) not in (2, 3) or not all(number.isdigit() for number in wanted[2:]):
            print("--base REVISION [RUNS]", file=sys.stderr)
            return 2
        return compare_with(wanted[1], *map(int, wanted[2:]))
    known = [name for name, _ in parts()]
    wrong = [name for name in wanted if name not in known]
    if wrong:
        print(f"no such part: {', '.join(wrong)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name, measure in parts():
        if wanted and name not in wanted:
            continue
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += measure()
    _print(rows)
    return 0


def _print(rows: list[Row]) -> None:
    marks = {True: "✓", False: "✗", None: " "}
    table = [["", "what", "ours", "floor", "ratio", "target"]]
    table += [[marks[r.met], r.what, r.ours, r.floor, r.ratio, r.target] for r in rows]
    widths = [max(len(line[i]) for line in table) for i in range(6)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
