from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars.errors import BarsError, GenotypeError, RecordError
from bars.pipeline import records as rec
from bars.space import Genotype, SearchSpace, StageGenotype

SHA = "ab" * 32
finite = st.floats(allow_nan=False, allow_infinity=False)
METRICS: dict[str, Any] = {
    "format": "bars-metrics/1", "experiment": "a", "group": "searched", "scale": "smoke", "slot": "cifar10",
    "dataset": "digits", "seed": 0, "split": "test", "n_examples": 10, "top1": 0.7, "loss": 1.5, "flops": 64,
    "biops": 640, "params": 3, "equivalent_ops_64": 74.0, "equivalent_ops_32": 84.0, "fully_binarized": True,
    "float_parts": "", "search_status": "completed", "search_failures": [],
    "genotype_sha256": SHA, "split_sha256": SHA,
    "checkpoint_sha256": SHA,
}  # fmt: skip
SPACE = SearchSpace(2, 1, 2, (0.5, 1.0), ("binary_conv_3x3", "shortcut", "none"), "stage")


def genotype() -> Genotype:
    cells = {name: dict.fromkeys(SPACE.edges, "shortcut") for name in SPACE.all_types}
    return Genotype(SPACE, (StageGenotype(1, 1.0), StageGenotype(0, 0.5)), cells)


def candidate(index: int, chosen: bool) -> rec.Candidate:
    return rec.Candidate(
        index=index, genotype_sha256=genotype().sha256, valid_loss=0.1 + 0.2, valid_top1=1 / 3, biops=10, flops=5,
        params=2, thrown_away=3, chosen=chosen, argmax=False, genotype=genotype().to_json(),
    )  # fmt: skip


def search_row(epoch: int, value: float) -> rec.SearchEpoch:
    names = [n for n in rec.SearchEpoch.model_fields if n not in ("epoch", "shares")]
    return rec.SearchEpoch(epoch=epoch, **dict.fromkeys(names, value), shares={"shortcut": value, "none": 1 - value})


# ----------------------------------------------------------------------------------------------------- round trips
@given(values=st.lists(finite, min_size=1, max_size=3))
def test_epochs_round_trip_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("epochs") / "epochs.csv"
    rows = [search_row(i + 1, value) for i, value in enumerate(values)]
    rec.write_search_epochs(path, rows)
    assert rec.read_search_epochs(path) == rows
    shares = {"train_top1": 0.5, "flips": 0.25, "flip_rate": 0.125}
    trained = [rec.RetrainEpoch(epoch=i, lr=v, train_loss=v, **shares) for i, v in enumerate(values)]
    rec.write_retrain_epochs(path, trained)
    assert rec.read_retrain_epochs(path) == trained


def test_a_diverged_search_keeps_its_nan_and_may_have_no_epoch(tmp_path: Path) -> None:
    rec.write_search_epochs(tmp_path / "e.csv", [search_row(1, math.nan)])
    assert math.isnan(rec.read_search_epochs(tmp_path / "e.csv")[0].train_loss)
    rec.write_search_epochs(tmp_path / "e.csv", [], ("shortcut", "none"))
    assert rec.read_search_epochs(tmp_path / "e.csv") == []
    assert (tmp_path / "e.csv").read_text().strip().endswith("share_shortcut,share_none")


def test_candidates_round_trip(tmp_path: Path) -> None:
    unscored = candidate(2, False).model_copy(update={"valid_loss": None, "valid_top1": None})
    rows = [candidate(0, False), candidate(1, True), unscored]
    rec.write_candidates(tmp_path / "c.csv", rows)
    assert rec.read_candidates(tmp_path / "c.csv") == rows
    assert Genotype.from_json(rec.read_candidates(tmp_path / "c.csv")[1].genotype) == genotype()


@given(values=st.lists(finite, max_size=4))
def test_alphas_round_trip_and_the_same_rows_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("alphas")
    rows = [rec.AlphaRow(i, "op", "normal-1", 0, 1, "none", v, v) for i, v in enumerate(values)]
    for name in ("a", "b"):
        rec.write_alphas(folder / name, rows)
    assert rec.read_alphas(folder / "a") == rows
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


def test_json_records_round_trip(tmp_path: Path) -> None:
    metrics = rec.Metrics.model_validate(METRICS)
    rec.write_record(tmp_path / "m.json", metrics)
    assert rec.read_metrics(tmp_path / "m.json") == metrics
    assert json.loads((tmp_path / "m.json").read_text()) == {"class_top1": {}, **METRICS}
    rec.write_json(tmp_path / "g.json", genotype().to_json())
    assert rec.read_genotype(tmp_path / "g.json", SPACE) == genotype()


