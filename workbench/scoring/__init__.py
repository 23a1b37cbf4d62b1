"""Scoring: a submission is taken from the workspace and scored in a clean room.

* `submissions` (with `artifact`, `bundle`, `copying`): takes a submission from a workspace that is not to be trusted.
* `evaluation`: scores an artifact. The judge (`judge`, `seeds` and the task's own `evaluate/`) is a trusted process on
  the host; the submission runs under `player` in a room of its own (`room`), where nothing of the judge is, and the two
  talk over a socket, one line a question, one line an answer.
* `fingerprint`: what a score came about with.
"""
