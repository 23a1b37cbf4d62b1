"""BLEU of captions against the sentences that people wrote, computed here: a score that is handed in counts nothing."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from workbench.tasks.csv_artifact import columns_of, read_texts
from workbench.tasks.submission import Failure, Job, Scores

LONGEST = 4
"""Words of the longest run that is compared."""
_WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")

Words = Sequence[str]


def evaluate(job: Job) -> Scores:
    """BLEU over the pictures of the split, from 0 to 1; all pictures must have a row, whatever the split."""
    columns = columns_of(job.artifact, job.artifact_name)
    if "bleu_score" in columns and "caption" not in columns:
        raise Failure(
            "invalid",
            f"{job.artifact_name} has the column bleu_score: a score that a submission gives itself is not taken. "
            "Hand in the columns image_id,caption, one row for each picture of test.csv; BLEU is computed from them",
        )
    truth = held_back(job.data["ms-coco"].secret / "captions.json")
    found = read_texts(job.artifact, job.artifact_name, key="image_id", column="caption", wanted=list(truth))
    scored = [ident for ident, (_, split) in truth.items() if job.split in (split, "all")]
    references = [[words(sentence) for sentence in truth[ident][0]] for ident in scored]
    return Scores(metrics={"BLEU Score": bleu([words(found[ident]) for ident in scored], references)})


def held_back(file: Path) -> dict[str, tuple[list[str], str]]:
    """Sentences and split of each test picture, by its id."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return {ident: (row["captions"], row["split"]) for ident, row in found.items()}


def words(sentence: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return _WORD.findall(sentence.lower())


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """BLEU-4 of a corpus (Papineni et al. 2002), from 0 to 1, without smoothing.

    The geometric mean of the shares of runs of 1 to 4 words that a reference has, too (each as often as the reference
    that has it most often), times a penalty where all candidates together are shorter than their references: of each,
    the one nearest in length counts, the shorter of two.
    """
    right, total = [0] * LONGEST, [0] * LONGEST
    length = wanted = 0
    for candidate, several in zip(candidates, references, strict=True):
        length += len(candidate)
        wanted += min((len(reference) for reference in several), key=lambda size: (abs(size - len(candidate)), size))
        for count in range(1, LONGEST + 1):
            mine = runs(candidate, count)
            most: Counter[tuple[str, ...]] = Counter()
            for reference in several:
                most |= runs(reference, count)
            right[count - 1] += sum((mine & most).values())
            total[count - 1] += sum(mine.values())
    if not all(right):
        return 0.0
    mean = math.fsum(math.log(hit / of) for hit, of in zip(right, total, strict=True)) / LONGEST
    return math.exp(mean + min(0.0, 1.0 - wanted / length))


def runs(sentence: Words, count: int) -> Counter[tuple[str, ...]]:
    """The runs of `count` words, and how often each is there."""
    return Counter(tuple(sentence[start : start + count]) for start in range(len(sentence) - count + 1))
