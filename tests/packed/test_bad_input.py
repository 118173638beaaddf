"""Every bad model file or image is one message that names it, and exit status 2; files are written whole or not."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bars.cli import main
from bars.packed import file

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")


def rewritten(path: Path, change: Callable[[dict[str, Any], Any], None], where: Path, *, rehash: bool = False) -> Path:
    """A model file with its card and graph changed; ``rehash``: the graph's own hash follows, as a foreign writer's."""
    import hashlib

    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read(file.CARD))
        model = onnx.load_from_string(archive.read(file.GRAPH))
    change(card, model)
    graph = model.SerializeToString(deterministic=True)
    if rehash:
        card["graph_sha256"] = hashlib.sha256(graph).hexdigest()
    with zipfile.ZipFile(where, "w") as archive:
        archive.writestr(file.CARD, json.dumps(card))
        archive.writestr(file.GRAPH, graph)
    return where


def turned(card: dict[str, Any], model: Any) -> None:
    """Every byte of weights from the highest bit down."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.UINT8:
            bits = np.unpackbits(onnx.numpy_helper.to_array(tensor), bitorder="little")
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.packbits(bits, bitorder="big"), tensor.name))


def other_format(card: dict[str, Any], model: Any) -> None:
    card["format"] = "bars-packed/9"


def no_classes(card: dict[str, Any], model: Any) -> None:
    del card["classes"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one message with which a command refuses."""
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(
    ("change", "rehash", "said"),
    [
        (turned, True, "bits in another order"),
        (turned, False, "not the one that was written"),
        (other_format, False, "of another format"),
        (no_classes, False, "classes"),
    ],
)
def test_an_altered_file(
    exported: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any], Any], None],
    rehash: bool,
    said: str,
) -> None:
    path = rewritten(exported / "network.bars", change, tmp_path / "altered.bars", rehash=rehash)
    err = refused(capsys, "predict", path, image)
    assert said in err
    assert str(path) in err


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float) -> None:
    whole = (exported / "network.bars").read_bytes()
    path = tmp_path / "cut.bars"
    path.write_bytes(whole[: int(share * len(whole))])
    assert "truncated, damaged or of another program" in refused(capsys, "latency", path)


def test_a_flipped_byte_anywhere_is_found(exported: Path, tmp_path: Path) -> None:
    whole = (exported / "network.bars").read_bytes()
    path = tmp_path / "flipped.bars"
    with zipfile.ZipFile(exported / "network.bars") as archive:
        info = archive.getinfo(file.GRAPH)
    for place in np.linspace(info.header_offset + 60, info.header_offset + info.compress_size, 12).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(file.PackedError, match="truncated, damaged"):
            file.read(path)


def test_foreign_and_missing_files(
    exported: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "this is no packed network" in refused(capsys, "predict", foreign, image)
    assert "cannot be read" in refused(capsys, "predict", tmp_path / "none.bars", image)
    assert "cannot be read" in refused(capsys, "predict", tmp_path, image)
    bare = tmp_path / "bare.onnx"
    model = onnx.load(exported / "network.onnx")
    model.ClearField("metadata_props")
    onnx.save(model, bare)
    assert "without a card" in refused(capsys, "predict", bare, image)


def test_bad_images(exported: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:100])
    err = refused(capsys, "predict", exported, image, broken)
    assert "an image cannot be read" in err
    assert str(broken) in err
    assert "no such image" in refused(capsys, "predict", exported, tmp_path / "nobody.png")
    (tmp_path / "empty").mkdir()
    assert "no image in this folder" in refused(capsys, "predict", exported, tmp_path / "empty")


@pytest.mark.parametrize("words", [("--batch", 0), ("--threads", 100_000), ("--rounds", 1)])
def test_options_out_of_range(exported: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...]) -> None:
    assert words[0] in refused(capsys, "latency", exported, *words)


def test_predict_writes_csv_and_json(exported: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file and its folder; any size is cut and resized."""
    assert main(["predict", str(exported), str(image), str(image.parent)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["image"] for row in rows] == [str(image)] * 2
    assert sum(float(rows[0][name]) for name in ("cat", "dog", "ship")) == pytest.approx(1, abs=1e-5)
    assert rows[0][rows[0]["class"]] == rows[0]["probability"]
    assert main(["predict", "--json", str(exported), str(image)]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["class"], list(said["probabilities"])) == (rows[0]["class"], ["cat", "dog", "ship"])


def test_latency_names_every_runtime_and_the_machine(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", str(exported), "--batch", "2", "--rounds", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["ms_per_image"]["2"]) == {"packed", "openvino float", "onnxruntime float"}
    assert said["file_bytes"] == (exported / "network.bars").stat().st_size
    assert said["machine"]["cpu"]


def test_the_same_network_is_the_same_file(exported: Path, card: dict[str, Any], tmp_path: Path) -> None:
    _, model = file.read(exported / "network.bars")
    file.write(tmp_path / "again.bars", model, card)
    assert (tmp_path / "again.bars").read_bytes() == (exported / "network.bars").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.bars"]
