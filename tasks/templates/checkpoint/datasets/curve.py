"""Points of a curve: the agent has noisy ones, the evaluator exact ones."""

from workbench.tasks.making import Making


def prepare(making: Making) -> None:
    """What the agent sees goes to `making.public`, what only the evaluator sees to `making.secret`."""
    dice = making.random()
    train, test = "x,y\n", "x,y\n"
    for _ in range(making.options["rows"]):
        x, other = dice.uniform(-2, 2), dice.uniform(-2, 2)
        train += f"{x:.6f},{curve(x) + dice.gauss(0, 0.3):.6f}\n"
        test += f"{other:.6f},{curve(other):.6f}\n"
    (making.public / "train.csv").write_text(train)
    (making.secret / "test.csv").write_text(test)


def curve(x: float) -> float:
    return 2 * x + 0.5 * x * x
