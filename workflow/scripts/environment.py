"""Write environment.yml from pyproject.toml: the package's requirements and extras, from conda; type stubs by pip.

Usage: python workflow/scripts/environment.py
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
HEADER = """\
# The requirements of pyproject.toml, from conda what conda has. Written by `make lock`; a test compares the two.
# Ranges and not pins: conda solves them for this machine. requirements.lock has one set that was tried.
# Self-contained (no -r, no -e), because Snakemake copies this file when it makes an environment of it (--sdm conda).
name: bars
channels:
  - conda-forge
  - bioconda    # Snakemake, its plugins and its formatter
  - nodefaults
dependencies:
"""


def requirements() -> list[Requirement]:
    """Everything pyproject.toml names, without the package's own extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in extras for line in extras[name])]
    found = [Requirement(line) for line in dict.fromkeys(lines)]  # extras may share some
    return sorted((r for r in found if r.name != project["name"]), key=lambda r: r.name.lower())


def only_on_pypi(name: str) -> bool:
    """Type stubs, which only developers need."""
    return name.startswith("types-") or name.endswith("-stubs")


def environment() -> str:
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    conda = [f"  - python{python}", "  - pip"]
    conda += [
        f"  - {CONDA_NAMES.get(r.name, r.name).lower()}{r.specifier}"
        for r in requirements()
        if not only_on_pypi(r.name)
    ]
    pip = [f"      - {r.name}{r.specifier}" for r in requirements() if only_on_pypi(r.name)]
    return HEADER + "\n".join([*conda, "  - pip:", *pip]) + "\n"


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment())
