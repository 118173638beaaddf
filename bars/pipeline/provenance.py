"""provenance.json of every stage folder, and the chain of hashes from a result back to its data split."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bars
from bars.errors import RecordError
from bars.pipeline import paths
from bars.pipeline.closure import ROOT, closure_sha256
from bars.pipeline.files import sha256_file, sha256_json
from bars.pipeline.records import Provenance, read_genotype, read_metrics, read_record, write_record

_LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "pyarrow", "pydantic")


@dataclass
class StageRun:
    """What is known when a stage starts; ``finish`` writes its provenance.json.

    What both have goes over under its name; only ``modules``, ``results`` and ``clock`` are not recorded, and
    ``compiler`` is among the libraries.
    """

    stage: str
    experiment: str
    group: str | None
    scale: str
    seed: int | None
    params: dict[str, Any]
    modules: tuple[str, ...]
    results: Path
    inputs: dict[str, str]  # hash of each input, by its path relative to results
    study: str | None = None
    processes: int = 1
    threads: int = 1
    device: str = "cpu"
    precision: str | None = None  # what runtime.precision and runtime.passes came to, where a stage computes
    passes: str | None = None
    compiler: str | None = None  # of native passes
    peak_device_memory_mb: float | None = None
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    clock: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """Hash of all that decides the stage's result; names its checkpoints."""
        identity = [self.stage, self.experiment, self.scale, self.seed, self.params, self.inputs, self.processes]
        return sha256_json([*identity, closure_sha256(*self.modules)])

    def finish(self, written: Path, directory: str) -> Provenance:
        """Hash the files in ``written``, soon ``directory`` of the results, and write down where they come from."""
        outputs = {
            f"{directory}/{file.name}": sha256_file(file)
            for file in sorted(written.iterdir())
            if file.name != paths.PROVENANCE
        }
        found = {
            "code": {"version": bars.__version__, **git_state(), "modules_sha256": closure_sha256(*self.modules)},
            "params_sha256": sha256_json(self.params),
            "outputs": outputs,
            "libraries": library_versions() | ({} if self.compiler is None else {"compiler": self.compiler}),
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self.clock, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
        }
        known = {name: value for name, value in vars(self).items() if name in Provenance.model_fields}
        record = Provenance.model_validate(known | found)
        write_record(written / paths.PROVENANCE, record)
        return record


def hash_inputs(results: Path, inputs: tuple[str, ...]) -> dict[str, str]:
    """Hash of each input. Raises RecordError, naming the stage to run, for one that is missing."""
    hashes = {}
    for name in inputs:
        if not (results / name).is_file():
            raise RecordError("an input is missing", where=str(results / name), do=f"run first: {_command(name)}")
        hashes[name] = sha256_file(results / name)
    return hashes


def _command(name: str) -> str:
    """The command that makes a file of the results."""
    parts = name.split("/")
    if len(parts) == 4 and parts[1] == "data":
        return f"bars data {parts[2]} --scale {parts[0]}"
    if len(parts) == 6:
        return f"bars {parts[4]} {parts[2]} --seed {parts[3].removeprefix('seed-')} --scale {parts[0]}"
    return "snakemake --cores 2"


def git_state() -> dict[str, str | bool | None]:
    """Commit and dirty flag of the repository; None where there is no git or no history."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"commit": commit or None, "dirty": None if status is None else bool(status)}


def _git(*words: str) -> str | None:
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


@functools.cache
def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def library_versions() -> dict[str, str | None]:
    """Versions of Python and the libraries that shape results."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}}


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


# ----------------------------------------------------------------------------------------------------- the chain
def verify_chain(metrics: str | Path, results: str | Path | None = None, *, tensors: bool = True) -> list[str]:
    """Walk from a metrics.json to its data split; return the files that were checked, relative to the results folder.

    Every file must have the hash that its own stage recorded, and the one that the stage which read it recorded. Raises
    RecordError naming the first file that does not chain. Without ``tensors``, an absent *.pt counts as recorded.
    """
    metrics = Path(metrics)
    root = Path(results) if results is not None else metrics.parents[5]
    checked = _Checked(tensors)
    provenance = _verify_stage(root, metrics.parent.relative_to(root).as_posix(), checked)
    _verify_metrics(root, metrics, provenance)
    return list(checked)


def verify_inputs(results: Path, inputs: Iterable[str], *, tensors: bool = True) -> list[str]:
    """The same walk, from the input files of a stage that is about to run."""
    checked = _Checked(tensors)
    for name in inputs:
        if name not in checked and name not in _verify_stage(results, name.rsplit("/", 1)[0], checked).outputs:
            raise RecordError("a file was not written by its stage", where=str(results / name), do=_RERUN)
    return list(checked)


class _Checked(dict[str, str]):
    """Hash of each file that was checked; ``tensors``: whether the weights have to be there."""

    def __init__(self, tensors: bool) -> None:
        super().__init__()
        self.tensors = tensors


