"""Tasks: what they are, where they are found, and how a submission is scored in a clean room.

* `schema` and `catalogue`: `task.yaml`, checked; finding a task by id or folder.
* `datasets` (with `dataset_schema`, `making`, `preparing`): data, prepared once, in a public and a secret part;
  `packages`: what a task's agent may import; `needs`: whether a task can run here; `scaffold`: a new one.
* `evaluation`: scores an artifact. The judge (`judge`, `games`, `seeds` and the task's own `evaluate/`) is a trusted
  process on the host; the submission runs under `player` in a room of its own (`room`), where nothing of the judge is,
  and the two talk over a socket, one line a question, one line an answer.
* `csv_artifact`: reads submissions that are tables.
* `artifact`: takes a submission from a folder that is not to be trusted.
"""
