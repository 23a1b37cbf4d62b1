"""A small GPT with rotary positions; embeddings and head are trained by Adam, the blocks by Muon."""

import json
import math
import os
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

FOLDER = "data/fineweb10B"


@dataclass
class ModelConfig:
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 6
    n_embd: int = 768


@dataclass
class Settings:
    iterations: int = 500
    batch: int = 128
    """Sequences in one iteration, over all devices."""
    device_batch: int = 64
    """Sequences that a device takes at once."""
    more_iterations: float = 1.0
    embedding_rate: float = 0.3
    head_rate: float = 0.002
    block_rate: float = 0.02
    momentum: float = 0.95
    cool_down: float = 0.3
    """The part of the iterations, at the end, in which the rates fall to zero."""
    seed: int = 0


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.size = config.n_head, config.n_embd // config.n_head
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        q, k = (rotate(F.rms_norm(part, (self.size,))) for part in (q, k))
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


def rotate(x):
    """Rotary position embedding of [batch, heads, length, size]."""
    length, half = x.shape[-2], x.shape[-1] // 2
    frequencies = 10000.0 ** -(torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(length, device=x.device, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x):
        x = x + self.attention(F.rms_norm(x, (x.shape[-1],)))
        return x + self.down(F.relu(self.up(F.rms_norm(x, (x.shape[-1],)))).square())


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens):
        """Logits of the next token, [batch, length, vocabulary]."""
        x = F.rms_norm(self.embedding(tokens), (self.embedding.embedding_dim,))
        for block in self.blocks:
            x = block(x)
        logits = self.head(F.rms_norm(x, (x.shape[-1],))).float()
        return 30 * torch.tanh(logits / 30)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made nearly orthogonal by five Newton-Schulz steps (Jordan et al., 2024)."""

    def __init__(self, matrices, rate, momentum):
        super().__init__(matrices, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                velocity = state.setdefault("velocity", torch.zeros_like(matrix))
                velocity.mul_(group["momentum"]).add_(matrix.grad)
                update = orthogonal(matrix.grad + group["momentum"] * velocity)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                matrix.add_(update.to(matrix.dtype), alpha=-group["lr"] * scale)


def orthogonal(matrix):
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


def read_shards(kind):
    names = sorted(name for name in os.listdir(FOLDER) if name.startswith(f"fineweb_{kind}_"))
    return [np.memmap(f"{FOLDER}/{name}", dtype=np.uint16, mode="r", offset=1024) for name in names]


def batches(shards, count, length, rank, world):
    """Endless batches of `count` sequences, one after the other through the shards; each rank has its own."""
    while True:
        for tokens in shards:
            for start in range(rank * count * length, len(tokens) - count * length, world * count * length):
                piece = torch.from_numpy(tokens[start : start + count * length + 1].astype(np.int64))
                yield piece[:-1].view(count, length), piece[1:].view(count, length)


def train(settings):
    with open("data/meta.json") as stream:
        about = json.load(stream)
    config = ModelConfig(vocab_size=about["vocabulary"])
    if about["vocabulary"] < 10_000:  # the small stand-in: a small model, in a minute without a GPU
        config = ModelConfig(vocab_size=about["vocabulary"], n_layer=2, n_head=2, n_embd=64)
        settings.iterations, settings.batch, settings.device_batch = 60, 32, 32
        torch.set_num_threads(1)  # more would wait for each other
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(settings.seed)
    model = Model(config).to(device)
    run = nn.parallel.DistributedDataParallel(model) if world > 1 else model
    adam = torch.optim.Adam(
        [
            {"params": model.embedding.parameters(), "lr": settings.embedding_rate},
            {"params": model.head.parameters(), "lr": settings.head_rate},
        ],
        betas=(0.9, 0.95),
    )
    muon = Muon([p for p in model.blocks.parameters() if p.ndim == 2], settings.block_rate, settings.momentum)
    optimizers = [adam, muon]
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    count = min(settings.device_batch, max(1, settings.batch // world))
    pieces = max(1, settings.batch // (world * count))
    iterations = round(settings.iterations * settings.more_iterations)
    data = batches(read_shards("train"), count, about["sequence"], rank, world)
    began = time.time()
    for iteration in range(iterations):
        left = (iterations - iteration) / max(1, round(settings.cool_down * iterations))
        for optimizer, initial in zip(optimizers, rates):
            for group, rate in zip(optimizer.param_groups, initial):
                group["lr"] = rate * min(1.0, left)
        total = 0.0
        for _ in range(pieces):
            x, y = (part.to(device) for part in next(data))
            with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                loss = F.cross_entropy(run(x).flatten(0, 1), y.flatten()) / pieces
            loss.backward()
            total += loss.item()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(total):
            raise SystemExit(f"iteration {iteration}: the loss is {total}")
        if rank == 0 and (iteration % 10 == 0 or iteration == iterations - 1):
            print(f"iteration {iteration} of {iterations}, loss {total:.4f}, {time.time() - began:.0f} s", flush=True)
    if rank == 0:
        torch.save(model.state_dict(), "model.pt")
        torch.save(asdict(config), "model_config.pt")
    if world > 1:
        dist.destroy_process_group()
