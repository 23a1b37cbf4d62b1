"""Tasks: what they are, where they are found, and what their authors write against.

* `schema` and `catalogue`: `task.yaml`, checked; finding a task by id or folder.
* `datasets` (with `dataset_schema`, `making`, `preparing`): data, prepared once, in a public and a secret part;
  `packages`: what a task's agent may import; `needs`: whether a task can run here; `scaffold`: a new one.
* For evaluators (`tasks/<id>/evaluate/`): `submission` (what they get and return), `csv_artifact`, `games`, `policies`,
  `control_environments`; for makers of datasets: `making`, `safetensors_file`. Files of users import them by name.
"""
