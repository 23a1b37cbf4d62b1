"""Checks that score something outside an agent's session: a baseline, a task, a saved session's ledger.

* `baseline`: a task's baseline, made, scored and compared with what is published.
* `task_check` (with `bad_artifacts`): whether a task is ready for others.
* `rescore`: what a saved session submitted, scored again and compared with its ledger.
"""
