"""The sources of actions: scripted policies, replays, people."""
