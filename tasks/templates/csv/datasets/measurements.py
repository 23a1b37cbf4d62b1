"""Measurements of x and y, in three parts; y of two of them is held back."""

from workbench.tasks.making import Making


def prepare(making: Making) -> None:
    """What the agent sees goes to `making.public`, what only the evaluator sees to `making.secret`."""
    dice = making.random()
    parts: dict[str, list[tuple[int, float, float]]] = {"train": [], "validation": [], "test": []}
    for number in range(making.options["rows"]):
        x = dice.uniform(-5, 5)
        part = "validation" if number % 10 == 8 else "test" if number % 10 == 9 else "train"
        parts[part].append((number, x, 2 * x + 1 + dice.gauss(0, 1)))
    for part, rows in parts.items():
        complete = "id,x,y\n" + "".join(f"{number},{x:.4f},{y:.4f}\n" for number, x, y in rows)
        questions = "id,x\n" + "".join(f"{number},{x:.4f}\n" for number, x, _ in rows)
        (making.public / f"{part}.csv").write_text(complete if part == "train" else questions)
        if part != "train":
            (making.secret / f"{part}.csv").write_text(complete)
