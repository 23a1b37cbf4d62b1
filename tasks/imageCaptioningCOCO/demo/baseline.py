"""The first attempt shows the LSTM the picture once, before the first word. I show it with every word, drop out some of
what it reads, train longer with a rate that rises and falls, and take the likeliest sentence of several.

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
    """The LSTM reads the picture with each word."""

    def __init__(self, seen, vocabulary):
        super().__init__()
        self.look = nn.Sequential(nn.Linear(seen, 256), nn.BatchNorm1d(256))
        self.embed = nn.Embedding(vocabulary, 256, padding_idx=PADDING)
        self.drop = nn.Dropout(0.2)
        self.read = nn.LSTM(512, 512, batch_first=True)
        self.write = nn.Linear(512, vocabulary)

    def step(self, looks, sentences, state=None):
        """Scores of the word after each, and where the reading is."""
        both = torch.cat([looks[:, None].expand(-1, sentences.shape[1], -1), self.embed(sentences)], 2)
        seen, state = self.read(self.drop(both), state)
        return self.write(self.drop(seen)), state

    def forward(self, pictures, sentences):
        """Scores of each word of the sentences, given the picture and the words before."""
        return self.step(self.look(pictures), sentences[:, :-1])[0]

    @torch.no_grad()
    def caption(self, pictures, width=3):
        """The likeliest of `width` sentences that are written side by side."""
        looks = self.look(pictures).repeat_interleave(width, 0)
        count = len(pictures)
        said = torch.full((count * width, 1), START, device=pictures.device)
        likely = torch.full((count, width), -1e9, device=pictures.device)
        likely[:, 0] = 0.0
        done = torch.zeros(count * width, dtype=torch.bool, device=pictures.device)
        state, firsts = None, torch.arange(count, device=pictures.device)[:, None] * width
        for _ in range(LONGEST):
            scores, state = self.step(looks, said[:, -1:], state)
            next_words = scores[:, -1].log_softmax(1)
            next_words[done] = -1e9
            next_words[done, PADDING] = 0.0
            together = (likely.flatten()[:, None] + next_words).view(count, -1)
            likely, chosen = together.topk(width, 1)
            of = (firsts + chosen // next_words.shape[1]).flatten()
            word = (chosen % next_words.shape[1]).view(-1, 1)
            said = torch.cat([said[of], word], 1)
            state = tuple(part[:, of] for part in state)
            done = done[of] | (word[:, 0] == END)
        return said.view(count, width, -1)[:, 0, 1:]


def encode(sentences, vocabulary):
    """One row of numbers for each sentence, filled up with PADDING."""
    rows = [[START, *(vocabulary.get(word, UNKNOWN) for word in words(text)[:LONGEST]), END] for text in sentences]
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PADDING)


def train(model, pictures, owners, sentences, epochs, batch_size, device):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, weight_decay=0.01)
    steps = epochs * -(-len(sentences) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.002, total_steps=steps)
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
            schedule.step()
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
    epochs = options.epochs or (10 if few else 6)
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
        for row, numbers in zip(test, said, strict=True):
            end = numbers.index(END) if END in numbers else len(numbers)
            writer.writerow([row["image_id"], " ".join(names[number] for number in numbers[:end] if names[number])])
    print("wrote submission.csv")


if __name__ == "__main__":
    main()
