"""docs/TUTORIAL.md does what it says, block by block; and the door for Python that it walks through."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bars.api import Run, open_study
from bars.errors import DataError, GenotypeError, GridError, RecordError
from bars.space import Genotype
from scripts.tutorial import ROOT, TUTORIAL, walk

LANDED = ROOT / "docs/results/cpu-cifar10-jpeg"


@pytest.fixture(scope="module")
def gone_through(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the tutorial was gone through, and the page with what was printed."""
    clone = tmp_path_factory.mktemp("clone")
    return clone / "tutorial", walk(TUTORIAL.read_text(encoding="utf-8"), clone)


@pytest.fixture
def folder(gone_through: tuple[Path, str]) -> Path:
    return gone_through[0]


def test_every_block_works_and_prints_what_stands_below_it(gone_through: tuple[Path, str]) -> None:
    """Where the page is right and the numbers moved: python scripts/tutorial.py."""
    folder, page = gone_through
    assert page == TUTORIAL.read_text(encoding="utf-8")
    printing = [block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "print(" in block]
    assert page.count("\n```text\n") == len(printing) > 9
    assert (folder / "results/smoke/searched/bars-a/seed-0/evaluate/metrics.json").is_file()


# ------------------------------------------------------------------------------------------------------ the door itself
@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The tutorial's own run."""
    monkeypatch.chdir(folder)
    return open_study("tutorial.yaml").run("bars-a")


def test_opening_and_listing_import_no_torch() -> None:
    script = (
        "import sys; from bars.api import open_study; study = open_study(scale='paper')\n"
        "study.cost('bars-b-printed'); study.runs(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"


def test_a_folder_is_a_study(folder: Path) -> None:
    """Records of a landed one, results of one that is being run."""
    assert open_study(LANDED).results.name == "records"
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own/params.yaml").write_text((folder / "tutorial.yaml").read_text())
    assert open_study(folder / "own").results == folder / "own/results"
    assert open_study(folder / "tutorial.yaml", results="here").results == Path("here")
    assert open_study(folder / "tutorial.yaml").results == Path("results")


def test_only_evaluated_runs_are_listed(run: Run) -> None:
    assert [(r.experiment.name, r.seed) for r in run.study.runs()] == [("bars-a", 0)]


def test_pixels_are_normalised_as_the_stages_normalise_them(run: Run) -> None:
    """The same images once as bytes, once as the split's part gives them."""
    from sklearn.datasets import load_digits

    from bars.data import load_source, read_split

    data = run.experiment.data
    split = read_split(run.study.results / "smoke/data/cifar10/split.json", data)
    images = load_source(data).test.load(list(split.test), data.image_size)
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    assert len(load_digits().images) > len(pixels) == 100
    (expected, _), *more = list(run.batches("test"))
    assert not more
    network = run.network()
    logits = network(expected).detach().double()
    assert np.allclose(run.predict(pixels), logits.softmax(1), atol=1e-5)
    assert np.allclose(run.predict(pixels[3]), run.predict(pixels)[3:4], atol=1e-5)


def test_a_network_with_its_own_genotype_has_the_counted_parameters(run: Run) -> None:
    study, drawn = run.study, run.draw(2, seed=3)
    assert drawn == run.draw(2, seed=3) and all(isinstance(g, Genotype) for g in drawn)
    for genotype in (*drawn, run.genotype):
        network = study.network("bars-a", genotype)
        assert sum(p.numel() for p in network.parameters()) == study.cost("bars-a", genotype).params
    assert study.cost("bars-a", run.genotype).biops == run.metrics.biops
    assert study.cost("resnet18-xnor").params == sum(p.numel() for p in study.network("resnet18-xnor").parameters())


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda r: r.study.run("bars-z"), GridError, "no such experiment"),
        (lambda r: r.study.run("bars-a", seed=7), GridError, "no seed 7"),
        (
            lambda _: open_study(LANDED.parents[2] / "params.yaml", scale="cpu").run("bars-d"),
            GridError,
            "is not run at scale cpu",
        ),
        (lambda r: r.study.network("bars-a"), GridError, "no architecture before it is derived"),
        (lambda r: r.study.cost("resnet18-xnor", r.genotype), GridError, "hand-made"),
        (lambda r: r.study.space("resnet18-xnor"), GridError, "no block space"),
        (lambda r: r.study.network("bars-d", r.genotype), GenotypeError, "another search space"),
        (lambda r: r.study.run("bars-b").metrics, RecordError, "metrics.json"),
        (lambda r: r.study.run("bars-b").network(), RecordError, "genotype.json"),
        (lambda r: r.study.run("resnet18-xnor").distribution, GridError, "has no stage search"),
        (lambda r: r.predict(np.zeros((2, 9, 9, 3), np.uint8)), DataError, "uint8 [n, 8, 8, 3]"),
        (lambda r: r.predict(np.zeros((2, 8, 8, 3))), DataError, "float64"),
    ],
)
def test_what_cannot_be_is_told_in_words(run: Run, ask: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        ask(run)
    assert said in str(caught.value)
