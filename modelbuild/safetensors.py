"""Reads the safetensors format: u64 header length, JSON header, raw little-endian tensors.

Source of the format: the "Format" section of the safetensors project's README.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelbuild import ModelBuildError

DTYPES = {"F32": "<f4", "I64": "<i8"}
LENGTH_BYTES = 8


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file by name, as views of one buffer. Raises ModelBuildError when it is not well formed."""
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])
        body = memoryview(data)[LENGTH_BYTES + length :]
        return {name: _view(body, entry) for name, entry in header.items() if name != "__metadata__"}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelBuildError(f"{path} is not a safetensors file: {error}") from error


def _view(body: memoryview, entry: dict[str, Any]) -> NDArray[Any]:
    start, end = entry["data_offsets"]
    return np.frombuffer(body[start:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
