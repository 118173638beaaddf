"""Write requirements.lock and environment.yml from this environment: what pyproject.toml asks for, and its closure.

Usage: python workflow/scripts/lock.py    (in an environment made by ``pip install '.[dev]'`` that passed the tests)
"""

from __future__ import annotations

import tomllib
from collections import deque
from importlib.metadata import distribution
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# Wheels of the CUDA build of torch, which exist for Linux alone.
LINUX_ONLY = ("cuda-", "nvidia-", "triton")
LOCK_HEADER = """\
# The full closure of pyproject.toml with its dev extra, as pinned and tried on Linux with Python 3.11.
# Written by `make lock`; a test holds it to pyproject.toml and environment.yml.
"""
ENVIRONMENT_HEADER = """\
# The direct requirements of pyproject.toml, pinned as in requirements.lock. Written by `make lock`.
# Self-contained (no -r, no -e), because Snakemake copies this file when it makes an environment of it (--sdm conda).
name: bars
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def direct_requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """Requirements of the package and its dev extra, extras of the package itself expanded."""
    project = tomllib.loads(pyproject.read_text())["project"]
    queue = deque(Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    found: dict[str, Requirement] = {}
    while queue:
        requirement = queue.popleft()
        if requirement.name == project["name"]:
            for extra in requirement.extras:
                queue.extend(Requirement(line) for line in project["optional-dependencies"][extra])
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return [found[name] for name in sorted(found)]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Installed version of every distribution that the requirements reach on this machine."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = deque((canonicalize_name(r.name), extra) for r in requirements for extra in ("", *r.extras))
    while queue:
        name, extra = queue.popleft()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        installed = distribution(name)
        versions[name] = installed.version
        for line in installed.requires or ():
            child = Requirement(line)
            if applies(child.marker, extra):
                queue.extend((canonicalize_name(child.name), e) for e in ("", *child.extras))
    return dict(sorted(versions.items()))


def applies(marker: Marker | None, extra: str) -> bool:
    return marker is None or marker.evaluate({"extra": extra})


def pin(name: str, version: str) -> str:
    public = version.split("+")[0]
    return f"{name}=={public}" + ('; sys_platform == "linux"' if name.startswith(LINUX_ONLY) else "")


def main() -> None:
    direct = direct_requirements()
    versions = closure(direct)
    lock = "".join(pin(name, version) + "\n" for name, version in versions.items())
    (ROOT / "requirements.lock").write_text(LOCK_HEADER + lock)
    pins = "".join(f"      - {pin(n, versions[n])}\n" for n in (canonicalize_name(r.name) for r in direct))
    (ROOT / "environment.yml").write_text(ENVIRONMENT_HEADER + pins)


if __name__ == "__main__":
    main()
