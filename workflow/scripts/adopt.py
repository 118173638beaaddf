"""After ``dvc pull`` in a fresh clone: tell Snakemake that the restored results are up to date, if they are.

DVC knows restored files by their content, Snakemake by its own records and their dates, so it would make them again.
Refused unless ``dvc status`` is clean, every result was made with the present parameters and code (provenance.json),
and the hashes chain from every metrics.json back to its split.

Usage: python -m workflow.scripts.adopt
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bars.errors import BarsError
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.ownership import folders
from bars.pipeline.provenance import stale, verify_chain

RESULTS = Path("results")


def dvc_problems() -> list[str]:
    from dvc.repo import Repo

    with Repo(config={"core": {"no_scm": True}}) as repo:
        return [f"dvc status: {stage} is not up to date" for stage in repo.status()]


def provenance_problems(grid: Grid) -> list[str]:
    found = {RESULTS / folder: stale(RESULTS / folder, *made) for folder, made in folders(grid).items()}
    return [f"{folder}: {why}" for folder, why in found.items() if why is not None]


def chain_problems(grid: Grid) -> list[str]:
    problems = []
    for experiment in grid.runnable():
        for seed in experiment.seeds:
            try:
                verify_chain(RESULTS / experiment.outputs(experiment.stages[-1], seed)[0], RESULTS)
            except BarsError as error:
                problems.append(str(error))
    return problems


def main() -> int:
    grid = Grid(load_params())
    for problems in (dvc_problems, lambda: provenance_problems(grid), lambda: chain_problems(grid)):
        if found := problems():
            print("Not adopted: these results do not belong to the present parameters and code.", file=sys.stderr)
            print(*(f"  {problem}" for problem in found), sep="\n", file=sys.stderr)
            print("  do: `snakemake all` makes what is missing, `dvc status` says what changed", file=sys.stderr)
            return 2
    touch = ["--touch", "--forceall", "--quiet", "all", "--", "all", "datasets"]
    status = subprocess.call([sys.executable, "-m", "snakemake", *touch])
    if status == 0:
        print("Adopted: `snakemake -n all` has nothing to do.")
    return status


if __name__ == "__main__":
    sys.exit(main())
