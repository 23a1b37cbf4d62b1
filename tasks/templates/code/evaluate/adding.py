"""Adding up: the share of right answers. An agent never sees this file."""

from contextlib import suppress

from workbench.tasks.submission import Job, NoPlainValue, Scores

QUESTIONS = 200


def evaluate(job: Job) -> Scores:
    right = 0
    for number in range(1, QUESTIONS + 1):
        numbers = [int(job.random.random() * 2000) - 1000 for _ in range(1 + int(job.random.random() * 100))]
        with suppress(NoPlainValue):  # it returned something that is no number or text: a wrong answer
            right += job.submission.call(numbers) == sum(numbers)
        job.progress(number / QUESTIONS, "asking")
    return Scores(metrics={"Accuracy": right / QUESTIONS})
