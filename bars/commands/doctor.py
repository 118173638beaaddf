"""``bars doctor``: what is there, what is missing, and what would stop a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bars.commands.leftovers import Finding, leftovers
from bars.commands.locks import LOCKS
from bars.commands.run import CHECKPOINTS
from bars.errors import BarsError
from bars.params import DataParams, RuntimeParams
from bars.pipeline.experiments import Grid
from bars.pipeline.files import check_writable
from bars.pipeline.load import load_params
from bars.pipeline.ownership import require_own
from bars.pipeline.provenance import git_state

_REQUIRED = ("torch", "torchvision", "numpy", "scikit-learn", "pyarrow", "pandas", "matplotlib", "pydantic")
_DRIVERS = ("snakemake", "dvc")
_CIFAR = ("cifar-10-batches-py", "data_batch_1", "cifar-10-python.tar.gz")
_LEAST_DISK_GB = 1.0


def examine(params: Path, scale: str | None, results: Path) -> int:
    """Print every finding; exit status 2 if one would stop a run."""
    stops = 0
    for finding in findings(params, scale, results):
        stops += finding.level == "stop"
        print(f"{finding.level:<4}  {finding.subject:<12}  {finding.text}", flush=True)
    if stops:
        print(f"bars doctor: {stops} of these would stop a run", file=sys.stderr)
    return 2 if stops else 0


def findings(params: Path, scale: str | None, results: Path) -> Iterator[Finding]:
    """All findings, cheap ones first."""
    yield from _versions()
    yield from _machine(results)
    yield from _folders(results)
    try:
        loaded = load_params(params)
        grid = Grid(loaded, scale)
    except BarsError as error:
        yield Finding("stop", "params", str(error))
        return
    count = f"{len(grid.runnable())} of {len(grid.experiments)} experiments are run at scale {grid.scale}"
    yield Finding("ok", "params", f"{params}: {count}")
    yield from _study(grid, results)
    yield from _data(grid)
    yield from _device(grid)


def _versions() -> Iterator[Finding]:
    yield Finding("ok" if sys.version_info >= (3, 11) else "stop", "python", platform.python_version())
    for name in (*_REQUIRED, *_DRIVERS):
        try:
            yield Finding("ok", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            driver = name in _DRIVERS
            without = "not installed; single stages still run" if driver else "not installed"
            yield Finding("note" if driver else "stop", name, without)


def _machine(results: Path) -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding("ok", "cpu", f"{usable_cpus()} cores, {memory:.1f} GiB of memory")
    free = shutil.disk_usage(_nearest(results)).free / 2**30
    short = f"{free:.2f} GiB free at {results}: a run needs {_LEAST_DISK_GB:g} at least"
    yield Finding("stop", "disk", short) if free < _LEAST_DISK_GB else Finding("ok", "disk", f"{free:.1f} GiB free")


def _nearest(path: Path) -> Path:
    """The folder itself, or the first one above it that exists: who only looks makes none."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def usable_cpus() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _folders(results: Path) -> Iterator[Finding]:
    for path, subject in ((results, "results"), (LOCKS, "locks"), (CHECKPOINTS, "checkpoints")):
        try:
            check_writable(_nearest(path) / "doctor")
            yield Finding("ok", subject, f"{path} can be written")
        except BarsError as error:
            yield Finding("stop", subject, str(error))
    yield from leftovers(results, CHECKPOINTS)
    commit = git_state()["commit"]
    yield (
        Finding("ok", "git", str(commit)[:12])
        if commit
        else Finding(
            "note",
            "git",
            "no repository here: provenance will name no commit, and dvc needs `dvc config core.no_scm true`",
        )
    )


def _study(grid: Grid, results: Path) -> Iterator[Finding]:
    try:
        require_own(grid, results)
    except BarsError as error:
        yield Finding("stop", "results", str(error))


def _data(grid: Grid) -> Iterator[Finding]:
    used = {name for e in grid.runnable() for name in (e.dataset, e.search_dataset)}
    for name, data in grid.datasets.items():
        if name in used:
            yield _images(name, data)


def _images(name: str, data: DataParams) -> Finding:
    root = Path(os.path.expanduser(data.path or ""))
    if data.source == "digits":
        return Finding("ok", name, "scikit-learn's digits, part of the installation")
    if data.source == "imagefolder":
        return _folder(name, data)
    if data.path is None:
        return Finding("stop", name, f"data.path is not set, and {data.source} needs it")
    if any((root / entry).exists() for entry in _CIFAR):
        return Finding("ok", name, f"CIFAR-10 in {root}")
    if data.download:
        return Finding("note", name, f"CIFAR-10 is not in {root} yet; the first run downloads 163 MiB")
    return Finding("stop", name, f"CIFAR-10 is not in {root}, and data.download is false")


def _folder(name: str, data: DataParams) -> Finding:
    """Names and sizes of the images are looked at; `bars data` opens them."""
    try:
        from bars.data import load_source

        source = load_source(data)
        counts = {part: dataset.counts() for part, dataset in (("train", source.train), ("test", source.test))}
    except ImportError as error:
        return Finding("stop", name, f"cannot be looked at: {error}")
    except BarsError as error:
        return Finding("stop", name, str(error))
    found = ", ".join(f"{count['read']:,} {part} images" for part, count in counts.items())
    skipped = sum(reason["count"] for count in counts.values() for reason in count["skipped"].values())
    text = f"{data.path}: {found} of {len(source.classes)} classes"
    if skipped:
        return Finding("note", name, f"{text}; {skipped:,} other files passed over (bars data {name} says which)")
    return Finding("ok", name, text)


def _device(grid: Grid) -> Iterator[Finding]:
    try:
        import torch  # seconds

        from bars.training.runtime import Runtime
    except ImportError as error:
        yield Finding("stop", "torch", f"cannot be imported: {error}")
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Finding("ok", f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    asked: dict[str, RuntimeParams] = {e.runtime.device: e.runtime for e in grid.runnable()}
    for device, runtime in asked.items():
        notes: list[str] = []
        try:
            resolved = Runtime.resolve(runtime, notes.append)
        except BarsError as error:
            yield Finding("stop", "device", str(error))
            continue
        yield Finding("ok", "device", f"runtime.device {device} is {resolved.device}, {runtime.threads} threads a job")
        yield from (Finding("note", "device", note) for note in notes)
