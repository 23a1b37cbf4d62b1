"""The solver that asks the heuristic, as it is used for the score, and a way to try a heuristic on data/train.jsonl.

    python3 solver.py [number of instances]
"""

import json
import sys
import time


class WrongAnswer(Exception):
    """The heuristic's answer is no variable to be assigned, with a value."""


class Solver:
    """Plain DPLL: unit propagation, chronological backtracking; no learning, no pure literals."""

    def __init__(self, clauses, heuristic):
        self.clauses = clauses
        self.heuristic = heuristic
        self.assignments = {}
        self.conflict_count = {}
        self.history = []
        """Variables in the order of their assignment."""
        self.levels = [[]]
        """Those assigned at each decision level; the first were assigned before any decision."""
        self.decisions = 0

    def solve(self):
        """Whether the clauses can be satisfied. Raises WrongAnswer, and what the heuristic raises."""
        if not self.propagate():
            return False
        unsatisfied = [clause for clause in self.clauses if not self.is_satisfied(clause)]
        if not unsatisfied:
            return True
        self.decisions += 1
        variable, value = self.ask(unsatisfied)
        for choice in (value, not value):
            self.levels.append([])
            self.assign(variable, choice)
            if self.solve():
                return True
            for assigned in self.levels.pop():
                del self.assignments[assigned]
                self.history.pop()
        return False

    def propagate(self):
        """Assign what clauses with one literal left demand, as long as there are any. False for a conflict."""
        changed = True
        while changed:
            changed = False
            for clause in self.clauses:
                left = None
                for literal in clause:
                    value = self.assignments.get(abs(literal))
                    if value is None:
                        if left is not None:
                            break
                        left = literal
                    elif value == (literal > 0):
                        break
                else:
                    if left is None:
                        for literal in clause:
                            self.conflict_count[abs(literal)] = self.conflict_count.get(abs(literal), 0) + 1
                        return False
                    self.assign(abs(left), left > 0)
                    changed = True
        return True

    def is_satisfied(self, clause):
        return any(self.assignments.get(abs(literal)) == (literal > 0) for literal in clause)

    def assign(self, variable, value):
        self.assignments[variable] = value
        self.history.append(variable)
        self.levels[-1].append(variable)

    def ask(self, unsatisfied):
        answer = self.heuristic(
            [list(clause) for clause in unsatisfied],
            dict(self.assignments),
            dict(self.conflict_count),
            list(self.history),
            [list(level) for level in self.levels],
        )
        try:
            variable, value = answer
        except (TypeError, ValueError):
            raise WrongAnswer(answer) from None
        open_variables = {abs(literal) for clause in unsatisfied for literal in clause} - self.assignments.keys()
        if not isinstance(variable, (int, float)) or variable not in open_variables or value not in (True, False):
            raise WrongAnswer(answer)
        return int(variable), bool(value)


def main(most):
    from heuristic import heuristic_fn

    correct = wrong = decisions = 0
    began = time.perf_counter()
    with open("data/train.jsonl") as file:
        for _, line in zip(range(most), file):
            instance = json.loads(line)
            solver = Solver(instance["clauses"], heuristic_fn)
            if solver.solve() == instance["satisfiable"]:
                correct += 1
            else:
                wrong += 1
            decisions += solver.decisions
    seconds = time.perf_counter() - began
    print(f"{correct} correct, {wrong} incorrect, {decisions} decisions, {seconds:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**9)
