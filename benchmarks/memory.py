"""Peak memory of a step, measured in a process of its own: a process cannot give back what it once had at its peak."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # which an optimiser would import

from bars.training.runtime import Runtime
from benchmarks.inputs import runtime_params

MIB = 2**20


def peak_mib(make: Callable[[], Callable[[], object]], device: torch.device, threads: int, steps: int = 3) -> float:
    """MiB above what a process has after its imports, at the peak of ``steps`` steps. ``make`` must be picklable."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (make, device, threads, steps))


def _peak(make: Callable[[], Callable[[], object]], device: torch.device, threads: int, steps: int) -> float:
    Runtime.resolve(runtime_params(device=str(device), threads=threads))
    before = _peak_resident()
    step = make()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    return _peak_resident() - before


def _peak_resident() -> float:
    """MiB at the peak of this program so far (Linux); ``getrusage`` would give the parent's where that was higher."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
