"""examples/own-data.yaml on a small folder of generated images: genotype, trained network, ONNX export, figure."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image

from bars.commands.export import CARD, GENOTYPE, LEAST_AGREEMENT, NETWORK
from bars.pipeline import records as rec
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.space import SearchSpace
from tests.calling import call

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("amber", "blue", "coral")
RUN = Path("results/own/searched/bars-b/seed-0")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own-data")]


def draw(folder: Path, count: int, seed: int) -> None:
    """Noisy pictures whose colour tells the class, of several sizes."""
    rng = np.random.default_rng(seed)
    for label, colour in zip(CLASSES, ((230, 170, 20), (30, 60, 220), (250, 120, 90)), strict=True):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            size = (20 + i % 3, 18 + i % 2, 3)
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i:02d}.png")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder after data, search, derive, retrain, evaluate and export with the example, made small."""
    folder = tmp_path_factory.mktemp("own")
    draw(folder / "data/my-images/train", 24, 0)
    draw(folder / "data/my-images/test", 10, 1)
    small = {
        "space": {"init_channels": 8, "cells_per_stage": 1},
        "search": {"epochs": 2, "batch_size": 16, "warmup_epochs": 0},
        "retrain": {"epochs": 3, "batch_size": 16},
        "slots": {"cifar10": {"data": {"image_size": 16, "crop_padding": 1}}},
        "experiments": {"without-width-search": None},
    }
    budget = {"searched": {"bars-b": {"search": {"budget": {"biops": 1500000}}}}}
    content = {"include": str(ROOT / "examples/own-data.yaml"), "scales": {"own": small}, "experiments": budget}
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    with contextlib.chdir(folder):
        for words in ("data cifar10", *(f"{stage} bars-b --seed 0" for stage in ("search", "derive", "retrain"))):
            status, err = call(*words.split(), "--params", "small.yaml")
            assert status == 0, err
        for words in ("evaluate bars-b --seed 0", "export bars-b --seed 0 --out mine"):
            status, err = call(*words.split(), "--params", "small.yaml")
            assert status == 0, err
        yield folder


def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("mine", CARD).read_text())
    return found


def test_the_example_is_about_fifteen_lines() -> None:
    lines = (ROOT / "examples/own-data.yaml").read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith("#")]) <= 16


def test_the_example_itself_is_valid() -> None:
    experiment = Grid(load_params(ROOT / "examples/own-data.yaml"))["bars-b"]
    assert experiment.budget_biops == 100_000_000
    assert experiment.data.label == "my-images"


def test_the_genotype_is_one_of_the_space_within_reach_of_the_budget(own: Path) -> None:
    experiment = Grid(load_params("small.yaml"))["bars-b"]
    genotype = rec.read_genotype(RUN / "derive/genotype.json", SearchSpace.from_params(experiment.space))
    metrics = rec.read_metrics(RUN / "evaluate/metrics.json")
    assert metrics.genotype_sha256 == genotype.sha256
    assert metrics.dataset == "my-images"
    assert json.loads(Path("mine", GENOTYPE).read_text()) == genotype.to_json()


def test_the_card_alone_is_enough_to_use_the_network(own: Path) -> None:
    """Test accuracy again, from image files, the card and the ONNX file; nothing of this package is used."""
    about = card()
    session = onnxruntime.InferenceSession(Path("mine", NETWORK).read_bytes())
    size, mean, std = about["image_size"], np.array(about["input"]["mean"]), np.array(about["input"]["std"])
    right = total = 0
    for label in about["classes"]:
        pictures = [fitted(Image.open(path), size) for path in sorted(Path("data/my-images/test", label).iterdir())]
        images = (np.stack(pictures).astype(np.float32) / 255 - mean) / std
        (logits,) = session.run(None, {"images": images.transpose(0, 3, 1, 2).astype(np.float32)})
        right += int((logits.argmax(1) == about["classes"].index(label)).sum())
        total += len(pictures)
    assert total == about["test"]["n_examples"] == 30
    assert abs(right / total - about["test"]["top1"]) <= 1 / 30
    assert rec.read_metrics(RUN / "evaluate/metrics.json").top1 == about["test"]["top1"]


def fitted(image: Image.Image, size: int) -> Any:
    """As the card says: the largest central square, resized with antialiasing."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box))


def test_both_networks_agree_and_any_batch_size_works(own: Path) -> None:
    assert card()["check"]["same_class"] >= LEAST_AGREEMENT
    assert card()["check"]["images"] > 30
    session = onnxruntime.InferenceSession(Path("mine", NETWORK).read_bytes())
    for n in (1, 7):
        (logits,) = session.run(None, {"images": np.zeros((n, 3, 16, 16), np.float32)})
        assert logits.shape == (n, 3)


def test_weights_in_the_file_are_binary(own: Path) -> None:
    """Weights of convolutions but the stem's are signs of one magnitude, and no path of this machine stays."""
    import onnx

    model = onnx.load("mine/" + NETWORK)
    values = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    convolved = [values[n.input[1]] for n in model.graph.node if n.op_type == "Conv" and n.input[1] in values]
    magnitudes = sorted(len(np.unique(np.abs(weight).round(6))) for weight in convolved)
    assert magnitudes[:-1] == [1] * (len(convolved) - 1)
    assert str(ROOT).encode() not in Path("mine", NETWORK).read_bytes()


def test_figures_show_the_own_search(own: Path) -> None:
    status, err = call("figure", "fig2", "--params", "small.yaml")
    assert status == 0, err
    rows = list(csv.reader(Path("figures/fig2.csv").read_text().splitlines()))
    assert any("1500000" in cell for row in rows for cell in row), rows


def test_an_export_replaces_only_an_export(own: Path) -> None:
    before = Path("mine", NETWORK).read_bytes()
    status, err = call("export", "bars-b", "--seed", "0", "--params", "small.yaml", "--out", "data")
    assert status == 2
    assert "something else at the place of the export" in err
    assert Path("data/my-images/train").is_dir()
    assert Path("mine", NETWORK).read_bytes() == before


def test_a_network_outlives_its_supernet(own: Path) -> None:
    supernet = RUN / "search/supernet.pt"
    supernet.rename("supernet.pt")
    try:
        status, err = call("export", "bars-b", "--seed", "0", "--params", "small.yaml", "--out", "without")
    finally:
        Path("supernet.pt").rename(supernet)
    assert status == 0, err
    assert Path("without", NETWORK).read_bytes() == Path("mine", NETWORK).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export bars-b --seed 7", "no seed 7"),
        ("export bars-a --seed 0", "run first: bars retrain bars-a --seed 0 --scale own"),
        ("export bars-d --seed 0", "no imagenet data at scale own"),
        ("export nobody --seed 0", "no such experiment"),
    ],
)
def test_what_cannot_be_exported_is_said(own: Path, words: str, said: str) -> None:
    status, err = call(*words.split(), "--params", "small.yaml", "--out", "other")
    assert status == 2
    assert said in err
    assert not Path("other").exists()


def test_missing_packages_are_named(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bars.commands.export._PACKAGES", ("onnx", "nonesuch"))
    status, err = call("export", "bars-b", "--seed", "0", "--params", "small.yaml", "--out", "other")
    assert status == 2
    assert "nonesuch" in err
    assert "pip install" in err
