"""``bars latency``: the time of a packed network on this machine, against the same network in floats."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from bars.errors import PackedError
from bars.packed.compared import compared
from bars.packed.machine import describe
from bars.packed.network import Network, load
from bars.packed.timing import Time, interleaved


def latency(model: Path, batches: list[int], threads: int, rounds: int, *, as_json: bool) -> int:
    """Time it at each batch size and print milliseconds per image."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for what, values, least, most in (
        ("--batch", batches, 1, 4096),
        ("--threads", [threads], 1, available),
        ("--rounds", [rounds], 2, 10_000),
    ):
        for value in values:
            if not least <= value <= most:
                raise PackedError("an option is out of range", where=what, got=value, allowed=f"{least} to {most}")
    network = load(model, threads)
    measured = {batch: measure(network, batch, threads, rounds) for batch in batches}
    if as_json:
        times = {
            str(batch): {name: time._asdict() for name, time in found.items()} for batch, found in measured.items()
        }
        about = {"model": str(model), "file_bytes": _size(network), "threads": threads, "rounds": rounds}
        print(json.dumps(about | {"machine": describe(), "ms_per_image": times}, indent=2))
        return 0
    print(f"{network.path}: {_size(network):,} bytes; {threads} thread(s), {rounds} rounds, median (quartiles)")
    for batch, found in measured.items():
        packed = found[next(iter(found))].median
        for name, time in found.items():
            ratio = f"{time.median / packed:6.1f} x"
            print(
                f"batch {batch:4d}  {name:17s} {time.median:9.3f} ms/image ({time.low:.3f} to {time.high:.3f}) {ratio}"
            )
    print("; ".join(f"{key} {value}" for key, value in describe().items()), file=sys.stderr)
    return 0


def measure(network: Network, batch: int, threads: int, rounds: int) -> dict[str, Time]:
    """Milliseconds per image: packed, the float twin in the same runtime, ONNX Runtime in floats."""
    size = network.image_size
    images = np.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=np.float32)
    times = interleaved(compared(network, batch, threads), images, rounds)
    return {name: Time(*(value / batch for value in time)) for name, time in times.items()}


def _size(network: Network) -> int:
    return 0 if network.path is None else network.path.stat().st_size
