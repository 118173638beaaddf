"""Where the project's own files lie: params.yaml, genotypes, the workflow."""

from __future__ import annotations

import os
from collections.abc import Iterable
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


def beside(files: Iterable[Path], folder: str) -> str:
    """A folder that params files name: beside the first of them that has it there, else as it is written.

    So a study's images are found from any working directory. Nothing is looked for beside an installed package's files.
    """
    package = Path(__file__).resolve().parents[1]
    written = folder.startswith("~") or Path(folder).is_absolute()
    for there in (file.absolute().parent for file in files if package not in file.resolve().parents and not written):
        if (there / folder).is_dir():
            return folder if there == Path.cwd() else os.path.relpath(there / folder)
    return folder
