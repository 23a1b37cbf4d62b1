"""The source of an evaluation's random numbers: repeatable for us, and unpredictable for a submission. Two streams are
derived for each evaluation: one for the evaluator (opponents, instances), one for the submission's process. With a
session's secret neither can be told from the other or from the artifact. A plain seed has no secret: it makes a score
repeatable for everybody, and somebody who guesses it knows the opponent's dice, so it is stretched (guessing costs
time) and never given to a sandbox.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Iterator

STRETCH_ROUNDS = 100_000


def evaluation_key(seed: int, secret: bytes | None, task: str, artifact_hash: str) -> bytes:
    """The key that everything random in one evaluation is derived from."""
    text = f"{task}\0{artifact_hash}\0{seed}".encode()
    if secret is not None:
        return hmac.digest(secret, text, "sha256")
    return hashlib.pbkdf2_hmac("sha256", b"mlgym-tui seed", text, STRETCH_ROUNDS)


def derive(key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose. Knowing them tells nothing of the key or of other purposes."""
    return hmac.digest(key, purpose.encode(), "sha256")


class UnpredictableRandom(random.Random):
    """`random.Random` over a keyed stream (SHAKE-256): numbers that were drawn do not reveal the next ones.

    The Mersenne Twister's state can be solved for from enough of an opponent's moves; 100,000 rounds are enough.
    """

    _BLOCK = 7 * 4096

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0
        self._values: Iterator[int] = iter(())
        super().__init__(0)

    def random(self) -> float:
        """The next number in [0, 1), 53 bits."""
        return self._next_word() * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        """An integer of k random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        if k <= 53:
            return self._next_word() >> (53 - k)
        return self.getrandbits(k - 53) << 53 | self._next_word()

    def seed(self, *args: object, **kwargs: object) -> None:
        """The key is the seed; there is no other."""

    def _next_word(self) -> int:
        for value in self._values:
            return value
        block = hashlib.shake_256(self._key + self._counter.to_bytes(8, "big")).digest(self._BLOCK)
        self._counter += 1
        words = [int.from_bytes(block[i : i + 7], "big") >> 3 for i in range(0, self._BLOCK, 7)]
        self._values = iter(words)
        return self._next_word()
