"""What bars doctor says about what killed runs left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bars.commands.leftovers import DVC_LOCK, SNAKEMAKE_LOCKS, leftovers

CHECKPOINTS = Path(".bars/checkpoints")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def found() -> dict[str, tuple[str, str]]:
    return {left.subject: (left.level, left.text) for left in leftovers(Path("results"), CHECKPOINTS)}


def test_a_clean_folder_has_none() -> None:
    assert found() == {}


def test_a_stale_lock_of_snakemake_would_stop_a_run() -> None:
    SNAKEMAKE_LOCKS.mkdir(parents=True)
    assert found() == {}
    (SNAKEMAKE_LOCKS / "0.input.lock").write_text("a\n")
    level, text = found()["snakemake"]
    assert level == "stop"
    assert "snakemake --unlock" in text


def test_a_lock_of_a_running_snakemake_is_only_told() -> None:
    SNAKEMAKE_LOCKS.mkdir(parents=True)
    (SNAKEMAKE_LOCKS / "0.input.lock").write_text("a\n")
    Path("snakemake").write_text("import sys, time; print('up', flush=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "snakemake"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        level, text = found()["snakemake"]
        assert level == "note"
        assert str(process.pid) in text
    finally:
        process.kill()
        process.communicate()


def test_a_lock_of_dvc_that_was_cut_short_would_stop_a_run() -> None:
    DVC_LOCK.parent.mkdir(parents=True)
    DVC_LOCK.write_text("{}")
    assert found() == {}
    DVC_LOCK.write_text('{"read": {"a')
    level, text = found()["dvc"]
    assert level == "stop"
    assert str(DVC_LOCK) in text


def test_temporaries_and_checkpoints_are_told() -> None:
    for name in ("results/smoke/searched/a/seed-0/search.tmp-9", "results/smoke/data/cifar10.tmp-9", "figures"):
        Path(name).mkdir(parents=True)
    for name in ("results/.table2.csv.tmp-9", "figures/.fig1.png.tmp-9"):
        Path(name).write_text("")
    (CHECKPOINTS / "abc").mkdir(parents=True)
    (CHECKPOINTS / "abc/state.pt").write_bytes(b"x" * 2**20)
    assert {level for level, _ in found().values()} == {"note"}
    assert "and 1 more" in found()["left over"][1]
    assert "1 of interrupted stages, 1.0 MiB" in found()["checkpoints"][1]