def test_parquet_is_written_and_read_without_pandas(tmp_path: Path) -> None:
    """Which pyarrow loads for its own conversions: a third of a second of every search and evaluation."""
    script = (
        "import sys, numpy; from pathlib import Path; from bars.pipeline import predictions, records\n"
        "here = Path(sys.argv[1]); numbers = numpy.arange(3)\n"
        "records.write_alphas(here / 'a', [records.AlphaRow(0, 'op', 'normal-1', 0, 1, 'none', 0.0, 1.0)])\n"
        "predictions.write_predictions(here, predictions.Predictions(numbers, numbers), ['a', 'b', 'c'])\n"
        "records.read_alphas(here / 'a'); predictions.read_predictions(here / 'predictions.parquet')\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_parquet_is_what_pyarrow_itself_writes(tmp_path: Path) -> None:
    rows = [rec.AlphaRow(i, "op", "Zelle-ü", i, 1, "none" * i, i / 3, -0.0) for i in range(3)]
    for some in (rows, []):
        rec.write_alphas(tmp_path / "a", some)
        types = [
            {int: pa.int32(), str: pa.string(), float: pa.float64()}[t] for t in get_type_hints(rec.AlphaRow).values()
        ]
        schema = pa.schema(zip(rec.AlphaRow._fields, types, strict=True))
        assert pq.read_table(tmp_path / "a").equals(pa.Table.from_pylist([row._asdict() for row in some], schema))


# ----------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("top1", 1.2, "top1: got 1.2, allowed a number >= 0.0 and <= 1.0"),
        ("top1", "high", "top1: got 'high'"),
        ("split", "valid", "split: got 'valid'"),
        ("n_examples", 0, "n_examples"),
        ("seed", -1, "seed"),
        ("biops", 640.5, "biops"),
        ("equivalent_ops_64", 75.0, "equivalent_ops_64 is not flops + biops / 64"),
        ("genotype_sha256", "xyz", "genotype_sha256"),
        ("colour", "red", "colour: no such key"),
        ("format", "bars-metrics/2", "format"),
        ("loss", None, "loss"),
    ],
)
def test_wrong_metrics_name_file_and_key(tmp_path: Path, key: str, value: Any, said: str) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({**METRICS, key: value}))
    with pytest.raises(RecordError, match="not valid") as caught:
        rec.read_metrics(tmp_path / "metrics.json")
    assert said in str(caught.value)
    assert "metrics.json" in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({k: v for k, v in METRICS.items() if k != "top1"}))
    with pytest.raises(RecordError, match="top1: missing"):
        rec.read_metrics(tmp_path / "m.json")


READERS: list[Callable[[Path], object]] = [
    rec.read_metrics, rec.read_distribution, rec.read_genotype, rec.read_search_epochs, rec.read_retrain_epochs,
    rec.read_candidates, rec.read_alphas,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [None, b"", b"\x00\xff\xfe", b"{", b"[1, 2]", b"a,b\n1,2\n", b"PAR1"])
def test_damaged_files_are_named(tmp_path: Path, read: Callable[[Path], object], content: bytes | None) -> None:
    path = tmp_path / "stage-file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((RecordError, GenotypeError)) as caught:
        read(path)
    assert isinstance(caught.value, BarsError)
    assert "stage-file" in str(caught.value)
    assert caught.value.do


def test_every_truncation_of_a_table_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    rec.write_candidates(path, [candidate(0, True), candidate(1, False)])
    whole = path.read_bytes()
    lines = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(0, len(whole), 37):
        if cut in lines:
            continue  # whole lines: the provenance's hash notices these
        path.write_bytes(whole[:cut])
        with pytest.raises(RecordError):
            rec.read_candidates(path)


def test_rows_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for row, said in (
        ("1,0.1,0.5,0.9,0.2,0.1,7", "another number of cells"),
        ("x,0.1,0.5,0.9,0.2,0.1", "epoch"),
        ("1,0.1,0.5,1.9,0.2,0.1", "train_top1"),
        ("1,,0.5,0.9,0.2,0.1", "lr"),
    ):
        path.write_text(f"epoch,lr,train_loss,train_top1,flips,flip_rate\n1,0.1,0.5,0.9,0.2,0.1\n{row}\n")
        with pytest.raises(RecordError, match=said) as caught:
            rec.read_retrain_epochs(path)
        assert "line 3" in str(caught.value)


@pytest.mark.parametrize("chosen", [[False, False], [True, True]])
def test_exactly_one_candidate_is_chosen(tmp_path: Path, chosen: list[bool]) -> None:
    rec.write_candidates(tmp_path / "c.csv", [candidate(i, c) for i, c in enumerate(chosen)])
    with pytest.raises(RecordError, match="exactly one"):
        rec.read_candidates(tmp_path / "c.csv")


def test_nan_does_not_get_into_json(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="JSON"):
        rec.write_json(tmp_path / "x.json", {"a": math.inf})
    assert not (tmp_path / "x.json").exists()


def test_an_edited_genotype_is_refused_with_its_file(tmp_path: Path) -> None:
    value = genotype().to_json()
    value["stages"][0]["depth"] = 0
    (tmp_path / "genotype.json").write_text(json.dumps(value))
    with pytest.raises(GenotypeError, match=r"genotype\.json: sha256"):
        rec.read_genotype(tmp_path / "genotype.json")


def test_a_flat_row_becomes_an_epoch() -> None:
    row = search_row(1, 0.25)
    flat = {**row.model_dump(exclude={"shares"}), "share_shortcut": 0.25, "share_none": 0.75}
    assert rec.search_epoch(flat) == row
