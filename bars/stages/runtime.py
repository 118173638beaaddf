"""Where and how a stage computes: device, threads, precision, determinism, seeds."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bars.errors import DeviceError
from bars.params import RuntimeParams


class Progress(Protocol):
    """What a stage tells about its progress."""

    def epoch(self, stage: str, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """``epoch`` from 1 of ``epochs`` is done."""

    def step(self, step: int, steps: int, images: int) -> None:
        """``step`` from 1 of ``steps`` of this epoch, of so many images, is on its way; called often, so be quick."""


class Silent:
    """A Progress that says nothing."""

    def epoch(self, stage: str, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """Say nothing."""

    def step(self, step: int, steps: int, images: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Runtime:
    """A resolved RuntimeParams: an existing device, and whether autocast, graph capture and compilation are used."""

    device: torch.device
    bfloat16: bool
    capture: bool
    compile: bool

    @classmethod
    def resolve(cls, params: RuntimeParams, note: Callable[[str], None] = lambda line: None) -> Runtime:
        """Set threads and determinism for this process; ``auto`` takes CUDA where there is one.

        A device that does not exist is a DeviceError; whatever else cannot be had falls back, with a line to ``note``.
        """
        torch.set_num_threads(params.threads)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        name = params.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda"):
            index = int(name.partition(":")[2] or 0)
            if not torch.cuda.is_available() or index >= torch.cuda.device_count():
                raise DeviceError(
                    "the device is not there",
                    where="runtime.device",
                    got=params.device,
                    allowed=f"cpu, or cuda with one of {torch.cuda.device_count()} devices",
                    do="set runtime.device to auto",
                )
        device = torch.device(name)
        if device.type == "cpu":
            _keep_freed_memory()
        on_cuda = device.type == "cuda"
        bfloat16 = params.precision == "bfloat16" or (params.precision == "auto" and on_cuda)
        if bfloat16 and on_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
            note("runtime.precision: this device has no bfloat16; computing in float32")
            bfloat16 = False
        if bfloat16 and not on_cuda:
            note("runtime.precision: most CPUs only emulate bfloat16, which is slower than float32")
        capture = params.capture == "on" or (params.capture == "auto" and on_cuda)
        if capture and not on_cuda:
            note("runtime.capture: there are no CUDA graphs on a CPU; computing step by step")
            capture = False
        # auto: not at all. It takes a minute, and saved 4 to 12 % of a search step where it was measured, on a CPU.
        compile_ = params.compile == "on"
        if compile_ and shutil.which(os.environ.get("CXX", "g++")) is None:
            note("runtime.compile: there is no C++ compiler ($CXX or g++); computing without")
            compile_ = False
        return cls(device, bfloat16, capture, compile_)

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where chosen; sums, statistics and losses stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()


def _keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next step, where that is glibc.

    It would hand large blocks back to the system, and each page that comes again is a fault, up to a fifth of a step.
    """
    threshold, trim = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(threshold, 32 << 20)  # the largest that it takes
        mallopt(trim, 2**31 - 1)


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Without gradients for ``parameters``: what leads only to them is not computed."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def seed_of(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose of one run, so that no stage depends on how many numbers another one drew."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator for one purpose of one run."""
    return torch.Generator().manual_seed(seed_of(seed, *purpose))


class GraphedStep:
    """Replays ``step`` as a CUDA graph: one launch instead of thousands. Without ``capture`` it just calls it.

    ``step`` takes tensors of fixed shapes and returns tensors; gradients it leaves in ``.grad`` stay in place.
    ``buffers`` (running statistics) are put back after the warm-up calls that recording needs, so that a continued run
    sees the same ones as an unbroken run.
    """

    WARMUP = 3

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], capture: bool, buffers: Iterable[Tensor] = ()) -> None:
        self._step, self._capture, self._buffers = step, capture, list(buffers)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if not self._capture:
            return self._step(*inputs)
        if self._graph is None:
            self._record(inputs)
        assert self._graph is not None
        for static, given in zip(self._inputs, inputs, strict=True):
            with torch.no_grad():
                static.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in inputs)
        before = [b.clone() for b in self._buffers]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(self.WARMUP):
                self._step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        for buffer, value in zip(self._buffers, before, strict=True):
            buffer.copy_(value)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._step(*self._inputs)
