"""BERT's weights and tokenizer, as `transformers` reads them. The stand-in is small, its weights are random."""

from __future__ import annotations

import json
import string
from pathlib import Path

from workbench.tasks.making import Making
from workbench.tasks.safetensors_file import write_safetensors

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 64, 2, 2, 128, 128
WORDS = """
small large tall short red green blue black white yellow box ball book cup chair lamp table coat car door kitchen garden
street office school station shop museum woman man child teacher doctor neighbour the there is a in to belongs not
"""


def prepare(making: Making) -> None:
    """All of it is public."""
    for name, path in making.files.items():
        making.copy(path, making.public / Path(name).name)


def stand_in(making: Making) -> None:
    """The same files with the words of a few sentences, and two narrow layers."""
    import numpy as np

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    words += [word for word in WORDS.split() if word not in words]
    folder = making.source
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "model_max_length": POSITIONS, "tokenizer_class": "BertTokenizer"})
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(words)), encoding="utf-8")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["BertForMaskedLM"],
                "model_type": "bert",
                "vocab_size": len(words),
                "hidden_size": WIDTH,
                "num_hidden_layers": LAYERS,
                "num_attention_heads": HEADS,
                "intermediate_size": INNER,
                "max_position_embeddings": POSITIONS,
                "type_vocab_size": 2,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
                "pad_token_id": 0,
            }
        )
    )
    dice = np.random.default_rng(making.seed)
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int) -> None:
        tensors[name] = dice.normal(0.0, 0.05, shape).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        normal(f"{name}.weight", outputs, inputs)
        tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(WIDTH, np.float32)
        tensors[f"{name}.bias"] = np.zeros(WIDTH, np.float32)

    for name, size in (("word", len(words)), ("position", POSITIONS), ("token_type", 2)):
        normal(f"bert.embeddings.{name}_embeddings.weight", size, WIDTH)
    norm("bert.embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"bert.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", WIDTH, WIDTH)
        linear(f"{layer}.attention.output.dense", WIDTH, WIDTH)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", INNER, WIDTH)
        linear(f"{layer}.output.dense", WIDTH, INNER)
        norm(f"{layer}.output.LayerNorm")
    linear("bert.pooler.dense", WIDTH, WIDTH)
    write_safetensors(folder / "model.safetensors", tensors)


def tokenizer(words: list[str]) -> dict[str, object]:
    """WordPiece, as the `tokenizers` library writes it down."""
    special = [
        {
            "id": words.index(word),
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for word in words[:5]
    ]
    pieces = {word: {"id": word, "ids": [words.index(word)], "tokens": [word]} for word in ("[CLS]", "[SEP]")}

    def token(name: str, kind: int) -> dict[str, object]:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    def sequence(name: str, kind: int) -> dict[str, object]:
        return {"Sequence": {"id": name, "type_id": kind}}

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0), sequence("B", 1), token("[SEP]", 1)],
            "special_tokens": pieces,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: number for number, word in enumerate(words)},
        },
    }
