"""The Gymnasium face of the tasks: `TaskEnv` drives a session's runner, with an agent that waits for `step()`."""
