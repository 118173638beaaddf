"""Retraining steps against the identical network in float and against signs composed of autograd operations."""

from __future__ import annotations

from bars.training.runtime import Runtime
from benchmarks.options import Options, Row, Tables
from benchmarks.reference import Kind
from benchmarks.timing import ratios, rounds, summary
from benchmarks.variants import Size, retrain_step

VARIANTS: dict[str, Kind | None] = {"float": "float", "composed": "composed", "ours": None}
MOST_OVER_FLOAT, LEAST_OVER_COMPOSED = 1.15, 1.5


def measure(options: Options) -> Tables:
    """A middling BARS network and ResNet-18."""
    cuda = options.device.type == "cuda"
    size = Size(72, 3, 32, 256) if cuda else Size(16, 3, 32, 64)
    runtime = Runtime(options.device, bfloat16=cuda, capture=cuda)
    for what in ("network", "resnet18-xnor"):
        chosen = Size(4, 1, 8, 8) if options.quick else size
        steps = {name: retrain_step(chosen, what, runtime, kind=kind) for name, kind in VARIANTS.items()}
        title = f"{what}, {chosen.channels} channels, {chosen.image} pixels, batch {chosen.batch}"
        yield title, _rows(rounds(steps, options.rounds, options.device))


def _rows(seconds: dict[str, list[float]]) -> list[Row]:
    over_float, over_composed = ratios(seconds, "float"), ratios(seconds, "composed")
    return [
        {
            "variant": name,
            **summary(own),
            "time over float": 1 / over_float[name],
            "times as fast as composed": over_composed[name],
            "target": f"<= {MOST_OVER_FLOAT}, >= {LEAST_OVER_COMPOSED}" if name == "ours" else "",
        }
        for name, own in seconds.items()
    ]
