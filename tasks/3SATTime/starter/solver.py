"""The solver that asks the heuristic, as it is used for the score, and a way to try a heuristic on data/train.jsonl.

    python3 solver.py [number of instances]
"""

import json
import sys
import time


class WrongAnswer(Exception):
    """The heuristic's answer is no variable to be assigned, with a value."""


class DPLL:
    """Plain DPLL: unit propagation, chronological backtracking; no learning, no pure literals."""

    def __init__(self, clauses, heuristic_function):
        self.clauses = clauses
        self.heuristic_function = heuristic_function
        self.assignments = {}
        self.conflict_count = {}
        self.assignment_history = []
        """Variables in the order of their assignment."""
        self.level = [[]]
        """Those assigned at each decision level; the first were assigned before any decision."""
        self.num_decisions = 0

    def solve(self):
        """Whether the clauses can be satisfied. Raises WrongAnswer, and what the heuristic raises."""
        if not self.propagate():
            return False
        unsatisfied = [clause for clause in self.clauses if not self.is_satisfied_clause(clause, self.assignments)]
        if not unsatisfied:
            return True
        self.num_decisions += 1
        variable, value = self.ask(unsatisfied)
        for choice in (value, not value):
            self.level.append([])
            self.assign(variable, choice)
            if self.solve():
                return True
            for assigned in self.level.pop():
                del self.assignments[assigned]
                self.assignment_history.pop()
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

    @staticmethod
    def is_satisfied_clause(clause, assignments):
        """Whether one of its literals is true."""
        return any(assignments.get(abs(literal)) == (literal > 0) for literal in clause)

    @staticmethod
    def is_conflicted_clause(clause, assignments):
        """Whether all of its literals are false."""
        return all(assignments.get(abs(literal)) == (literal < 0) for literal in clause)

    @staticmethod
    def is_unit_clause(clause, assignments):
        """Whether one of its literals is open, and others are not."""
        return sum(abs(literal) not in assignments for literal in clause) == 1 < len(clause)

    @staticmethod
    def num_new_clauses(variable, value, clauses, assignments):
        """A look ahead: how many clauses without an assigned literal would have one after this assignment, and after
        all that it demands; 10,000 where that satisfies all clauses, -10,000 where it leads to a contradiction.

        `clauses` are the unsatisfied ones. They and `assignments` are changed: what is tried stays in them.
        """

        def outcome(literal):
            assignments[abs(literal)] = literal > 0
            clauses[:] = [clause for clause in clauses if literal not in clause]
            if all(DPLL.is_satisfied_clause(clause, assignments) for clause in clauses):
                return 10_000
            return -10_000 if any(DPLL.is_conflicted_clause(clause, assignments) for clause in clauses) else None

        whole = [clause for clause in clauses if not any(abs(literal) in assignments for literal in clause)]
        end = outcome(variable if value else -variable)
        while end is None:
            units = [clause for clause in clauses if DPLL.is_unit_clause(clause, assignments)]
            if not units:
                shorter = [clause for clause in clauses if sum(abs(literal) not in assignments for literal in clause) == 2]
                return sum(clause in whole for clause in shorter)
            for literal in (literal for clause in units for literal in clause):
                if end is None and abs(literal) not in assignments:
                    end = outcome(literal)
        return end

    def assign(self, variable, value):
        self.assignments[variable] = value
        self.assignment_history.append(variable)
        self.level[-1].append(variable)

    def ask(self, unsatisfied):
        answer = self.heuristic_function(
            [list(clause) for clause in unsatisfied],
            dict(self.assignments),
            dict(self.conflict_count),
            list(self.assignment_history),
            [list(level) for level in self.level],
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
            solver = DPLL(instance["clauses"], heuristic_fn)
            if solver.solve() == instance["satisfiable"]:
                correct += 1
            else:
                wrong += 1
            decisions += solver.num_decisions
    seconds = time.perf_counter() - began
    print(f"{correct} correct, {wrong} incorrect, {decisions} decisions, {seconds:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**9)
