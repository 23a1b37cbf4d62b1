"""Scoring: a submission is taken from the workspace and scored in a clean room.

* `submissions` (with `artifact`, `bundle`, `copying`): takes a submission from a workspace that is not to be trusted.
* `evaluation`: scores an artifact. The evaluator (`evaluator`, `seeds` and the task's own `evaluate/`) is a trusted
  process on the host. The submission runs under `submission_server` in a room of its own (`room`), which holds nothing
  of the evaluator. The two talk over a socket: one line a question, one line an answer.
* `fingerprint`: hashes of everything that a score depends on.
"""
