"""The benchmarks run, at sizes that say nothing about speed, and their arithmetic is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.memory import peak_mib
from benchmarks.options import Options
from benchmarks.pipeline import _nothing_to_do
from benchmarks.scaling import exponent

MIB = 2**20


def allocate() -> object:
    held = torch.ones(200 * MIB // 4)
    return lambda: held.add_(1)


def test_peak_memory_is_what_the_steps_hold() -> None:
    assert peak_mib(allocate, torch.device("cpu"), 1) == pytest.approx(200, abs=20)  # type: ignore[arg-type]


def test_exponents() -> None:
    assert exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)
    assert exponent([2, 3], [5, 5]) == pytest.approx(0)


def test_without_a_finished_run_the_drivers_are_not_timed(tmp_path: Path) -> None:
    (row,) = _nothing_to_do(Options(directory=tmp_path))
    assert "no finished run" in str(row["what"])


@pytest.mark.parametrize(
    ("name", "tables", "columns"),
    [
        ("train", 2, {"variant", "time over float", "times as fast as composed"}),
        ("data", 1, {"variant", "batches/s", "times as fast"}),
        ("scaling", 3, {"time ~ x^", "operations ~ x^"}),
        ("passes", 3, {"variant", "times as fast", "times the reference"}),
        ("latency", 2, {"packed [ms]", "torch [ms]", "times as fast as onnxruntime float", "packed [kB]"}),
    ],
)
def test_a_benchmark_prints_and_writes_its_tables(
    name: str, tables: int, columns: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--quick", "--rounds", "1", "--device", "cpu", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
    assert len({row["table"] for row in rows}) == tables
    assert columns <= {key for row in rows for key in row}
    assert capsys.readouterr().out.count(f"\n{name}: ") == tables
