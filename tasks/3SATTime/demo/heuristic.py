def heuristic_fn(clauses, assignments, conflict_count, assignment_history, level):
    """Short clauses decide most: I weigh each open literal by the length of its clause, and take the variable whose two
    literals weigh most together, the heavier one first."""
    weight = {}
    for clause in clauses:
        left = [literal for literal in clause if abs(literal) not in assignments]
        for literal in left:
            weight[literal] = weight.get(literal, 0.0) + 8.0 ** -len(left)
    if not weight:
        return None, True

    def importance(variable):
        positive, negative = weight.get(variable, 0.0), weight.get(-variable, 0.0)
        return positive * negative * 1000 + positive + negative

    best = max({abs(literal) for literal in weight}, key=lambda variable: (importance(variable), -variable))
    return best, weight.get(best, 0.0) >= weight.get(-best, 0.0)
