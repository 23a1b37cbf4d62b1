"""The server that agent programs take for their model: each of their calls becomes a step of a session."""
