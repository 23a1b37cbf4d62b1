"""The world's side: an episode of a task in a sandbox. Knows nothing of agents."""
