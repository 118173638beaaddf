"""Times against operations: the divisor that was planted comes out, and tables say what was timed, on what."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bars.errors import RecordError
from bars.pipeline.latency_record import Latency, Spread
from bars.pipeline.records import read_record
from bars.report.tables import make_table
from bars.report.tables.claims.catalogue import DOZENS, claims
from bars.report.tables.claims.quantities import Quantities
from bars.report.timed import LEAST, MOST, Timed, best, convention
from tests.report.conftest import PARAMS, Tree


def network(name: str, flops: int, biops: int, ms: float) -> Timed:
    return Timed(name, 0, "cifar10", True, flops, biops, 0.9, Spread(median=ms, low=ms, high=ms))


OPERATIONS = [(10, 64_000), (500, 6_400), (2_000, 640), (90, 90_000), (7_000, 1_000)]


@pytest.mark.parametrize("divisor", [8.0, 41.0, 900.0])
def test_the_planted_divisor_fits_best(divisor: float) -> None:
    networks = [network(str(i), f, b, 3e-4 * (f + b / divisor)) for i, (f, b) in enumerate(OPERATIONS)]
    found = best(networks, 0.95)
    assert found.divisor == pytest.approx(divisor, rel=1e-2)
    assert found.missed_by == pytest.approx(1.0, abs=1e-3)
    assert found.spearman == pytest.approx(1.0)
    assert found.low is not None and found.high is not None
    assert found.low * 0.9 < divisor < found.high * 1.1
    assert convention(networks, 2 * divisor).missed_by > 1.01


def test_of_few_networks_there_is_no_interval() -> None:
    """Drawn with replacement, three networks come to three different ones in one way only."""
    networks = [network(str(i), f, b, 3e-4 * (f + b / 41)) for i, (f, b) in enumerate(OPERATIONS)]
    for count, known in ((3, False), (4, False), (5, True)):
        found = best(networks[:count], 0.95)
        assert (found.low is not None, found.high is not None) == (known, known)


def test_rank_correlations_are_counted_over_pairs() -> None:
    times = [3.0, 1.0, 2.0, 5.0, 4.0]
    networks = [network(str(i), f, b, t) for i, ((f, b), t) in enumerate(zip(OPERATIONS, times, strict=True))]
    operations = [f + b / 64 for f, b in OPERATIONS]
    pairs = list(itertools.combinations(range(5), 2))
    agreeing = sum((operations[i] < operations[j]) == (times[i] < times[j]) for i, j in pairs)
    ranks = [[sorted(v).index(x) for x in v] for v in (operations, times)]
    squares = sum((a - b) ** 2 for a, b in zip(*ranks, strict=True))
    found = convention(networks, 64)
    assert found.kendall == pytest.approx(2 * agreeing / len(pairs) - 1)
    assert found.spearman == pytest.approx(1 - 6 * squares / (5 * 24))
    assert found.n == 5


def test_a_divisor_beyond_the_range_ends_at_its_edge() -> None:
    free = [network(str(i), f, b, f) for i, (f, b) in enumerate(OPERATIONS)]  # as if bits cost nothing
    assert best(free, 0.95).divisor == pytest.approx(MOST, rel=1e-2)
    dear = [network(str(i), f, b, b) for i, (f, b) in enumerate(OPERATIONS)]
    assert best(dear, 0.95).divisor == pytest.approx(LEAST, rel=1e-2)


# ------------------------------------------------------------------------------------------------------ Table 2
def rows(tree: Tree) -> dict[str, Any]:
    return {str(row["experiment"]): row for row in made(tree).rows}


def made(tree: Tree) -> Any:
    return make_table("table2", tree.params, None, tree.folder)


def test_table2_has_times_files_and_what_they_were_taken_on(tree: Tree) -> None:
    for name in ("bars-b", "nin-xnor", "resnet18-xnor"):
        tree.top1(name, [0.8, 0.9, 0.85])
    tree.latency({"bars-b": 0.25, "nin-xnor": 0.5}, speedup=6.5)
    found = rows(tree)["bars-b"]
    assert (found["packed_ms"], found["packed_speedup"], found["packed_bytes"]) == (0.25, 6.5, 12_345)
    assert (found["packed_ms_low"], found["torch_ms"], found["latency_seed"]) == (pytest.approx(0.225), 5.0, 0)
    assert (found["packed_same_class"], found["packed_images"]) == (63, 64)
    text = made(tree).markdown()
    assert "| 0.25 | 6.50 | 12.35 |" in next(line for line in text.splitlines() if "BARS-B" in line)
    assert "A planted CPU (avx2), 1 thread(s), processor time, load average 0.5 before, 5 rounds; torch 2.0" in text
    assert "Of 128 training images" in text and "126 got the same class" in text
    assert rows(tree)["resnet18-xnor"]["packed_ms"] is None


def test_a_network_without_a_packed_form_says_why(tree: Tree) -> None:
    tree.top1("resnet18-xnor", [0.9])
    tree.latency({"resnet18-xnor": 1.0})
    path = tree.folder / "tiny/latency/latency.json"
    record = json.loads(path.read_text())
    record["networks"][0] |= {"packed_bytes": None, "reason": "nothing in it is binary", "packed_check": None}
    record["networks"][0]["times"][0] |= {"speedup": None}
    del record["networks"][0]["times"][0]["ms_per_image"]["packed"]
    path.write_text(json.dumps(record))
    found = rows(tree)["resnet18-xnor"]
    assert found["note"].endswith("not packed: nothing in it is binary")
    assert (found["packed_ms"], found["openvino_float_ms"]) == (None, 5.0)


def test_without_times_the_cells_are_dashes(tree: Tree, tmp_path: Path) -> None:
    tree.top1("bars-b", [0.9])
    line = next(line for line in made(tree).markdown().splitlines() if "BARS-B" in line)
    assert "| 1/3 | – | – | – |" in line
    assert "none were taken" in made(tree).markdown()
    older = yaml.safe_load(PARAMS.read_text())  # a study from before there was such a block
    del older["defaults"]["latency"]
    (tmp_path / "older.yaml").write_text(yaml.safe_dump(older))
    before = Tree(tree.folder, params=tmp_path / "older.yaml")
    assert before.grid.latency is None
    assert "none were taken" in made(before).markdown()


def test_times_of_another_network_are_refused(tree: Tree) -> None:
    tree.top1("bars-b", [0.9])
    tree.latency({"bars-b": 0.25})
    tree.metrics("bars-b", 0, checkpoint_sha256="0" * 64)
    with pytest.raises(RecordError, match="times of another network") as caught:
        made(tree)
    assert "bars-b, seed 0" in str(caught.value)


def test_times_of_another_scale_are_refused(tree: Tree) -> None:
    tree.top1("bars-b", [0.9])
    tree.latency({"bars-b": 0.25}, scale="paper")
    with pytest.raises(RecordError, match="another run"):
        made(tree)


# ------------------------------------------------------------------------------------------------------ the record
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["networks"].append(r["networks"][0]), "stands twice"),
        (lambda r: r["networks"][0]["times"].append(r["networks"][0]["times"][0]), "a batch size stands twice"),
        (lambda r: r["networks"][0]["times"][0]["ms_per_image"]["packed"].update(low=9.0), "outside of the quartiles"),
        (lambda r: r["networks"][0]["times"][0]["ms_per_image"]["packed"].update(low=-1.0), "low"),
        (lambda r: r["networks"][0]["times"][0].update(speedup=None), "speedup is of the packed network"),
        (lambda r: r["networks"][0]["times"][0]["ms_per_image"].update(onnx={}), "onnx"),
        (lambda r: r.update(format="bars-latency/9"), "format"),
        (lambda r: r.update(machine=None), "machine"),
    ],
)
def test_a_record_that_cannot_be_is_refused_with_its_file(tree: Tree, change: Any, said: str) -> None:
    tree.latency({"bars-b": 0.25})
    path = tree.folder / "tiny/latency/latency.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RecordError, match=said) as caught:
        read_record(path, Latency)
    assert str(path) in str(caught.value)


# ------------------------------------------------------------------------------------------------------ the claim
@pytest.mark.parametrize(
    ("speedup", "verdict"), [(DOZENS + 1, "supported"), (DOZENS - 1, "not supported"), (None, "not tested")]
)
def test_the_claim_of_acceleration_is_judged_by_the_gain_over_floats(
    tree: Tree, speedup: float | None, verdict: str
) -> None:
    for name in ("bars-a", "bars-b"):
        tree.top1(name, [0.9])
    if speedup is not None:
        tree.latency({"bars-a": 0.2, "bars-b": 0.25}, speedup=speedup)
    row = next(claim for claim in claims() if claim.id == "acceleration").row(Quantities(tree.results))
    assert row["verdict"] == verdict
    if speedup is not None:
        assert (row["value"], row["n"], row["data_set"]) == (pytest.approx(speedup), 2, "cifar10")
        assert "A planted CPU" in str(row["why"])
    else:
        assert "no times were taken" in str(row["why"])


def test_one_network_is_too_few_to_judge_by(tree: Tree) -> None:
    tree.top1("bars-b", [0.9])
    tree.latency({"bars-b": 0.25}, speedup=50.0)
    row = next(claim for claim in claims() if claim.id == "acceleration").row(Quantities(tree.results))
    assert row["verdict"] == "not tested"
