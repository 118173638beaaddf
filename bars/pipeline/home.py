"""Where the project's own files lie: params.yaml, genotypes, the workflow."""

from __future__ import annotations

from pathlib import Path

PREFIX = "bars:"  # of a file named in an `include:`


def home() -> Path:
    """The folder of params.yaml and workflow/: inside an installed package, above it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "project"
    return inside if inside.is_dir() else package.parent


def included(name: str, by: Path) -> Path:
    """The file that an `include:` names: one of the project (``bars:params.yaml``), or one beside the file ``by``."""
    return home() / name.removeprefix(PREFIX) if name.startswith(PREFIX) else by.parent / name
