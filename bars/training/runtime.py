"""Where and how a stage computes: device, threads, precision, determinism."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from bars.errors import DeviceError
from bars.models.native import Native
from bars.models.native_build import BuildError
from bars.params import RuntimeParams

Note = Callable[[str], None]


@dataclass(frozen=True)
class Runtime:
    """A resolved RuntimeParams: a device that exists, what is used of autocast, capture and compilation, the passes."""

    device: torch.device
    bfloat16: bool = False
    capture: bool = False
    compile: bool = False
    native: Native | None = None

    @classmethod
    def resolve(cls, params: RuntimeParams, note: Note = lambda line: None) -> Runtime:
        """Set threads and determinism for this process; ``auto`` takes CUDA where there is one.

        A device that does not exist is a DeviceError; whatever else cannot be had falls back, with a line to ``note``.
        """
        torch.set_num_threads(params.threads)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        device = _device(params.device)
        if device.type == "cpu":
            _keep_freed_memory()
        bfloat16 = _bfloat16(params, device, note)
        capture, compile_ = _captures(params, device, note), _compiles(params, note)
        return cls(device, bfloat16, capture, compile_, _native(params, device, bfloat16, compile_, note))

    @property
    def precision(self) -> str:
        """What ``runtime.precision`` came to."""
        return "bfloat16" if self.bfloat16 else "float32"

    @property
    def passes(self) -> str:
        """What ``runtime.passes`` came to."""
        return "eager" if self.native is None else "native"

    @property
    def device_name(self) -> str:
        """The device in words."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where chosen; sums, statistics and losses stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()


def _device(asked: str) -> torch.device:
    name = asked
    if asked == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        index = int(name.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise DeviceError(
                "the device is not there",
                where="runtime.device",
                got=asked,
                allowed=f"cpu, or cuda with one of {torch.cuda.device_count()} devices",
                do="set runtime.device to auto",
            )
    return torch.device(name)


def _bfloat16(params: RuntimeParams, device: torch.device, note: Note) -> bool:
    on_cuda = device.type == "cuda"
    fast = on_cuda or _multiplies_bfloat16()
    if params.precision == "float32" or (params.precision == "auto" and not fast):
        return False
    if on_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        note("runtime.precision: this device has no bfloat16; computing in float32")
        return False
    if not fast:
        note("runtime.precision: most CPUs only emulate bfloat16, which is slower than float32")
    return True


def _captures(params: RuntimeParams, device: torch.device, note: Note) -> bool:
    if device.type == "cuda":
        return params.capture != "off"
    if params.capture == "on":
        note("runtime.capture: there are no CUDA graphs on a CPU; computing step by step")
    return False


def _compiles(params: RuntimeParams, note: Note) -> bool:
    # auto: not at all. It takes a minute, and saved 4 to 12 % of a search step where it was measured, on a CPU.
    if params.compile == "on" and shutil.which(os.environ.get("CXX", "g++")) is None:
        note("runtime.compile: there is no C++ compiler ($CXX or g++); computing without")
        return False
    return params.compile == "on"


def _multiplies_bfloat16() -> bool:
    """Whether this CPU has units for products of bfloat16 matrices; others are slower with it than in float32."""
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16", False))


def _native(params: RuntimeParams, device: torch.device, bfloat16: bool, compiled: bool, note: Note) -> Native | None:
    """The native passes, which compute with one thread."""
    if params.passes == "eager" or (params.passes == "auto" and (compiled or params.threads > 1)):
        return None
    if device.type != "cpu" or compiled:
        if params.passes == "native":
            note("runtime.passes: native ones are for a CPU, uncompiled; computing with torch's")
        return None
    try:
        return Native(torch.bfloat16 if bfloat16 else torch.float32)
    except BuildError as error:
        note(f"runtime.passes: {error}; computing with torch's, which is slower")
        return None


def _keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next step, where that is glibc.

    It would hand large blocks back to the system, and each page that comes again is a fault, up to a fifth of a step.
    """
    threshold, trim = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(threshold, 32 << 20)  # the largest that it takes
        mallopt(trim, 2**31 - 1)
