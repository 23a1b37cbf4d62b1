"""Fine-tune BERT on MultiNLI."""

import json
import random
import time
from dataclasses import dataclass

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BERT, TARGET = "data/bert-base-uncased", "bert_mnli_model"
LENGTH, BATCH, SEED = 128, 32, 42


@dataclass
class Settings:
    rate: float = 1e-7
    epochs: int = 1
    small_rate: float = 2e-4
    """For the small stand-in of BERT, whose weights are random."""
    small_epochs: int = 1


def read(path):
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def encode(tokenizer, pairs, device):
    texts = [[pair[name] for pair in pairs] for name in ("premise", "hypothesis")]
    inputs = tokenizer(*texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt").to(device)
    return inputs, torch.tensor([pair["label"] for pair in pairs], device=device)


def accuracy(model, tokenizer, pairs, device):
    """In percent."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(pairs), BATCH):
            inputs, labels = encode(tokenizer, pairs[start : start + BATCH], device)
            right += (model(**inputs).logits.argmax(-1) == labels).sum().item()
    model.train()
    return 100 * right / len(pairs)


def train(settings):
    torch.manual_seed(SEED)
    random.seed(SEED)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(BERT)
    model = AutoModelForSequenceClassification.from_pretrained(BERT, num_labels=3).to(device)
    pairs, dev = read("data/mnli/train.jsonl"), read("data/mnli/dev.jsonl")[:1000]
    small = model.config.hidden_size < 200
    if small:
        torch.set_num_threads(1)  # more would wait for each other
    rate = settings.small_rate if small else settings.rate
    epochs = settings.small_epochs if small else settings.epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    model.train()
    began = time.time()
    for epoch in range(epochs):
        random.shuffle(pairs)
        for start in range(0, len(pairs), BATCH):
            inputs, labels = encode(tokenizer, pairs[start : start + BATCH], device)
            with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                loss = model(**inputs, labels=labels).loss
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if start // BATCH % 500 == 0:
                done = f"epoch {epoch + 1} of {epochs}, {start:,} of {len(pairs):,} pairs"
                print(f"{done}, loss {loss.item():.4f}, {time.time() - began:.0f} s", flush=True)
    print(f"accuracy on {len(dev):,} pairs of dev.jsonl: {accuracy(model, tokenizer, dev, device):.2f} %")
    model.save_pretrained(TARGET)
    tokenizer.save_pretrained(TARGET)

