"""A network from a model file: its classes, cost and genotype, and what it says of images."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bars.errors import DataError, PackedError
from bars.packed import file, runtimes
from bars.packed.convert import unpack
from bars.packed.runtimes import Floats, Runtime

if TYPE_CHECKING:
    from onnx import ModelProto

PACKED, PLAIN = "network.bars", "network.onnx"
BATCH = 32  # images that are computed together where there are as many
_MACHINES = ("x86_64", "AMD64")  # whose binary convolutions OpenVINO compiles
_log = logging.getLogger("bars.packed")


def load(path: str | Path, threads: int = 0) -> Network:
    """The network of a model file, or of the folder that ``bars export`` wrote; ``threads`` 0: as many as cores.

    Raises PackedError for a file that is missing, truncated, foreign or altered, or where a package is missing.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in (PACKED, PLAIN) if (path / name).is_file()), path / PACKED)
    runtimes.require("onnx")
    packed = path.suffix != ".onnx"
    card, model = file.read(path) if packed else file.read_plain(path)
    return Network(card, model, packed=packed, threads=threads, path=path)


class Network:
    """A trained network; ``card`` is all that its file says of it."""

    def __init__(
        self, card: dict[str, Any], model: ModelProto, *, packed: bool, threads: int = 0, path: Path | None = None
    ) -> None:
        self.card, self.model, self.packed, self.threads, self.path = card, model, packed, threads, path
        self._runtimes: dict[int, Runtime] = {}

    @property
    def classes(self) -> list[str]:
        """Their names, in the order of the probabilities."""
        return list(self.card["classes"])

    @property
    def genotype(self) -> dict[str, Any] | None:
        """The architecture, as in genotype.json; None for a hand-made network."""
        return self.card.get("genotype")

    @property
    def cost(self) -> dict[str, Any] | None:
        """flops, biops and params, as in the tables."""
        return self.card.get("cost")

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""
        return int(self.card["image_size"])

    @cached_property
    def plain(self) -> ModelProto:
        """The network in plain ONNX, its binary weights as floats."""
        return unpack(self.model) if self.packed else self.model

    @cached_property
    def is_fast(self) -> bool:
        """Whether binary convolutions are computed as such here; one line says so where they are not."""
        if not self.packed:
            return False
        if platform.machine() not in _MACHINES:
            _log.warning("no fast binary convolution for %s: the float network is used", platform.machine())
            return False
        runtimes.require("openvino")
        from bars.packed.openvino_ops import check

        try:
            check()
        except PackedError as error:
            _log.warning("%s (%s): the float network is used", error.what, error.got)
            return False
        return True

    def runtime(self, batch: int) -> Runtime:
        """What computes ``batch`` images at a time."""
        if batch not in self._runtimes:
            run = runtimes.openvino if self.is_fast else runtimes.onnxruntime
            self._runtimes[batch] = run(self.model if self.is_fast else self.plain, batch, self.threads)
        return self._runtimes[batch]

    def predict(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """Pixels uint8 [n, S, S, 3] (or one image without n), RGB -> probabilities [n, classes]. Raises DataError."""
        images = as_images(pixels, self.image_size, str(self.path or "predict"))
        return softmax(self.logits(self.normalised(images)))

    def normalised(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """Pixels [n, S, S, 3] -> what the network was trained on, float32 [n, 3, S, S]."""
        return normalised(pixels, self.card["input"]["mean"], self.card["input"]["std"])

    def logits(self, images: Floats) -> Floats:
        """Normalised images float32 [n, 3, S, S] -> logits [n, classes]."""
        batch = BATCH if len(images) >= BATCH else 1
        outputs = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            filled = np.concatenate([part, np.zeros_like(images, shape=(batch - len(part), *images.shape[1:]))])
            outputs.append(self.runtime(batch)(filled)[: len(part)])
        return np.concatenate(outputs) if outputs else np.zeros((0, len(self.classes)), np.float32)


def as_images(pixels: npt.NDArray[np.uint8], size: int, where: str) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [n, S, S, 3], or one image without n -> [n, S, S, 3]. Raises DataError for anything else."""
    pixels = np.asarray(pixels)
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3):
        raise DataError(
            "these are no images for this network",
            where=where,
            got=f"{pixels.dtype} {list(pixels.shape)}",
            allowed=f"uint8 [n, {size}, {size}, 3], RGB",
            do="resize them, or give the files to `bars predict`, which does",
        )
    return pixels


def normalised(pixels: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Pixels [n, S, S, 3] -> float32 [n, 3, S, S] with the mean and deviation per colour taken out."""
    means, stds = (np.array(values, dtype=np.float64) for values in (mean, std))
    scale, shift = (1 / (255 * stds)).astype(np.float32), (-means / stds).astype(np.float32)
    return np.ascontiguousarray((pixels.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2))


def softmax(logits: Floats) -> Floats:
    """Logits [n, classes] -> probabilities."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), dtype=np.float32)
