"""Loads the submission and answers questions, in a sandbox where there is nothing but this file and the submission.

It may fail in any way, and code of the submission may change it: the evaluator checks what comes.
"""

import json
import os
import struct
import sys

from submission_server import NotASubmission  # there in the sandbox: for a submission that is of no use

ARTIFACT = os.environ["ARTIFACT"]  # the submission's files, as they were in the workspace; $DATA: the public data
try:
    with open(f"{ARTIFACT}/model/weights.json") as stream:
        weights = json.load(stream)
except (OSError, ValueError) as error:
    raise NotASubmission(f"model/weights.json cannot be loaded: {error}") from None
sys.path.insert(0, f"{ARTIFACT}/src")
try:
    from network import predict
except ImportError as error:
    raise NotASubmission(f"src/network.py has no predict: {error}") from None


def answer(question: bytes) -> bytes:
    """Numbers for numbers, each in eight bytes."""
    values = struct.unpack(f"<{len(question) // 8}d", question)
    return struct.pack(f"<{len(values)}d", *(predict(weights, value) for value in values))
