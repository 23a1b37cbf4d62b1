"""Captions by a frozen ResNet-50 and an LSTM: reads data/, trains, writes submission.csv.

    python3 baseline.py [--epochs N] [--images N] [--batch-size N]

What ResNet sees in a picture does not change, so it is computed once for each. On few pictures (the stand-in) they are
looked at smaller, and more often.
"""

import argparse
import collections
import csv
import io
import json
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from transformers import ResNetModel
from transformers.utils import logging

PICTURES, WEIGHTS = "data/ms-coco", "data/resnet-50"
FEW = 10_000
SEED = 42
LONGEST = 30
PADDING, START, END, UNKNOWN = range(4)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def words(sentence):
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)?", sentence.lower())


def pixels(data, size):
    """The middle of a picture, `size` pixels each way."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / 0.875 / min(image.size)
    image = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


@torch.no_grad()
def features(archive, files, size, device):
    """What ResNet sees in each picture: one row of numbers."""
    network = ResNetModel.from_pretrained(WEIGHTS).to(device).eval()
    mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    found = []
    with zipfile.ZipFile(archive) as pictures, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), 128):
            part = pool.map(lambda file: pixels(pictures.read(file), size), files[start : start + 128])
            batch = torch.from_numpy(np.stack(list(part))).to(device).permute(0, 3, 1, 2).float() / 255
            found.append(network((batch - mean) / deviation).pooler_output.flatten(1).cpu())
            if start % 12_800 == 0:
                print(f"{archive}: {start} of {len(files)} pictures", flush=True)
    return torch.cat(found)


class Captioner(nn.Module):
    """The picture is the first word that the LSTM reads."""

    def __init__(self, seen, vocabulary):
        super().__init__()
        self.look = nn.Linear(seen, 256)
        self.normalise = nn.BatchNorm1d(256)
        self.embed = nn.Embedding(vocabulary, 256, padding_idx=PADDING)
        self.read = nn.LSTM(256, 512, batch_first=True)
        self.write = nn.Linear(512, vocabulary)

    def forward(self, pictures, sentences):
        """Scores of each word of the sentences, given the picture and the words before."""
        first = self.normalise(self.look(pictures))[:, None]
        seen, _ = self.read(torch.cat([first, self.embed(sentences[:, :-1])], 1))
        return self.write(seen[:, 1:])

    @torch.no_grad()
    def caption(self, pictures):
        """The likeliest word, one after the other."""
        _, state = self.read(self.normalise(self.look(pictures))[:, None])
        word = torch.full((len(pictures), 1), START, device=pictures.device)
        said = []
        for _ in range(LONGEST):
            seen, state = self.read(self.embed(word), state)
            word = self.write(seen).argmax(2)
            said.append(word)
        return torch.cat(said, 1)


def encode(sentences, vocabulary):
    """One row of numbers for each sentence, filled up with PADDING."""
    rows = [[START, *(vocabulary.get(word, UNKNOWN) for word in words(text)[:LONGEST]), END] for text in sentences]
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PADDING)


def train(model, pictures, owners, sentences, epochs, batch_size, device):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(sentences)).split(batch_size):
            if len(rows) < 2:  # batch normalisation needs two
                continue
            wanted = sentences[rows].to(device)
            scores = model(pictures[owners[rows]].to(device), wanted)
            loss = functional.cross_entropy(scores.flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=PADDING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(sentences):.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int, default=37_609, help="how many of the training pictures are used")
    parser.add_argument("--batch-size", type=int)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    logging.set_verbosity_error()  # it would tell that the classifier of ResNet is not used
    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with open(f"{PICTURES}/train.json") as file:
        known = json.load(file)
    few = len(known) < FEW
    size = 64 if few else 224
    epochs = options.epochs or (6 if few else 2)
    batch_size = options.batch_size or (64 if few else 128)
    known = [known[row] for row in torch.randperm(len(known))[: options.images].tolist()]
    counts = collections.Counter(word for row in known for text in row["captions"] for word in words(text))
    names = ["", "", "", "", *sorted(word for word, count in counts.items() if count >= 5)]
    vocabulary = {word: number for number, word in enumerate(names) if word}
    sentences = encode([text for row in known for text in row["captions"]], vocabulary)
    owners = torch.tensor([number for number, row in enumerate(known) for _ in row["captions"]])
    pictures = features(f"{PICTURES}/train2017.zip", [row["file"] for row in known], size, device)
    model = Captioner(pictures.shape[1], len(names)).to(device)
    train(model, pictures, owners, sentences, epochs, batch_size, device)

    with open(f"{PICTURES}/test.csv", newline="") as file:
        test = list(csv.DictReader(file))
    pictures = features(f"{PICTURES}/val2017.zip", [row["file"] for row in test], size, device)
    model.eval()
    with open("submission.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "caption"])
        said = [row for batch in pictures.split(512) for row in model.caption(batch.to(device)).tolist()]
        for row, numbers in zip(test, said):
            end = numbers.index(END) if END in numbers else len(numbers)
            writer.writerow([row["image_id"], " ".join(names[number] for number in numbers[:end] if names[number])])
    print("wrote submission.csv")


if __name__ == "__main__":
    main()
