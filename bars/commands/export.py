"""``bars export``: a trained network for use elsewhere: ONNX and packed, its genotype, and a card on how to use it."""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bars.errors import ExportError, OutputError, PackedError
from bars.packed import file as packed_file
from bars.packed.network import PACKED, Network
from bars.pipeline import records as rec
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.files import atomic_directory, sha256_file
from bars.pipeline.load import load_params
from bars.pipeline.provenance import hash_inputs, verify_inputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bars.data import Part
    from bars.packed.runtimes import Runtime
    from bars.space import Genotype

NETWORK, CARD, GENOTYPE, FORMAT = "network.onnx", "model.json", "genotype.json", "bars-model/1"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CHECKED_IMAGES = 256
# Of the images that both were shown, at least this share must get the same class. Logits differ in their last digits,
# and where a value next to zero takes another sign, visibly: so one image in a hundred may differ.
LEAST_AGREEMENT = 0.99
_FOLDED = 2**30  # values up to this size are computed once, at the export: signs and scales of all weights


class Agreement(NamedTuple):
    """How close the exported network's logits are to those of the network itself."""

    images: int
    same_class: float
    largest_difference: float


def export(params: Path, scale: str | None, results: Path, name: str, seed: int, out: Path | None) -> int:
    """Write the network, its card and, for a searched one, its genotype; the folder appears whole or not at all."""
    experiment = Grid(load_params(params), scale)[name]
    experiment.require("evaluate", seed)
    target = out or Path("exports") / experiment.scale / name / f"seed-{seed}"
    _require_replaceable(target)
    _require_packages()
    inputs = hash_inputs(results, experiment.inputs("evaluate", seed))
    verify_inputs(results, inputs)
    model, part, genotype = _load(experiment, results, seed)
    with atomic_directory(target) as folder:
        to_onnx(model, part.image_size, folder / NETWORK)
        architecture = None if genotype is None else genotype.to_json()
        card = _card(experiment, results, seed, part, inputs) | {"cost": _cost(experiment, genotype, part)}
        inside = card | {"genotype": architecture}
        packed_file.embed(folder / NETWORK, inside)
        agreement = compare(_onnxruntime(folder / NETWORK), model, part, folder / NETWORK)
        packed = _pack(folder, inside, model, part)
        if architecture is not None:
            rec.write_json(folder / GENOTYPE, architecture)
        card |= {"network_sha256": sha256_file(folder / NETWORK), "check": agreement._asdict(), "packed": packed}
        rec.write_json(folder / CARD, card)
    said = f"{agreement.same_class:.1%} of {agreement.images} images get the same class from both"
    print(f"{target}: {', '.join(sorted(p.name for p in target.iterdir()))}  ({said})", file=sys.stderr)
    return 0


def _pack(folder: Path, card: dict[str, Any], model: nn.Module, part: Part) -> dict[str, Any]:
    """Write the packed network beside the ONNX file, and compare it where it can be run; or say why there is none."""
    import onnx

    from bars.packed.convert import pack

    path = folder / PACKED
    try:
        graph = pack(onnx.load(folder / NETWORK))
    except PackedError as error:
        print(f"not packed: {error.what} ({error.got})", file=sys.stderr)
        return {"written": False, "reason": f"{error.what}: {error.got}"}
    packed_file.write(path, graph, card)
    said = {"written": True, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
    if importlib.util.find_spec("openvino") is None:
        print("not compared: openvino is not installed (pip install 'bars-nas[packed]')", file=sys.stderr)
        return said | {"check": None}
    network = Network(card, graph, packed=True, path=path)
    return said | {"check": compare(network.logits, model, part, path)._asdict()}


def _require_replaceable(target: Path) -> None:
    """An export replaces its folder: never one that holds anything but an older export."""
    if target.exists() and not (
        target.is_dir() and {p.name for p in target.iterdir()} <= {NETWORK, PACKED, CARD, GENOTYPE}
    ):
        raise OutputError(
            "there is something else at the place of the export",
            where=str(target),
            do="name a new folder with --out, or empty this one",
        )


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            "packages for the export are not installed", got=", ".join(missing), do="pip install 'bars-nas[onnx]'"
        )


def _load(experiment: Experiment, results: Path, seed: int) -> tuple[nn.Module, Part, Genotype | None]:
    """The trained network, the train images it is checked with, and its genotype."""
    from bars.data import open_part
    from bars.stages.saved import saved_network

    model, split, genotype = saved_network(experiment, results, seed)
    return model, open_part(experiment.data, split, "train"), genotype


