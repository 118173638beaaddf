"""A study of the repository gives its tables, figures and page again, byte for byte, and notices a changed one."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import bars.packed
from bars.cli import main
from bars.errors import RecordError
from bars.pipeline import paths
from bars.pipeline.files import sha256_json
from tests.grids import TREE
from workflow.scripts import study

SEED = 3


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which experiment a ran, and its study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    with contextlib.chdir(folder):
        assert main(["data", "cifar10"]) == 0
        for name in paths.STAGES:
            assert main([name, "a", "--seed", str(SEED)]) == 0
        assert study.main("land", "results", "params.yaml", "landed") == 0
        assert study.main("networks", "results", "params.yaml", "landed", "a") == 0
        assert study.main("write", "landed") == 0
    return folder / "landed"


@pytest.fixture
def copy(landed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(landed, tmp_path / "landed"))


def test_a_study_holds_every_record_and_no_tensor(landed: Path) -> None:
    names = {path.name for path in landed.rglob("*") if path.is_file()}
    assert {"metrics.json", "genotype.json", "epochs.csv", "alphas.parquet", "provenance.json", "split.json"} <= names
    assert not any(name.endswith(".pt") for name in names)
    text = (landed / "README.md").read_text()
    assert "| search | 1 |" in text and "# Study landed" in text


def test_it_is_verified_and_a_changed_table_is_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main("verify", str(copy)) == 0
    (copy / "README.md").write_text("# Better than it was\n")
    (copy / "invented.csv").write_text("a\n1\n")
    assert study.main("verify", str(copy)) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{copy}/{name} is not what the records give" for name in ("README.md", "invented.csv")
    ]


def test_a_trained_network_is_part_of_it_and_runs(landed: Path) -> None:
    folder = landed / "networks/a"
    assert {path.name for path in folder.iterdir()} == {"network.bars", "model.json", "genotype.json"}
    network = bars.packed.load(folder)
    said = network.predict(np.zeros((2, network.card["image_size"], network.card["image_size"], 3), np.uint8))
    assert said.shape == (2, len(network.classes))
    assert f"[a](networks/a) | {SEED} |" in (landed / "README.md").read_text()


@pytest.mark.parametrize("changed", ["network.bars", "model.json"])
def test_a_network_of_other_weights_is_told(copy: Path, capsys: pytest.CaptureFixture[str], changed: str) -> None:
    path = copy / "networks/a" / changed
    if changed == "model.json":
        card = json.loads(path.read_text())
        card["made_from"] = dict.fromkeys(card["made_from"], "0" * 64)
        path.write_text(json.dumps(card))
    else:
        path.write_bytes(path.read_bytes()[:-1])
    assert study.main("verify", str(copy)) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{copy}/networks/a is not what the records give"


def test_a_network_that_was_not_trained_is_refused(landed: Path, tmp_path: Path) -> None:
    project = landed.parent
    with contextlib.chdir(project), pytest.raises(RecordError, match="no result of b"):
        study.main("networks", "results", "params.yaml", str(tmp_path), "b")


def test_a_changed_record_is_refused(copy: Path) -> None:
    found = next(copy.rglob("candidates.csv"))
    found.write_text(found.read_text() + "\n")
    with pytest.raises(RecordError, match="does not chain"):
        study.main("verify", str(copy))


def test_tensors_are_needed_where_they_should_be(copy: Path) -> None:
    from bars.pipeline.provenance import verify_chain

    metrics = next(copy.rglob("metrics.json"))
    with pytest.raises(RecordError, match="missing"):
        verify_chain(metrics, copy / "records")
    assert len(verify_chain(metrics, copy / "records", tensors=False)) > 5


def test_a_study_may_be_older_than_a_parameter_but_not_of_another_value(copy: Path) -> None:
    text = (copy / "params.yaml").read_text()
    for stage, key, value in (("search", "alpha_every", 2), ("retrain", "label_smoothing", 0.5)):
        tree = yaml.safe_load(text)
        tree["defaults"].setdefault(stage, {})[key] = value
        for e in tree["experiments"].values():
            for layer in e.values():
                (layer or {}).get(stage, {}).pop(key, None)
        (copy / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        with pytest.raises(RecordError, match="other parameters"):
            study.main("verify", str(copy))
    (copy / "params.yaml").write_text(text)
    _forget(copy, "search", "alpha_every")
    assert study.main("verify", str(copy)) == 0


def _forget(copy: Path, stage: str, key: str) -> None:
    """As if the record had been written before the parameter came, with the hashes of what follows from it."""
    for path in copy.rglob(f"{stage}/provenance.json"):
        record = json.loads(path.read_text())
        record["params"][stage].pop(key)
        record["params_sha256"] = sha256_json(record["params"])
        path.write_text(json.dumps(record))


def test_a_picture_may_differ_in_shades_but_not_in_what_it_shows(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another processor may round the edge of a line differently."""
    picture = next(iter(sorted(copy.glob("*.png"))))
    with Image.open(picture) as opened:
        pixels = np.array(opened.convert("RGB"))
    shaded = np.clip(pixels.astype(int) - 8, 0, 255).astype(np.uint8)
    Image.fromarray(shaded).save(picture)
    assert study.main("verify", str(copy)) == 0
    height, width, _ = pixels.shape
    pixels[: height // 10, : width // 10] = 255 - pixels[: height // 10, : width // 10]
    for wrong in (pixels, pixels[:, 1:]):
        Image.fromarray(wrong).save(picture)
        capsys.readouterr()
        assert study.main("verify", str(copy)) == 1
        assert capsys.readouterr().out == f"{picture} is not what the records give\n"
