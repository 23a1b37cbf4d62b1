"""Writing weights in the safetensors format, for the stand-ins of pretrained models: numpy is all it takes.

The format: the length of a header (8 bytes, little-endian), the header (JSON: name → dtype, shape and where its bytes
are), the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_TYPES = {"float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8"}


def write_safetensors(file: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays by name, such that the library (and `transformers`) reads them. Raises KeyError for other dtypes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    end = 0
    for name, array in tensors.items():
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        shape, start, end = list(array.shape), end, end + len(data)
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": shape, "data_offsets": [start, end]}
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
