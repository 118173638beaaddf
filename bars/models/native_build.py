"""The compiler and the cache of native.cpp: built once for each source, compiler and processor."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")


class BuildError(Exception):
    """There is no library, and why: one line."""


def library(source: Path, *defined: str) -> ctypes.CDLL:
    """The compiled source from the cache of this user, which a first call fills within seconds; ``defined``: -D flags.

    Raises BuildError where there is no compiler, no folder to write to, or the compiler does not take the source.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise BuildError("there is no C++ compiler ($CXX or g++)")
    try:
        built = cache_folder() / f"{source.stem}-{_key(source, Path(compiler), defined)}.so"
        if not built.exists():
            _build([compiler, *FLAGS, *defined], source, built)
        return ctypes.CDLL(str(built))
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{source.name} cannot be compiled ({_reason(error)})") from error


def compiler_version() -> str:
    """The compiler that ``library`` found, in its own words, one line: its version decides last bits."""
    said = subprocess.run([os.environ.get("CXX", "g++"), "--version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0]


def cache_folder() -> Path:
    """Where compiled code is kept: $XDG_CACHE_HOME/bars, else ~/.cache/bars."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bars"


def _key(source: Path, compiler: Path, defined: tuple[str, ...]) -> str:
    """Hash of all that the library's code depends on."""
    there = compiler.resolve()
    stat = there.stat()
    parts = (source.read_text(), FLAGS, defined, str(there), stat.st_size, stat.st_mtime_ns, sys.platform, _processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _processor() -> list[str]:
    """What -march=native sees: a home folder may be shared by several kinds of machine."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return [platform.machine(), platform.processor()]
    lines = cpuinfo.read_text().partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith(("model", "cpu family", "flags", "Features", "CPU part"))]


def _build(compiler: list[str], source: Path, built: Path) -> None:
    """Compile to a temporary folder and rename; of several processes at once, one compiles and the others wait."""
    import fcntl  # not on every system, and neither is such a compiler

    built.parent.mkdir(parents=True, exist_ok=True)
    with open(built.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if built.exists():
            return
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            temporary = Path(folder) / built.name
            command = [*compiler, "-o", str(temporary), str(source)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            os.replace(temporary, built)


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[0][:200]
