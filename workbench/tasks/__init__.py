"""Tasks: what they are, where they are found, and how a submission is scored in a clean room.

* `schema` and `catalogue`: `task.yaml`, checked; finding a task by id or folder.
* `evaluation`: scores an artifact. The judge (`judge`, `games`, `seeds` and the task's own `evaluate/`) is a trusted
  process on the host; the submission runs under `player` in a room of its own (`room`), where nothing of the judge is,
  and the two talk over a socket, one line a question, one line an answer.
* `artifact`: takes a submission from a folder that is not to be trusted.
"""
