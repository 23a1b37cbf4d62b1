"""A small convolutional network: reads data/*.npy, trains, writes submission.csv.

    python3 baseline.py [--epochs N] [--batch-size N] [--learning-rate X] [--seed N]

On few images (the stand-in) the learning rate is higher and the warm-up shorter, so that there is something to learn.
"""

import argparse
import csv
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FEW = 10_000


class Network(nn.Module):
    """Two convolutions with pooling, and one linear layer."""

    def __init__(self, size, colours, classes=10):
        super().__init__()
        self.first = nn.Conv2d(colours, 32, kernel_size=3, padding=1)
        self.second = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.classify = nn.Linear(64 * (size // 4) ** 2, classes)

    def forward(self, images):
        seen = functional.max_pool2d(functional.relu(self.first(images)), 2)
        seen = functional.max_pool2d(functional.relu(self.second(seen)), 2)
        return self.classify(seen.flatten(1))


def load(name):
    """Images as N x colours x height x width, still whole numbers: a batch at a time is scaled to 0..1."""
    pixels = torch.from_numpy(np.load(f"data/{name}_images.npy"))
    return pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels[:, None]


def train(model, images, labels, options, device):
    steps = options.epochs * -(-len(images) // options.batch_size)
    few = len(images) < FEW
    rate = options.learning_rate or (2e-3 if few else 5e-5)
    warm_up = steps // 10 if few else 500
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / max(1, warm_up), (steps - step) / max(1, steps - warm_up))
    )
    model.train()
    for epoch in range(options.epochs):
        started, total = time.monotonic(), 0.0
        for rows in torch.randperm(len(images)).split(options.batch_size):
            batch = images[rows].to(device).float() / 255
            loss = functional.cross_entropy(model(batch), labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f} ({time.monotonic() - started:.1f} s)", flush=True)


@torch.no_grad()
def predict(model, images, device):
    model.eval()
    return [label for batch in images.split(512) for label in model(batch.to(device).float() / 255).argmax(1).tolist()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, test = load("train"), load("test")
    labels = torch.from_numpy(np.load("data/train_labels.npy")).long()
    model = Network(images.shape[-1], images.shape[1]).to(device)
    train(model, images, labels, options, device)
    with open("submission.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label"])
        writer.writerows([label] for label in predict(model, test, device))
    print("wrote submission.csv")


if __name__ == "__main__":
    main()
