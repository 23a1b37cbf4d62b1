"""Where commands run: local and Docker sandboxes, the shared shell, and what it printed."""
