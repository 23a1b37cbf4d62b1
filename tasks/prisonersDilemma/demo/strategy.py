def row_strategy(history):
    """Defect: the column player's moves depend too little on ours for cooperation to pay."""
    return 1
