"""Signs of weights as bits: the first weight is the lowest bit of the first byte, 1 means +1."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

ORDER: Literal["little"] = "little"
Bits = npt.NDArray[np.uint8]
Signs = npt.NDArray[np.bool_]


def to_bits(positive: Signs) -> Bits:
    """Whether each weight is +1, in any shape -> bytes [ceil(weights / 8)]."""
    return np.packbits(positive.reshape(-1), bitorder=ORDER)


def to_signs(bits: Bits, shape: Sequence[int]) -> Signs:
    """The reverse of ``to_bits``. Raises ValueError where the bytes are not those of the shape."""
    count = math.prod(shape)
    if len(bits) != -(-count // 8):
        raise ValueError(f"{len(bits)} bytes for {count} weights")
    unpacked = np.unpackbits(bits, count=count, bitorder=ORDER)
    return np.asarray(unpacked.reshape(shape), dtype=np.bool_)


def hash_of(signs: Iterable[Signs]) -> str:
    """sha256 over one byte per weight: it does not depend on how bits are laid out, so a wrong order shows."""
    digest = hashlib.sha256()
    for one in signs:
        digest.update(one.astype(np.uint8).tobytes())
    return digest.hexdigest()
