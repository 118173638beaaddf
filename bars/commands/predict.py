"""``bars predict``: what a network says of image files, as CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bars.data.walk import readable
from bars.errors import PackedError
from bars.packed.network import BATCH, Network, load


def predict(model: Path, images: Sequence[Path], *, as_json: bool, threads: int) -> int:
    """Write one row per image: the file, its class, and the probability of each class."""
    from bars.packed import pictures

    if threads < 0:
        raise PackedError("an option is out of range", where="--threads", got=threads, allowed="0 or more")
    network = load(model, threads)
    files = pictures.find(images)
    rows = [
        row for part, pixels in pictures.read(files, network.image_size, BATCH) for row in _rows(network, part, pixels)
    ]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "class", "probability", *network.classes])
    for row in rows:
        probabilities = row["probabilities"]
        values = [f"{value:.6f}" for value in probabilities.values()]
        writer.writerow([row["image"], row["class"], f"{probabilities[row['class']]:.6f}", *values])
    return 0


def _rows(network: Network, files: Sequence[Path], pixels: Any) -> list[dict[str, Any]]:
    """What is said of some images."""
    rows: list[dict[str, Any]] = []
    for path, probabilities in zip(files, network.predict(pixels), strict=True):
        best = network.classes[int(probabilities.argmax())]
        said = dict(zip(network.classes, map(float, probabilities), strict=True))
        rows.append({"image": readable(path), "class": best, "probabilities": said})
    return rows
