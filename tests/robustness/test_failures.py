"""A full disk, a folder that cannot be written, a loader process that dies: one message, status 2, nothing damaged."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from scripts import kill_test
from tests.calling import call
from tests.grids import TREE, edited

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("failures")


def one_message(err: str) -> str:
    """The message of an error, which is told once and without a traceback."""
    assert "Traceback" not in err
    messages = [line for line in err.splitlines() if line.startswith("bars ")]
    assert len(messages) == 1, err
    return err[err.index(messages[0]) :]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished search and training."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    with contextlib.chdir(folder):
        for words in ("data cifar10", "search a --seed 0", "derive a --seed 0", "retrain a --seed 0"):
            status, err = call(*words.split())
            assert status == 0, err
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it to damage."""
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    with contextlib.chdir(tmp_path / "run"):
        yield tmp_path / "run"


def no_space(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ----------------------------------------------------------------------------------------------------- full disk
WRITES = ["os.fsync", "os.replace", "os.rename", "torch.save", "os.mkdir", "pathlib.Path.replace"]


@pytest.mark.parametrize(
    ("stage", "what"), [*(("search", what) for what in WRITES), *(("evaluate", what) for what in WRITES[:3])]
)
def test_a_full_disk_is_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, stage: str) -> None:
    """Wherever the write fails, what was there before is still there, whole; with room again the stage runs."""
    before = kill_test.fingerprint(folder, "results")
    monkeypatch.setattr(what, no_space)
    status, err = call(stage, "a", "--seed", "0")
    monkeypatch.undo()
    if status == 0:
        assert (what, stage) in {
            ("torch.save", "evaluate"),
            ("pathlib.Path.replace", "evaluate"),
        }  # it never calls this
        return
    assert status == 2, err
    message = one_message(err)
    assert "cannot write" in message
    assert "No space left on device" in message
    assert "disk" in message
    found = kill_test.fingerprint(folder, "results")
    assert {name: found[name] for name in before} == before
    assert not list(kill_test.broken(folder, found))


def test_a_limit_of_the_kernel_is_one_message_too(folder: Path) -> None:
    """Not simulated: no file may grow beyond 20 kB."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "from bars.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    before = kill_test.fingerprint(folder, "results")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "search", "a", "--seed", "3"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "File too large" in one_message(done.stderr)
    assert kill_test.fingerprint(folder, "results") == before
    assert call("search", "a", "--seed", "3")[0] == 0


# ----------------------------------------------------------------------------------------------------- no rights
@pytest.mark.parametrize("command", ["data cifar10", "search a --seed 0", "export a --seed 0 --out params.yaml/out"])
def test_results_below_a_file_are_one_message(folder: Path, command: str) -> None:
    results = () if command.startswith("export") else ("--results", "params.yaml/results")
    status, err = call(*command.split(), *results)
    assert status == 2, err
    assert "params.yaml" in one_message(err)
    assert (folder / "params.yaml").is_file()


@pytest.mark.parametrize("stage", ["data cifar10", "search a --seed 0", "evaluate a --seed 0"])
def test_a_read_only_file_system_is_found_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A probe fails at once, not after hours; simulated, since root may write everywhere."""

    def read_only(self: Path, *args: Any, **kwargs: Any) -> None:
        if "results" in self.parts and not self.exists():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        os.makedirs(self, exist_ok=True)

    monkeypatch.setattr(Path, "mkdir", read_only)
    start = time.monotonic()
    status, err = call(*stage.split())
    assert status == 2, err
    assert "Read-only file system" in one_message(err)
    assert "epoch" not in err
    assert time.monotonic() - start < 10


def test_locks_that_cannot_be_written_are_one_message(folder: Path) -> None:
    shutil.rmtree(folder / ".bars")
    (folder / ".bars").write_text("in the way")
    status, err = call("search", "a", "--seed", "0")
    assert status == 2, err
    assert ".bars/locks" in one_message(err)


# ----------------------------------------------------------------------------------------------------- loader
def test_a_killed_loader_process_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 4)):
        for label in ("a", "b"):
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / label / f"{i}.png")
    streamed = {"source": "imagefolder", "path": "images", "image_size": 8, "in_memory": "never", "workers": 1}
    edits = {"scales/tiny/slots/cifar10/data": streamed, "experiments/searched/a/search/epochs": 500}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(edited(TREE, edits), sort_keys=False))
    monkeypatch.chdir(tmp_path)
    assert call("data", "cifar10")[0] == 0
    own = psutil.Process()
    before = {child.pid for child in own.children()}

    def kill_a_worker() -> None:
        for _ in range(2000):
            time.sleep(0.01)
            for child in own.children():
                with contextlib.suppress(psutil.Error):
                    if child.pid not in before and Path(".bars/checkpoints").exists():
                        child.kill()
                        return

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    status, err = call("retrain", "r18", "--seed", "0")
    killer.join()
    assert status == 2, err
    message = one_message(err)
    assert "a loader process died" in message
    assert "lower data.workers" in message
    assert not list((tmp_path / "results").rglob("retrain"))
