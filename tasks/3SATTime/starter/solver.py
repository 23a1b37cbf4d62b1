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
        self.unsatisfied = list(clauses)
        self.satisfied = []
        self.heuristic_function = heuristic_function
        self.assignments = {}
        self.conflict_count = {}
        self.assignment_history = []
        """Variables in the order of their assignment; those whose value was taken back stay in it."""
        self.level = []
        """For each decision, the variables that have their value by it."""
        self.num_decisions = 0

    def solve(self):
        """Whether the clauses can be satisfied. Raises WrongAnswer, and what the heuristic raises."""
        if not self.unsatisfied:
            return True
        conflicts = [clause for clause in self.unsatisfied if self.is_conflicted_clause(clause, self.assignments)]
        for literal in (literal for clause in conflicts for literal in clause):
            self.count_conflict(abs(literal))
        outcome = False if conflicts else self.propagate()
        if outcome is not None:
            return outcome
        self.num_decisions += 1
        variable, value = self.ask()
        for choice in (value, not value):
            self.decide(variable, choice)
            if self.solve():
                return True
            self.take_back()
        return False

    def propagate(self):
        """Assign what clauses with one literal left demand, as long as there are any.

        True when that satisfies all clauses, False when it leads to a contradiction (then nothing of it stays), else
        None.
        """
        assignments, forced = dict(self.assignments), []
        unsatisfied, satisfied = self.unsatisfied, self.satisfied
        while True:
            units = [clause for clause in unsatisfied if self.is_unit_clause(clause, assignments)]
            if not units:
                break
            for literal in (literal for clause in units for literal in clause):
                if abs(literal) in assignments:
                    continue
                assignments[abs(literal)] = literal > 0
                forced.append(abs(literal))
                satisfied = satisfied + [clause for clause in unsatisfied if literal in clause]
                unsatisfied = [clause for clause in unsatisfied if literal not in clause]
                if not unsatisfied:
                    return True
                if any(self.is_conflicted_clause(clause, assignments) for clause in unsatisfied):
                    self.count_conflict(abs(literal))
                    return False
        self.assignments, self.unsatisfied, self.satisfied = assignments, unsatisfied, satisfied
        self.assignment_history += forced
        if forced:
            self.level[-1] += forced
        return None

    def decide(self, variable, value):
        literal = variable if value else -variable
        self.assignments[variable] = value
        self.assignment_history.append(variable)
        self.level.append([variable])
        self.satisfied = self.satisfied + [clause for clause in self.unsatisfied if literal in clause]
        self.unsatisfied = [clause for clause in self.unsatisfied if literal not in clause]

    def take_back(self):
        """Undo the last decision, with what it demanded."""
        for variable in self.level.pop():
            del self.assignments[variable]
            held = [self.is_satisfied_clause(clause, self.assignments) for clause in self.satisfied]
            self.unsatisfied = self.unsatisfied + [clause for clause, still in zip(self.satisfied, held) if not still]
            self.satisfied = [clause for clause, still in zip(self.satisfied, held) if still]

    def count_conflict(self, variable):
        self.conflict_count[variable] = self.conflict_count.get(variable, 0) + 1

    @staticmethod
    def is_satisfied_clause(clause, assignments):
        """Whether one of its literals is true."""
        for literal in clause:  # a loop, here and below: nearly all of the solver's time goes into these three
            if assignments.get(abs(literal)) == (literal > 0):
                return True
        return False

    @staticmethod
    def is_conflicted_clause(clause, assignments):
        """Whether all of its literals are false."""
        for literal in clause:
            if assignments.get(abs(literal)) != (literal < 0):
                return False
        return True

    @staticmethod
    def is_unit_clause(clause, assignments):
        """Whether one of its literals is open, and others are not."""
        left = 0
        for literal in clause:
            if abs(literal) not in assignments:
                left += 1
        return left == 1 < len(clause)

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

    def ask(self):
        answer = self.heuristic_function(
            [list(clause) for clause in self.unsatisfied],
            dict(self.assignments),
            dict(self.conflict_count),
            list(self.assignment_history),
            [list(level) for level in self.level],
        )
        try:
            variable, value = answer
        except (TypeError, ValueError):
            raise WrongAnswer(answer) from None
        open_variables = {abs(literal) for clause in self.unsatisfied for literal in clause} - self.assignments.keys()
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
