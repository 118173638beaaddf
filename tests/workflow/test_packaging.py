"""pyproject.toml, the lock and environment.yml say the same; the catalogue's files are there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import distribution

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.workflow.planning import ROOT
from workflow.scripts import environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def marked(requirement: Requirement) -> bool:
    """Whether it is for this machine."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def pins(lines: list[str]) -> dict[str, str]:
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*]+", str(r.specifier)) for r in found)
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in found if marked(r)}


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    return pins((ROOT / "requirements.lock").read_text().splitlines())


@pytest.fixture(scope="module")
def direct() -> list[Requirement]:
    """Direct requirements, the dev extra with the extras of the package that it names."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name in extras for line in extras[name])]
    return [r for r in map(Requirement, lines) if r.name != PROJECT["name"]]


def test_the_lock_meets_every_direct_requirement(lock: dict[str, str], direct: list[Requirement]) -> None:
    for requirement in direct:
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), requirement


def test_the_lock_is_closed(lock: dict[str, str]) -> None:
    """Whatever a locked distribution requires here is locked too, at a version that it accepts."""
    for name in lock:
        try:
            requires = distribution(name).requires or []
        except ModuleNotFoundError:  # another platform's
            continue
        for requirement in map(Requirement, requires):
            if marked(requirement):
                pinned = lock.get(canonicalize_name(requirement.name))
                assert pinned is not None, f"{name} requires {requirement.name}, which the lock lacks"
                assert requirement.specifier.contains(pinned, prereleases=True), f"{name} requires {requirement}"


def test_environment_yml_is_what_pyproject_says() -> None:
    assert (ROOT / "environment.yml").read_text() == environment.environment()
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert any(line.startswith("pytorch<") for line in conda)
    assert all("types-" in line or "-stubs" in line for line in pip["pip"])


def test_the_metadata_names_the_pythons_that_are_allowed() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    named = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: 3." in line}
    assert named == {f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed}


def test_a_wheel_carries_what_the_workflow_needs() -> None:
    carried = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert carried["packages"] == ["bars"]
    for source, target in carried["force-include"].items():
        assert (ROOT / source).exists()
        assert target == f"bars/project/{source}"
    assert {"params.yaml", "workflow", "genotypes", "profiles", "environment.yml"} <= set(carried["force-include"])


def test_the_versions_agree() -> None:
    import bars

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == bars.__version__
    assert PROJECT["license"] == citation["license"] == "MIT"


def test_make_says_what_it_can_do() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 127:
        pytest.skip("no make here")
    for target in ("main", "test", "lint", "dvc", "report", "adopt", "clean", "all"):
        assert re.search(rf"^{target} ", done.stdout, re.MULTILINE)


def test_the_files_of_the_workflow_catalogue_are_there() -> None:
    for name in (".snakemake-workflow-catalog.yml", "config/README.md", "workflow/Snakefile", "LICENSE"):
        assert (ROOT / name).is_file(), name
    assert all(path.suffix == ".smk" for path in (ROOT / "workflow/rules").iterdir())


def test_the_readme_says_what_the_catalogue_looks_for() -> None:
    text = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in text
    assert "workflow" in text


def test_outputs_are_not_tracked() -> None:
    ignored = [
        "results/table2.csv",
        "results/smoke/data/x/split.json",
        "figures/fig1.pdf",
        ".venv/x",
        "logs/x",
        ".bars/x",
    ]
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    for path in ignored:
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0, path
    for path in ("results/README.md", "figures/README.md", "dvc.lock"):
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 1, path


def test_the_documented_installs_name_this_distribution() -> None:
    """Another project owns the name `bars` on PyPI: a text that says to install it fetches a stranger's code."""
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Containerfile"]
    for folder in ("docs", "bars", "workflow"):
        texts += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".md", ".py", ".smk", ".yaml")]
    named = re.compile(r"pip install [^\n]*?\b(bars[\w-]*)\[([\w,]+)\]")
    found = [match for path in texts for match in named.findall(path.read_text(encoding="utf-8"))]
    assert {name for name, _ in found} == {PROJECT["name"]}
    assert {extra for _, extras in found for extra in extras.split(",")} <= set(PROJECT["optional-dependencies"])