def _verify_stage(root: Path, directory: str, checked: _Checked) -> Provenance:
    """A stage folder's outputs, then the stages before it."""
    record = read_record(root / directory / paths.PROVENANCE, Provenance)
    for name, recorded in record.outputs.items():
        _verify_file(root, name, recorded, f"{directory}/{paths.PROVENANCE}", checked)
    for name, recorded in record.inputs.items():
        known = name in checked
        _verify_file(root, name, recorded, f"{directory}/{paths.PROVENANCE}", checked)
        if not known and name not in _verify_stage(root, name.rsplit("/", 1)[0], checked).outputs:
            raise RecordError("a file was not written by its stage", where=str(root / name), do=_RERUN)
    return record


def _verify_file(root: Path, name: str, recorded: str, by: str, checked: _Checked) -> None:
    found = checked.get(name)
    if found is None and not checked.tensors and name.endswith(".pt") and not (root / name).exists():
        found = recorded
    if found is None:
        if not (root / name).is_file():
            raise RecordError("a file of the chain is missing", where=str(root / name), do=_RERUN)
        found = _cached_hash(root / name)
    if found != recorded:
        raise RecordError(
            "a file does not chain: it changed after it was recorded",
            where=str(root / name),
            got=f"sha256 {found[:16]}...",
            allowed=f"sha256 {recorded[:16]}..., recorded in {by}",
            do=_RERUN,
        )
    checked[name] = found


_RERUN = "run the stage again, and those after it (snakemake does: snakemake --cores 2 --rerun-incomplete)"


def _cached_hash(path: Path) -> str:
    status = path.stat()
    return _hash_at(path, status.st_mtime_ns, status.st_size, status.st_ino)


@functools.lru_cache(maxsize=4096)
def _hash_at(path: Path, mtime: int, size: int, inode: int) -> str:
    """A file's hash, once per process: tables and figures walk over the same searches many times."""
    return sha256_file(path)


def _verify_metrics(root: Path, path: Path, provenance: Provenance) -> None:
    """The hashes inside metrics.json are those of the files it was computed from."""
    metrics = read_metrics(path)
    expected: dict[str, str | None] = {"genotype_sha256": None}
    for name, recorded in provenance.inputs.items():
        if name.endswith("/checkpoint.pt"):
            expected["checkpoint_sha256"] = recorded
        elif name.endswith(f"/{paths.SPLIT}"):
            expected["split_sha256"] = recorded
        elif name.endswith("/genotype.json"):
            expected["genotype_sha256"] = read_genotype(root / name).sha256
    identity = {key: getattr(provenance, key) for key in ("experiment", "group", "scale", "seed")}
    for key, value in {**identity, **expected}.items():
        if getattr(metrics, key) != value:
            raise RecordError(
                "metrics.json does not belong to the files beside it",
                where=f"{path}: {key}",
                got=getattr(metrics, key),
                allowed=str(value),
                do=_RERUN,
            )


# ----------------------------------------------------------------------------------------------------- present or past
def stale(folder: Path, params: dict[str, Any], modules: tuple[str, ...]) -> str | None:
    """Why a finished stage does not belong to its present parameters and code; None if it does."""
    try:
        record = read_record(folder / paths.PROVENANCE, Provenance)
    except RecordError as error:
        return error.what
    if other := _others(record, params):
        return f"made with other parameters: {other}"
    return None if record.code.get("modules_sha256") == closure_sha256(*modules) else "made with other code"


def other_params(folder: Path, params: dict[str, Any], *, archived: bool = False) -> str:
    """Names of the parameters that a finished stage was not made with; empty if there are none, or no such stage.

    An ``archived`` record may be older than a parameter, of which it then says nothing; and where it was made with
    ``auto``, what that came to counts.
    """
    path = folder / paths.PROVENANCE
    if not path.is_file():
        return ""
    record = read_record(path, Provenance)
    if archived and (_agrees(record.params, params) or _agrees(_resolved(record), params)):
        return ""
    return _others(record, params)


def _resolved(record: Provenance) -> dict[str, Any]:
    """Its parameters with what ``auto`` came to as precision; a stage that computes nothing agrees with any."""
    runtime = record.params.get("runtime", {})
    if runtime.get("precision") != "auto":
        return record.params
    came_to = {} if record.precision is None else {"precision": record.precision}
    return {**record.params, "runtime": {k: v for k, v in runtime.items() if k != "precision"} | came_to}


def _agrees(recorded: Any, present: Any) -> bool:
    if isinstance(recorded, dict) and isinstance(present, dict):
        return all(key in present and _agrees(value, present[key]) for key, value in recorded.items())
    return bool(recorded == present)


def _others(record: Provenance, params: dict[str, Any]) -> str:
    if record.params_sha256 == sha256_json(params):
        return ""
    return ", ".join(sorted(k for k in {*params, *record.params} if params.get(k) != record.params.get(k)))