def to_onnx(model: nn.Module, image_size: int, path: Path) -> None:
    """ONNX of images [n, 3, S, S] -> logits [n, classes] for any n, its weights binarised. Raises ExportError."""
    import onnx
    import torch
    from onnxscript.optimizer import optimize

    example = torch.zeros(2, 3, image_size, image_size)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ExportError("the network cannot be written as ONNX", where=str(path), got=_root(error)) from error
    assert program is not None
    optimize(program.model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    exported = program.model_proto
    for node in exported.graph.node:
        node.ClearField("metadata_props")  # a trace of the source: nine tenths of the file
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString(deterministic=True))


def _root(error: BaseException) -> str:
    """What it was at first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _onnxruntime(path: Path) -> Runtime:
    import onnx

    from bars.packed import runtimes

    return runtimes.onnxruntime(onnx.load(path), 1, 0)


def compare(run: Runtime, model: nn.Module, part: Part, path: Path) -> Agreement:
    """Feed the same images to the network and to what was written. Raises ExportError if classes differ too often."""
    import numpy as np
    import torch

    images: Tensor
    total = same = 0
    largest = 0.0
    for images, _ in part.batches(64, device="cpu", augment=False, seed=0, epoch=0, drop_last=False):
        with torch.no_grad():
            ours = model(images).numpy()
        theirs = run(images.contiguous().numpy())
        total += len(ours)
        same += int((ours.argmax(1) == theirs.argmax(1)).sum())
        largest = max(largest, float(np.abs(ours - theirs).max()))
        if total >= CHECKED_IMAGES:
            break
    if same < LEAST_AGREEMENT * total:
        raise ExportError(
            "the exported network computes something else",
            where=str(path),
            got=f"the same class for {same} of {total} images, logits up to {largest:.3g} apart",
            allowed=f"at least {LEAST_AGREEMENT:.0%} of the classes",
        )
    return Agreement(total, same / total, largest)


def _cost(experiment: Experiment, genotype: Genotype | None, part: Part) -> dict[str, int]:
    """Operations in 2xMACs and parameters, as the tables count them."""
    from bars.stages.networks import count

    view = experiment.view("evaluate")
    return count(experiment.network, view, genotype, part.num_classes, part.image_size)._asdict()


def _budget(experiment: Experiment, measured: dict[str, Any]) -> dict[str, Any] | None:
    """The BiOps that were asked for, those reached, and whether they are within derive's tolerance."""
    asked = experiment.budget_biops
    if asked is None:
        return None
    reached = measured.get("biops")
    tolerance = experiment.derive.budget_tolerance
    missed = None if reached is None or tolerance is None else abs(reached / asked - 1.0) > tolerance
    return {"biops": asked, "reached": reached, "tolerance": tolerance, "missed": missed}


def _card(experiment: Experiment, results: Path, seed: int, part: Part, inputs: dict[str, str]) -> dict[str, Any]:
    """What a user of the network needs: its input, its classes, its cost and accuracy, where it comes from."""
    metrics_path = results / experiment.file("evaluate", "metrics.json", seed)
    measured: dict[str, Any] = {}
    if metrics_path.is_file():
        metrics = rec.read_metrics(metrics_path)
        if metrics.checkpoint_sha256 == inputs[experiment.file("retrain", "checkpoint.pt", seed)]:
            kept = ("top1", "n_examples", "flops", "biops", "params", "fully_binarized", "float_parts")
            measured = {key: getattr(metrics, key) for key in kept}
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "scale": experiment.scale,
        "seed": seed,
        "dataset": part.label,
        "classes": list(part.classes),
        "image_size": part.image_size,
        "input": {
            "name": "images",
            "shape": ["n", 3, part.image_size, part.image_size],
            "type": "float32",
            "colours": "RGB",
            "size": "the largest central square, resized bilinearly with antialiasing",
            "meaning": "(pixel / 255 - mean) / std per colour, pixels 0 to 255",
            "mean": list(part.channel_mean),
            "std": list(part.channel_std),
        },
        "output": {"name": "logits", "shape": ["n", part.num_classes], "meaning": "argmax is the index of the class"},
        "test": measured or None,
        "budget": _budget(experiment, measured),
        "made_from": inputs,
    }
