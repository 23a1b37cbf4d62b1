import random


def heuristic_fn(clauses, assignments, conflict_count, assignment_history, level):
    """The next variable to assign, and the value to try first: any variable, True."""
    random.seed(10)
    unassigned = sorted({abs(literal) for clause in clauses for literal in clause} - assignments.keys())
    if not unassigned:
        return None, True
    return random.choice(unassigned), True
