"""Timing in rounds, and what the results are printed as."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bars.packed.machine import describe


class Clock:
    """Seconds of one call: wall clock on a CPU, events on a CUDA device."""

    def __init__(self, device: torch.device | str) -> None:
        self.on_cuda = torch.device(device).type == "cuda"

    def __call__(self, call: Callable[[], object]) -> float:
        if not self.on_cuda:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        # Also the time in which the host has nothing queued counts, so the clock starts on an idle device.
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1e3


def processor_seconds(call: Callable[[], object]) -> float:
    """Of this thread, in one call: other work on the machine adds nothing."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def rounds(
    variants: Mapping[str, Callable[[], object]],
    n: int,
    device: torch.device | str = "cpu",
    warmup: int = 2,
    clock: Callable[[Callable[[], object]], float] | None = None,
) -> dict[str, list[float]]:
    """Seconds of ``n`` calls of each variant, one after the other in every round, so that all see the same machine."""
    clock = clock or Clock(device)
    for call in variants.values():
        for _ in range(warmup):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(n):
        for name, call in variants.items():
            seconds[name].append(clock(call))
    return seconds


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, smallest and number of timings, in milliseconds."""
    return {"median_ms": statistics.median(seconds) * 1e3, "min_ms": min(seconds) * 1e3, "n": len(seconds)}


def ratios(seconds: Mapping[str, Sequence[float]], against: str) -> dict[str, float]:
    """How many times faster than ``against`` each variant is: the median over rounds of the ratio within a round."""
    return {
        name: statistics.median(a / b for a, b in zip(seconds[against], own, strict=True))
        for name, own in seconds.items()
    }


def environment(device: torch.device | str) -> dict[str, Any]:
    """What a reader needs to judge the numbers."""
    found: dict[str, Any] = describe() | {"torch": torch.__version__, "python": platform.python_version()}
    found |= {"machine": platform.machine(), "threads": torch.get_num_threads(), "device": str(device)}
    if torch.device(device).type == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with the keys of all rows as columns."""
    if not rows:
        return "(nothing measured)"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, ["---"] * len(columns), *[[_text(row.get(key)) for key in columns] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


def write_json(path: Path, name: str, rows: Sequence[Mapping[str, Any]], device: torch.device | str) -> None:
    """The rows with the environment they were measured in."""
    value = {"format": "bars-benchmark/1", "benchmark": name, "environment": environment(device), "rows": list(rows)}
    path.write_text(json.dumps(value, indent=1) + "\n")
