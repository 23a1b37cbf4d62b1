"""The first attempt learns slowly and has no normalisation. I use six convolutions with batch normalisation, shift the
pictures at random, and a learning rate that rises and falls. Reads data/*.npy, writes submission.csv.

    python3 baseline.py [--epochs N] [--batch-size N] [--learning-rate X]
"""

import argparse
import csv
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

FEW = 10_000
SEED = 42


def block(before, after):
    """Two convolutions with normalisation, and pooling."""
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


class Network(nn.Module):
    """Blocks of convolutions, the mean over the places, and one linear layer."""

    def __init__(self, colours, classes=10):
        super().__init__()
        self.blocks = nn.Sequential(block(colours, 32), block(32, 64), block(64, 128))
        self.classify = nn.Linear(128, classes)

    def forward(self, images):
        return self.classify(self.blocks(images).mean((2, 3)))


def shifted(images):
    """Each batch moved by up to four pixels; what comes in is the edge."""
    size = images.shape[-1]
    down, right = torch.randint(0, 9, (2,)).tolist()
    return functional.pad(images, (4, 4, 4, 4), mode="replicate")[:, :, down : down + size, right : right + size]


def load(name):
    """Images as N x colours x height x width, still whole numbers: a batch at a time is scaled to 0..1."""
    pixels = torch.from_numpy(np.load(f"data/{name}_images.npy"))
    return pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels[:, None]


def train(model, images, labels, options, device):
    epochs = options.epochs or (24 if len(images) < FEW else 8)
    steps = epochs * -(-len(images) // options.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        for rows in torch.randperm(len(images)).split(options.batch_size):
            batch = images[rows].to(device).float() / 255
            loss = functional.cross_entropy(model(shifted(batch)), labels[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
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
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, test = load("train"), load("test")
    labels = torch.from_numpy(np.load("data/train_labels.npy")).long()
    model = Network(images.shape[1]).to(device)
    train(model, images, labels, options, device)
    with open("submission.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label"])
        writer.writerows([label] for label in predict(model, test, device))
    print("wrote submission.csv")


if __name__ == "__main__":
    main()
