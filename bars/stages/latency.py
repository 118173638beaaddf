"""The stage ``latency``: milliseconds an image of the networks of a scale, packed and in floats, side by side."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bars.errors import DeviceError, ExportError, PackedError
from bars.packed import file
from bars.packed.compared import FLOAT
from bars.packed.convert import pack
from bars.packed.from_torch import PACKAGES, to_onnx
from bars.packed.machine import describe
from bars.packed.network import Network
from bars.packed.runtimes import Runtime
from bars.packed.timing import by_round, clock_of, quartiles
from bars.params import LatencyParams
from bars.pipeline.files import sha256_file
from bars.pipeline.latency_record import PACKED, TORCH, TWIN, Latency, NetworkLatency, RuntimeTimes, SameClasses, Spread
from bars.pipeline.records import write_record
from bars.stages.agreement import agreement
from bars.stages.files import genotype_of, open_for, split_of
from bars.stages.job import Job, Write
from bars.stages.networks import trained

if TYPE_CHECKING:
    from bars.data.splits import Split
    from bars.space import Genotype

Note = Callable[[str], None]
FILE, ONNX = "latency.json", "network.onnx"


@dataclass(frozen=True)
class Candidate:
    """A trained network, ready to be timed; ``network`` is None where it cannot be written as ONNX here."""

    job: Job
    model: nn.Module
    image_size: int
    network: Network | None
    packed_bytes: int | None
    float_bytes: int | None
    check: SameClasses | None
    reason: str


def run(jobs: Sequence[Job], settings: LatencyParams, note: Note) -> Write:
    """Time the networks of ``jobs`` (each a view of its evaluate stage) in every runtime that is installed."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    _require_cores(settings.threads)  # before the networks are written, which takes seconds
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folders = [Path(folder, str(i)) for i in range(len(jobs))]
        _write_ahead(jobs, folders, len(_affinity()))
        cores = stack.enter_context(pinned(settings.threads))
        prepared = []
        for i, job in enumerate(jobs):
            prepared.append(prepare(job, settings, folders[i]))
            note(f"{job.experiment.name}: ready ({i + 1} of {len(jobs)}) {prepared[-1].reason}".rstrip())
        times = [time_all(prepared, batch, settings) for batch in (1, settings.throughput_batch)]
    record = Latency(
        scale=jobs[0].experiment.scale,
        machine=describe(),
        threads=settings.threads,
        cores=cores,
        load=load,
        clock="processor" if settings.threads == 1 else "wall",
        rounds=settings.rounds,
        round_ms=settings.round_ms,
        networks=tuple(_recorded(one, [found[i] for found in times]) for i, one in enumerate(prepared)),
    )
    return lambda target: write_record(target / FILE, record)


