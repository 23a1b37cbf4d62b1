"""Many sessions from one plan: every combination of tasks, models, agents and seeds, within a budget for the whole."""
