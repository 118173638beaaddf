"""Results that were moved, touched, mixed or half removed between two stages: the next one goes on, or says why not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bars.pipeline.files import sha256_file
from tests.calling import call
from tests.grids import TREE

RUN = Path("results/tiny/searched/a/seed-3")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which experiment a was searched and derived at both seeds."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    with contextlib.chdir(folder):
        for words in ("data cifar10", *(f"{s} a --seed {n}" for n in (0, 3) for s in ("search", "derive"))):
            status, err = call(*words.split())
            assert status == 0, err
    return folder


@pytest.fixture
def here(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shutil.copytree(done, tmp_path / "study", symlinks=True))
    return Path.cwd()


def to_link(path: Path) -> None:
    path.rename("elsewhere")
    path.symlink_to("elsewhere")


def into_the_future(path: Path) -> None:
    for file in path.rglob("*"):
        os.utime(file, (4e9, 4e9))


GOES_ON: dict[str, tuple[Callable[[], object], str]] = {
    "a note among the results": (lambda: (RUN / "search/notes.txt").write_text("mine"), "derive a --seed 3"),
    "a folder of a process that is gone": (lambda: (RUN / "derive.tmp-999999999").mkdir(), "derive a --seed 3"),
    "all that is not a result lost": (lambda: shutil.rmtree(".bars"), "derive a --seed 3"),
    "results that were moved": (lambda: Path("results").rename("old"), "derive a --seed 3 --results old"),
    "results that are a link": (lambda: to_link(Path("results")), "derive a --seed 3"),
    "dates in the future": (lambda: into_the_future(Path("results")), "derive a --seed 3"),
    "dates of no meaning": (lambda: os.utime(RUN / "search/supernet.pt", (0, 0)), "derive a --seed 3"),
    "a lock that nobody holds": (
        lambda: Path(".bars/locks/0123456789abcdef.lock").write_text("1"),
        "derive a --seed 3",
    ),
    "a stage that was removed by hand": (lambda: shutil.rmtree(RUN / "derive"), "derive a --seed 3"),
    "another seed half removed": (lambda: shutil.rmtree("results/tiny/searched/a/seed-0/search"), "derive a --seed 3"),
    "a file in place of a stage's folder": (
        lambda: (shutil.rmtree(RUN / "derive"), (RUN / "derive").write_text("")),
        "derive a --seed 3",
    ),
}


@pytest.mark.parametrize("what", GOES_ON)
def test_it_goes_on_to_the_same_bytes(here: Path, done: Path, what: str) -> None:
    change, command = GOES_ON[what]
    change()
    status, err = call(*command.split())
    assert status == 0, err
    run = Path("old") / RUN.relative_to("results") if "--results" in command else RUN
    assert (run / "derive/genotype.json").read_bytes() == (done / RUN / "derive/genotype.json").read_bytes()
    assert not list(run.glob("*.tmp-*"))


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def corrected() -> None:
    """The genotype edited, and its hash in the provenance too."""
    path, record = RUN / "derive/genotype.json", RUN / "derive/provenance.json"
    edited(path, '"depth": ', '"depth": 0')
    content = json.loads(record.read_text())
    name = next(name for name in content["outputs"] if name.endswith("genotype.json"))
    content["outputs"][name] = sha256_file(path)
    record.write_text(json.dumps(content))


def of_seed_0(name: str) -> None:
    shutil.copy(Path("results/tiny/searched/a/seed-0") / name, RUN / name)


REFUSED: dict[str, tuple[Callable[[], object], str, str]] = {
    "a genotype edited by hand": (
        lambda: edited(RUN / "derive/genotype.json", "shortcut", "none"),
        "retrain a --seed 3",
        "does not chain",
    ),
    "its hash corrected too": (corrected, "retrain a --seed 3", "genotype.json"),
    "a genotype of another seed": (lambda: of_seed_0("derive/genotype.json"), "retrain a --seed 3", "does not chain"),
    "weights of another seed": (lambda: of_seed_0("search/supernet.pt"), "derive a --seed 3", "does not chain"),
    "a provenance of another seed": (
        lambda: of_seed_0("search/provenance.json"),
        "derive a --seed 3",
        "not written by its stage",
    ),
    "a folder in place of a file": (
        lambda: ((RUN / "search/supernet.pt").unlink(), (RUN / "search/supernet.pt").mkdir()),
        "derive a --seed 3",
        "supernet.pt",
    ),
    "a link to nothing": (
        lambda: ((RUN / "search/supernet.pt").unlink(), (RUN / "search/supernet.pt").symlink_to("gone")),
        "derive a --seed 3",
        "supernet.pt",
    ),
    "checkpoints that are a file": (
        lambda: (shutil.rmtree(".bars/checkpoints", ignore_errors=True), Path(".bars/checkpoints").write_text("")),
        "search a --seed 3",
        "checkpoints",
    ),
    "locks that are a file": (
        lambda: (shutil.rmtree(".bars/locks"), Path(".bars/locks").write_text("")),
        "search a --seed 3",
        "locks",
    ),
    "a split of other images": (
        lambda: edited(Path("results/tiny/data/cifar10/split.json"), '"train": [', '"train": [1437, '),
        "search a --seed 3",
        "does not chain",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_before_the_work_begins(here: Path, what: str) -> None:
    change, command, said = REFUSED[what]
    change()
    status, err = call(*command.split())
    assert status == 2, err
    assert said in err and "epoch 1" not in err and "Traceback" not in err
