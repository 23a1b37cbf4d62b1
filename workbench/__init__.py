"""mlgym-tui: a terminal workbench for machine-learning research agents."""

__version__ = "0.1.0"
