"""What a time was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

_SETS = ("avx512_vpopcntdq", "avx512f", "avx2", "sse4_1", "asimd")  # from the fastest for bits down


def describe() -> dict[str, str]:
    """The processor, its widest instruction set for bits, AMX if it has it, its cores, and the libraries' releases."""
    found = {"cpu": _field("model name") or platform.processor() or platform.machine()}
    flags = (_field("flags") or _field("Features") or "").split()
    widest = next((name for name in _SETS if name in flags), "unknown")
    found["instructions"] = f"{widest} amx_bf16" if "amx_bf16" in flags else widest
    found["cores"] = str(os.cpu_count())
    for package in ("openvino", "onnxruntime", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _field(name: str) -> str | None:
    """A line of /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name), None)
