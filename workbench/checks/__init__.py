"""Checks: what is scored to try a task or a ledger, beside the sessions of agents.

* `baseline`: a task's baseline, made, scored and compared with what is published.
* `task_check` (with `bad_artifacts`): whether a task is ready for others.
* `rescore`: what a saved session submitted, scored again and compared with its ledger.
"""
