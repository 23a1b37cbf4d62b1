"""Agents: whatever proposes actions. They know sessions, and know nothing of sandboxes, tasks or screens."""
