"""Terminal emulation for the shell pane. Nothing here knows Textual, so it is tested without a screen."""
