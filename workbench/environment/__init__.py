"""The world's side: an episode of a task in a sandbox. Knows nothing of agents.

Importing it makes the tasks known to Gymnasium, as `mlgym/<task id>-v0`, where Gymnasium is or will be imported.
"""

from workbench.environment.registration import register_when_imported

register_when_imported()
