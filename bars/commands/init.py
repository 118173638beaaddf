"""``bars init``: a folder for a study of one's own, on the parameters and the workflow that came with the package."""

from __future__ import annotations

from pathlib import Path

from bars.errors import OutputError
from bars.pipeline.files import atomic_write
from bars.pipeline.home import home

_PARAMS = """\
# What is different in this study; all else is as in the params.yaml of the package (`bars experiments` lists the grid).
# A key here wins, null switches off. Images of your own: see examples/own-data.yaml of the project.
include: bars:params.yaml
scale: smoke
"""
_SNAKEFILE = """\
# The workflow of the installed package, on the params.yaml of this folder.
from bars.pipeline.home import home

config.setdefault("params", f"{workflow.basedir}/params.yaml")


include: str(home() / "workflow/Snakefile")
"""
_README = """\
# A study with BARS

    bars doctor                                 # would a run start?
    snakemake -n results/table2.csv             # what would run, and why
    snakemake --cores 2 results/table2.csv      # run it

`params.yaml` says what is different from the parameters of the package. Outputs: `results/`, `figures/`, `logs/`;
checkpoints of stages that were interrupted: `.bars/`.
"""
_IGNORED = "/.bars/\n/.snakemake/\n/data/\n/exports/\n/figures/\n/logs/\n/results/\n"
PROFILE = "profiles/default/config.yaml"


def init(folder: Path) -> int:
    """Write the folder's files and print them. Raises OutputError where one of them exists: nothing is overwritten."""
    files = {"params.yaml": _PARAMS, "Snakefile": _SNAKEFILE, "README.md": _README, ".gitignore": _IGNORED}
    files[PROFILE] = (home() / PROFILE).read_text(encoding="utf-8")
    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there:
        raise OutputError("there is a study already", where=str(folder), got=", ".join(there), do="name a new folder")
    for name, text in files.items():
        atomic_write(folder / name, text)
        print(folder / name)
    return 0
