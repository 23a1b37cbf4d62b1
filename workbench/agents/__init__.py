"""The mind's side: what proposes actions. Knows sessions, knows nothing of sandboxes, tasks or screens."""
