"""SIGKILL at random moments, then the same command again: the bytes of an undisturbed run.

The short form of scripts/kill_test.py, whose session of dozens of kills is in docs/ROBUSTNESS.md.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts import kill_test
from tests.grids import TREE, edited

pytestmark = pytest.mark.xdist_group("kill")
# Processes that have torch already: a kill then hits the work and not the imports.
context = multiprocessing.get_context("forkserver")
CHECKPOINT = ".bars/checkpoints/*/state.pt"
SLOWER = {"scales/tiny/experiments/a/search/epochs": 8, "scales/tiny/retrain/epochs": 12}


def work(folder: Path, *words: str) -> None:
    """One command of ``bars`` in a process of its own."""
    from bars.cli import main

    os.chdir(folder)
    with open(folder / "log", "a") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        status = main(words)
    os._exit(status)


def run(folder: Path, *words: str, kill_after: float | None = None, at_checkpoint: bool = False) -> float:
    """Seconds a command took; it is killed after a while (and after a checkpoint), or else must succeed."""
    process = context.Process(target=work, args=(folder, *words))
    start = time.monotonic()
    process.start()
    if kill_after is not None:
        process.join(kill_after)
        while at_checkpoint and process.is_alive() and not any(folder.glob(CHECKPOINT)):
            process.join(0.005)
        process.kill()
    process.join()
    assert kill_after is not None or process.exitcode == 0, (folder / "log").read_text()
    return time.monotonic() - start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    context.set_forkserver_preload(
        ["bars.cli", "bars.commands.run", "bars.stages.search", "bars.stages.retrain", "pyarrow.parquet"]
    )
    folder = tmp_path_factory.mktemp("kill")
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, SLOWER), sort_keys=False))
    run(folder, "data", "cifar10")
    run(folder, "cost", "a")
    yield folder


STAGES = ("search", "derive", "retrain", "evaluate")
SLOW = [pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES[1:]]


@pytest.mark.parametrize("stage", ["search", *SLOW])
def test_a_stage_killed_again_and_again_ends_with_the_same_bytes(folder: Path, stage: str) -> None:
    words = (stage, "a", "--seed", "0")
    made = folder / "results/tiny/searched/a/seed-0" / stage
    for before in STAGES[: STAGES.index(stage)]:
        if not (made.parent / before).exists():
            run(folder, before, *words[1:])
    seconds = run(folder, *words)
    reference = kill_test.fingerprint(folder, "results")
    rng = random.Random(stage)
    shutil.rmtree(made)
    for _ in range(2):
        run(folder, *words, kill_after=rng.uniform(0.3, 0.9) * seconds)
        assert not list(kill_test.broken(folder, reference))
    if stage == "search":
        run(folder, *words, kill_after=0, at_checkpoint=True)
        assert any(folder.glob(CHECKPOINT)) and not made.exists()
    run(folder, *words)
    assert kill_test.fingerprint(folder, "results") == reference
    assert not kill_test.unfinished(folder)
    assert not list((folder / ".bars/checkpoints").glob("*"))


def test_a_kill_while_a_folder_is_replaced_leaves_the_old_one_or_none(folder: Path, tmp_path: Path) -> None:
    """An older result is never mixed with a newer one: whatever has the final name is whole."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from bars.pipeline import files\n"
        "real, count = os.rename, [0]\n"
        "def rename(a, b):\n"
        "    count[0] += 1\n"
        "    if count[0] == int(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(a, b)\n"
        "os.rename = rename\n"
        "with files.atomic_directory(Path('stage')) as folder:\n"
        "    (folder / 'a').write_text('new'); (folder / 'b').write_text('new')\n"
    )
    for moment in (1, 2):
        made = tmp_path / "stage"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for name in "ab":
            (made / name).write_text("old")
        env = {**os.environ, "PYTHONPATH": str(kill_test.ROOT)}
        done = subprocess.run([sys.executable, "-c", code, str(moment)], cwd=tmp_path, env=env)
        assert done.returncode == -9
        found = {p.name: p.read_text() for p in made.iterdir()} if made.exists() else None
        assert found in (None, {"a": "old", "b": "old"})
        from bars.pipeline.files import atomic_directory

        with atomic_directory(made) as new:
            (new / "a").write_text("newer")
        assert [p.name for p in tmp_path.iterdir()] == ["stage"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_snakemake_run_is_unlocked_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    kill_test.copy_sources(tmp_path, None)
    target = f"results/{kill_test.RUN}/search/distribution.json"
    words = ("snakemake", "--cores", "2", target)
    session = kill_test.driver_session("snakemake", tmp_path, 1, random.Random(2), *words)
    assert session.problems == []
    assert session.kills == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_goes_on_after_dvc_was_killed(tmp_path: Path) -> None:
    """Neither the stage nor the Snakemake that DVC had started; the next `dvc repro` meets no lock."""
    kill_test.copy_sources(tmp_path, None)
    killed, seconds = kill_test.kill_after(tmp_path, 25, "dvc", "repro", "data", "runs@searched")
    assert killed
    assert seconds < 30
    assert not list((tmp_path / ".snakemake/locks").glob("*"))
    assert not list(kill_test.broken(tmp_path, kill_test.fingerprint(tmp_path, "results")))
