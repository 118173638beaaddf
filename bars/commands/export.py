"""``bars export``: a trained network for use elsewhere: ONNX and packed, its genotype, and a card on how to use it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bars.errors import ExportError, OutputError, PackedError
from bars.packed import file as packed_file
from bars.packed.from_torch import PACKAGES, to_onnx
from bars.packed.network import PACKED, Network
from bars.pipeline import records as rec
from bars.pipeline.experiments import Experiment, Grid
from bars.pipeline.files import atomic_directory, sha256_file
from bars.pipeline.load import load_params
from bars.pipeline.provenance import hash_inputs, verify_inputs

if TYPE_CHECKING:
    from torch import nn

    from bars.data import Part
    from bars.packed.runtimes import Runtime
    from bars.space import Genotype

NETWORK, CARD, GENOTYPE, FORMAT = "network.onnx", "model.json", "genotype.json", "bars-model/1"
_PACKAGES = (*PACKAGES, "onnxruntime")
CHECKED_IMAGES = 256
# Of the images that both were shown, at least this share must get the same class. Logits differ in their last digits,
# and where a value next to zero takes another sign, visibly: so one image in a hundred may differ.
LEAST_AGREEMENT = 0.99


def export(params: Path, scale: str | None, results: Path, name: str, seed: int, out: Path | None) -> int:
    """Write the network, its card and, for a searched one, its genotype; the folder appears whole or not at all."""
    experiment = Grid(load_params(params), scale)[name]
    experiment.require("evaluate", seed)
    target = out or Path("exports") / experiment.scale / name / f"seed-{seed}"
    _require_replaceable(target)
    _require_packages()
    inputs = hash_inputs(results, experiment.inputs("evaluate", seed))
    verify_inputs(results, inputs, tensors=False)  # a supernet of megabytes may be gone, the network's own weights not
    model, part, genotype = _load(experiment, results, seed)
    with atomic_directory(target) as folder:
        to_onnx(model, part.image_size, folder / NETWORK)
        architecture = None if genotype is None else genotype.to_json()
        card = _card(experiment, results, seed, part, inputs) | {"cost": _cost(experiment, genotype, part)}
        inside = card | {"genotype": architecture}
        packed_file.embed(folder / NETWORK, inside)
        check = compare(_onnxruntime(folder / NETWORK), model, part, folder / NETWORK)
        packed = _pack(folder, inside, model, part)
        if architecture is not None:
            rec.write_json(folder / GENOTYPE, architecture)
        card |= {"network_sha256": sha256_file(folder / NETWORK), "check": check, "packed": packed}
        rec.write_json(folder / CARD, card)
    said = f"{check['same_class']:.1%} of {check['images']} images get the same class from both"
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
    return said | {"check": compare(network.logits, model, part, path)}


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


def _onnxruntime(path: Path) -> Runtime:
    import onnx

    from bars.packed import runtimes

    return runtimes.onnxruntime(onnx.load(path), 1, 0)


def compare(run: Runtime, model: nn.Module, part: Part, path: Path) -> dict[str, Any]:
    """Feed the same images to the network and to what was written. Raises ExportError if classes differ too often."""
    from bars.stages.agreement import agreement

    images, same, largest = agreement(run, model, part, CHECKED_IMAGES)
    if same < LEAST_AGREEMENT * images:
        raise ExportError(
            "the exported network computes something else",
            where=str(path),
            got=f"the same class for {same} of {images} images, logits up to {largest:.3g} apart",
            allowed=f"at least {LEAST_AGREEMENT:.0%} of the classes",
        )
    return {"images": images, "same_class": same / images, "largest_difference": largest}


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
