"""Other people's session files, opened as our events, and lists of actions to run again."""
