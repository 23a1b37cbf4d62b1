def row_strategy(history):
    """Give up two fields to win the other four: against scattered soldiers 30 is usually enough."""
    return [30, 30, 30, 30, 0, 0]
