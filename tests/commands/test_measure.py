"""``bars latency`` without a model: files in, one record out, and what is refused before any work."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bars.pipeline import latency
from bars.pipeline.experiments import Grid
from bars.pipeline.latency_record import Latency
from bars.pipeline.load import load_params
from bars.pipeline.provenance import verify_inputs
from bars.pipeline.records import read_metrics, read_record
from tests.calling import call
from tests.grids import TREE, edited

pytest.importorskip("openvino")
pytestmark = pytest.mark.xdist_group("measure")
TIMES = {"networks": ["mine", "mine"], "rounds": 2, "round_ms": 0.1, "throughput_batch": 4, "checked_images": 10}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained and evaluated network of a given genotype: it needs no search."""
    from bars.cost import uniform_genotype
    from bars.space import SearchSpace

    folder = tmp_path_factory.mktemp("measure")
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    space = SearchSpace.from_params(Grid(load_params(folder / "params.yaml"))["a"].space)
    mine = {"slot": "cifar10", "genotype": uniform_genotype(space, "binary_conv_3x3", 1, 1.0).to_json()}
    edits = {"scales/tiny/seeds": [0], "scales/tiny/latency": TIMES, "experiments/ablations/mine": mine}
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, edits), sort_keys=False))
    with contextlib.chdir(folder):
        for words in (["data", "cifar10"], *([s, "mine", "--seed", "0"] for s in ("derive", "retrain", "evaluate"))):
            status, err = call(*words)
            assert status == 0, err
    return folder


@pytest.fixture
def folder(evaluated: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(evaluated, tmp_path / "study")
    with contextlib.chdir(tmp_path / "study"):
        yield tmp_path / "study"


def test_one_record_of_all_networks_that_chains_back_to_the_data(folder: Path) -> None:
    status, err = call("latency")
    assert status == 0, err
    grid = Grid(load_params("params.yaml"))
    found = read_record(folder / "results/tiny/latency/latency.json", Latency)
    (network,) = found.networks  # named twice, timed once
    assert (network.experiment, network.seed, network.reason) == ("mine", 0, "")
    metrics = read_metrics(folder / "results" / grid["mine"].file("evaluate", "metrics.json", 0))
    assert network.checkpoint_sha256 == metrics.checkpoint_sha256
    assert [times.batch for times in network.times] == [1, 4]
    for times in network.times:
        assert set(times.ms_per_image) == {"packed", "openvino float", "onnxruntime float", "torch"}
        assert times.speedup is not None
    assert network.packed_check is not None
    assert network.packed_check.images == 10
    assert network.packed_bytes is not None and network.float_bytes is not None
    assert network.packed_bytes < network.float_bytes
    assert (found.rounds, found.threads, len(found.cores)) == (2, 1, 1)
    assert found.machine["cpu"] and found.machine["openvino"][0].isdigit()
    assert "tiny/latency/latency.json" in verify_inputs(folder / "results", ["tiny/latency/latency.json"])
    provenance = json.loads((folder / "results/tiny/latency/provenance.json").read_text())
    assert set(provenance["inputs"]) == set(latency.all_inputs(grid))
    assert not list((folder / "results/tiny").glob("latency.tmp-*"))


@pytest.mark.parametrize(
    ("edits", "words", "said"),
    [
        ({}, ["latency", "--rounds", "3"], "without a model the params file says"),
        ({"scales/tiny/latency/networks": ["a", "min"]}, ["latency"], "no such experiment"),
        ({"scales/tiny/latency/networks": ["a"]}, ["latency"], "an input is missing"),
        ({"scales/tiny/latency/threads": 4096}, ["latency"], "fewer cores than threads"),
        ({"scales/tiny/latency/rounds": 1}, ["latency"], "rounds"),
        ({"scales/tiny/latency/networks": []}, ["latency"], "no network is timed at this scale"),
        ({"scales/tiny/slots/cifar10/latency": {"rounds": 3}}, ["latency"], "latency"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    folder: Path, edits: dict[str, object], words: list[str], said: str
) -> None:
    tree = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(tree, edits), sort_keys=False))
    status, err = call(*words)
    assert status == 2, err
    assert said in err
    assert "Traceback" not in err
    assert not (folder / "results/tiny/latency").exists()


def test_an_altered_checkpoint_is_refused(folder: Path) -> None:
    (path,) = Path("results").rglob("checkpoint.pt")
    path.write_bytes(path.read_bytes()[:-7])
    status, err = call("latency")
    assert status == 2
    assert "does not chain" in err
