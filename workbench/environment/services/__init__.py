"""What the host does for an agent on request: memory and literature. Off unless the agent's configuration says so."""
