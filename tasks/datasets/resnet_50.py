"""ResNet-50 as `transformers` loads it; its stand-in is a small one with random weights, of the same form."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from workbench.tasks.making import Making
from workbench.tasks.safetensors_file import write_safetensors

Weights = dict[str, np.ndarray[Any, Any]]
REDUCTION = 4
CLASSES = 10


def prepare(making: Making) -> None:
    """All of it is public."""
    for name, path in making.files.items():
        making.copy(path, making.public / name)


def stand_in(making: Making) -> None:
    """One layer in each stage, few channels, nothing trained."""
    width = int(making.options["width"])
    stages = [width, 2 * width, 3 * width, 4 * width]
    config = {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_channels": 3,
        "embedding_size": width,
        "hidden_sizes": stages,
        "depths": [1, 1, 1, 1],
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "id2label": {str(label): f"class {label}" for label in range(CLASSES)},
        "label2id": {f"class {label}": label for label in range(CLASSES)},
    }
    processor = {
        "image_processor_type": "ConvNextImageProcessor",
        "crop_pct": 0.875,
        "size": 224,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (making.source / "config.json").write_text(json.dumps(config, indent=2))
    (making.source / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))
    write_safetensors(making.source / "model.safetensors", weights(np.random.RandomState(making.seed), stages))


def weights(dice: np.random.RandomState, stages: list[int]) -> Weights:
    """By the names that ResNetForImageClassification has for them."""
    made: Weights = {}

    def convolution(name: str, inputs: int, outputs: int, size: int) -> None:
        scale = math.sqrt(2.0 / (inputs * size * size))
        made[f"{name}.convolution.weight"] = scaled(dice, (outputs, inputs, size, size), scale)
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            made[f"{name}.normalization.{part}"] = np.full(outputs, value, dtype=np.float32)
        made[f"{name}.normalization.num_batches_tracked"] = np.zeros((), dtype=np.int64)

    convolution("resnet.embedder.embedder", 3, stages[0], 7)
    before = stages[0]
    for number, channels in enumerate(stages):
        layer = f"resnet.encoder.stages.{number}.layers.0"
        if before != channels or number > 0:
            convolution(f"{layer}.shortcut", before, channels, 1)
        narrow = channels // REDUCTION
        convolution(f"{layer}.layer.0", before, narrow, 1)
        convolution(f"{layer}.layer.1", narrow, narrow, 3)
        convolution(f"{layer}.layer.2", narrow, channels, 1)
        before = channels
    made["classifier.1.weight"] = scaled(dice, (CLASSES, before), 0.05)
    made["classifier.1.bias"] = np.zeros(CLASSES, dtype=np.float32)
    return made


def scaled(dice: np.random.RandomState, shape: tuple[int, ...], scale: float) -> np.ndarray[Any, Any]:
    return np.asarray(dice.standard_normal(shape) * scale, dtype=np.float32)
