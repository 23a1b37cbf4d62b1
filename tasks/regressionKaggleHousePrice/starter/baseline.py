"""Ridge regression on house prices, in plain Python: reads data/*.csv, writes submission.csv."""

import csv
import math

ALPHA = 0.1
ABSENT = {"", "NA", "N/A", "NaN", "nan", "None", "null"}


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def number(text):
    return math.nan if text in ABSENT else float(text)


class Features:
    """Numbers: missing ones become the mean, then mean 0 and deviation 1. Categories: one 0/1 column each."""

    def __init__(self, rows):
        self.numbers, self.categories = {}, {}
        for column in rows[0]:
            if column in ("Id", "SalePrice"):
                continue
            try:
                known = [value for value in (number(row[column]) for row in rows) if not math.isnan(value)]
            except ValueError:
                names = sorted({self.category(row[column]) for row in rows})
                self.categories[column] = names
                continue
            mean = math.fsum(known) / len(known) if known else 0.0
            deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / len(rows)) or 1.0
            self.numbers[column] = (mean, deviation)

    @staticmethod
    def category(text):
        return "missing" if text in ABSENT else text

    def vector(self, row):
        """{feature: value}, without the zeros; a category that was never seen has no feature."""
        values = {}
        for column, (mean, deviation) in self.numbers.items():
            value = number(row[column])
            if not math.isnan(value):
                values[column] = (value - mean) / deviation
        for column, names in self.categories.items():
            name = self.category(row[column])
            if name in names:
                values[column, name] = 1.0
        return values


def fit(vectors, targets):
    """Weights and intercept that minimise squared error + ALPHA * squared weights (not the intercept's)."""
    names = sorted({name for vector in vectors for name in vector}, key=str)
    index = {name: place for place, name in enumerate(names)}
    count = len(vectors)
    target_mean = math.fsum(targets) / count
    means = [0.0] * len(names)
    products = [[0.0] * len(names) for _ in names]
    right = [0.0] * len(names)
    for vector, target in zip(vectors, targets):
        entries = sorted((index[name], value) for name, value in vector.items())
        for position, (i, value) in enumerate(entries):
            means[i] += value / count
            right[i] += value * (target - target_mean)
            row = products[i]
            for j, other in entries[: position + 1]:
                row[j] += value * other
    for i, row in enumerate(products):  # centring, without touching the zeros of the vectors
        for j in range(i + 1):
            row[j] -= count * means[i] * means[j]
        row[i] += ALPHA
    weights = solve(products, right)
    intercept = target_mean - math.fsum(mean * weight for mean, weight in zip(means, weights))
    return dict(zip(names, weights)), intercept


def solve(lower, right):
    """Solve a symmetric positive definite system (given by its lower triangle) by Cholesky's method."""
    size = len(right)
    for i in range(size):
        row = lower[i]
        for j in range(i):
            other = lower[j]
            row[j] = (row[j] - sum(map(float.__mul__, row[:j], other[:j]))) / other[j]
        row[i] = math.sqrt(row[i] - sum(value * value for value in row[:i]))
    half = []
    for i in range(size):
        half.append((right[i] - sum(map(float.__mul__, lower[i][:i], half))) / lower[i][i])
    solution = [0.0] * size
    for i in reversed(range(size)):
        solution[i] = (half[i] - sum(lower[k][i] * solution[k] for k in range(i + 1, size))) / lower[i][i]
    return solution


def predict(model, vector):
    weights, intercept = model
    return intercept + math.fsum(weights.get(name, 0.0) * value for name, value in vector.items())


def main():
    train = read("data/train.csv")
    features = Features(train)
    model = fit([features.vector(row) for row in train], [float(row["SalePrice"]) for row in train])
    with open("submission.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Id", "SalePrice"])
        for path in ("data/validation.csv", "data/test.csv"):
            for row in read(path):
                writer.writerow([row["Id"], predict(model, features.vector(row))])
    print("wrote submission.csv")


if __name__ == "__main__":
    main()