def _write_ahead(jobs: Sequence[Job], folders: Sequence[Path], cores: int) -> None:
    """Write the networks as ONNX, which takes longer than to time them, in as many processes as there are cores.

    What one of them fails at is tried again, and said, by ``prepare``. Only where a process with torch may fork.
    """
    for path in folders:
        path.mkdir()
    if not sys.platform.startswith("linux") or any(importlib.util.find_spec(name) is None for name in PACKAGES):
        return

    def work(mine: Sequence[tuple[Job, Path]]) -> None:
        torch.set_num_threads(1)
        for job, path in mine:
            model, split, _ = _network(job)
            to_onnx(model, split.image_size, path / ONNX)

    context, pairs = multiprocessing.get_context("fork"), list(zip(jobs, folders, strict=True))
    started = [context.Process(target=work, args=(part,)) for i in range(cores) if (part := pairs[i::cores])]
    for process in started:
        process.start()
    for process in started:
        process.join()


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Keep this process to as many cores as it has threads, where the system can. Raises DeviceError."""
    _require_cores(threads)
    before, torch_threads = _affinity(), torch.get_num_threads()
    kept = before[-threads:]  # the first ones mostly serve the system too
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, kept)
    try:
        yield tuple(kept)
    finally:
        torch.set_num_threads(torch_threads)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)


def _require_cores(threads: int) -> None:
    """Raise DeviceError where this process has fewer cores than ``threads``."""
    if (there := len(_affinity())) < threads:
        raise DeviceError(
            "there are fewer cores than threads",
            where="latency.threads",
            got=threads,
            allowed=f"1 to {there}, the cores of this process",
        )


def _affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


# ----------------------------------------------------------------------------------------------------- one network
def prepare(job: Job, settings: LatencyParams, folder: Path) -> Candidate:
    """Load a trained network and write it as ``bars export`` does, into ``folder``."""
    model, split, genotype = _network(job)
    card = {"classes": list(split.classes), "image_size": split.image_size}
    card |= {"genotype": None if genotype is None else genotype.to_json()}
    ahead = folder / ONNX
    network, sizes, reason = written(model, card, settings.threads, folder, ahead if ahead.is_file() else None)
    check = None
    if network is not None and _runs_packed(network):
        found = agreement(network.logits, model, open_for(job, split, "train"), settings.checked_images)
        check = SameClasses(**found._asdict())
    model.to(memory_format=torch.channels_last)
    return Candidate(job, model, split.image_size, network, sizes.get("packed"), sizes.get("float"), check, reason)


def _network(job: Job) -> tuple[nn.Module, Split, Genotype | None]:
    split, genotype = split_of(job), genotype_of(job)
    return trained(job.experiment.network, job.view, genotype, split, job.input("checkpoint.pt")), split, genotype


def written(
    model: nn.Module, card: dict[str, Any], threads: int, folder: Path, ahead: Path | None = None
) -> tuple[Network | None, dict[str, int], str]:
    """A network as files: packed where it can be, the bytes of each, and why something of it is missing.

    ``ahead``: its ONNX file, where that was written before.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return None, {}, f"not installed: {', '.join(missing)}"
    import onnx

    path = ahead or folder / ONNX
    try:
        if ahead is None:
            to_onnx(model, card["image_size"], path)
    except ExportError as error:
        return None, {}, f"{error.what}: {error.got}"
    plain, sizes = onnx.load(path), {"float": path.stat().st_size}
    reason = "; ".join(f"not installed: {name}" for name in ("openvino", "onnxruntime") if not _has(name))
    try:
        graph = pack(plain)
    except PackedError as error:
        why = f"{error.what}: {error.got}"
        return Network(card, plain, packed=False, threads=threads), sizes, "; ".join(filter(None, (why, reason)))
    file.write(folder / "network.bars", graph, card)
    sizes["packed"] = (folder / "network.bars").stat().st_size
    network = Network(card, graph, packed=True, threads=threads)
    if not reason and not network.is_fast:
        reason = "no exact binary convolution for this machine"
    return network, sizes, reason


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _runs_packed(network: Network) -> bool:
    return network.packed and _has("openvino") and network.is_fast


# ----------------------------------------------------------------------------------------------------- all of them
def time_all(many: Sequence[Candidate], batch: int, settings: LatencyParams) -> list[RuntimeTimes]:
    """Times of every network at one batch size, all networks and runtimes once a round."""
    calls: dict[tuple[int, str], Callable[[], object]] = {}
    for i, one in enumerate(many):
        shape = (batch, 3, one.image_size, one.image_size)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        for name, runtime in _runtimes(one, batch, settings.threads).items():
            calls[i, name] = functools.partial(runtime, images)
        features = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        calls[i, TORCH] = functools.partial(one.model, features)
    with torch.inference_mode():
        measured = by_round(calls, settings.rounds, settings.round_ms / 1e3, clock_of(settings.threads))
    return [
        _times({name: values for (of, name), values in measured.items() if of == i}, batch) for i in range(len(many))
    ]


def _runtimes(one: Candidate, batch: int, threads: int) -> dict[str, Runtime]:
    """Of those that are installed."""
    network = one.network
    if network is None:
        return {}
    found = {PACKED: network.runtime(batch)} if _runs_packed(network) else {}
    return found | {name: run(network.plain, batch, threads) for name, run in FLOAT.items() if _has(name.split()[0])}


def _times(measured: dict[str, list[float]], batch: int) -> RuntimeTimes:
    """Milliseconds of the rounds as those of an image, with the ratio that is the packed network's gain."""
    speedup = None
    if PACKED in measured and TWIN in measured:
        pairs = zip(measured[TWIN], measured[PACKED], strict=True)
        speedup = _spread([twin / packed for twin, packed in pairs])
    per_image = {name: _spread([value / batch for value in values]) for name, values in measured.items()}
    return RuntimeTimes.model_validate({"batch": batch, "ms_per_image": per_image, "speedup": speedup})


def _spread(values: Sequence[float]) -> Spread:
    median, low, high = quartiles(values)
    return Spread(median=median, low=low, high=high)


def _recorded(one: Candidate, times: Sequence[RuntimeTimes]) -> NetworkLatency:
    experiment = one.job.experiment
    return NetworkLatency(
        experiment=experiment.name,
        seed=one.job.seed,
        slot=experiment.slot,
        image_size=one.image_size,
        checkpoint_sha256=sha256_file(one.job.input("checkpoint.pt")),
        packed_bytes=one.packed_bytes,
        float_bytes=one.float_bytes,
        reason=one.reason,
        packed_check=one.check,
        times=tuple(times),
    )
