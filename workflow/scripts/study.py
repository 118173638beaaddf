"""A study in the repository: the records of a finished scale, and the tables, figures and page made from them.

Usage: python -m workflow.scripts.study land RESULTS PARAMS STUDY    copy the records of PARAMS' scale into STUDY
       python -m workflow.scripts.study networks RESULTS PARAMS STUDY NAME...    add trained networks, packed
       python -m workflow.scripts.study write STUDY                  make its tables, figures and page again
       python -m workflow.scripts.study verify STUDY                 the same, compared with what stands there

Records are what the stages wrote, but for the tensors (*.pt), which are known by their hashes.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from bars.commands import export
from bars.commands.artifact import verify_results
from bars.errors import BarsError, RecordError
from bars.pipeline import paths
from bars.pipeline.experiments import Grid
from bars.pipeline.files import sha256_file
from bars.pipeline.load import Params, load_params
from bars.pipeline.ownership import folders
from bars.pipeline.records import Provenance, read_record
from bars.report.artifacts import FIGURES, TABLES, need_paths
from bars.report.figures import write_figure
from bars.report.tables import write_table
from bars.report.tree import Results
from workflow.scripts.study_page import NETWORKS, page

PARAMS, RECORDS, PAGE = "params.yaml", "records", "README.md"
NOTE = "NOTE.txt"  # words of the one who ran it, for the page: the machine, what else ran on it
KEPT = {".csv", ".md", ".png"}  # of tables and figures; the other formats say the same


def land(results: Path, params: Path, study: Path) -> None:
    """Copy the finished stages of the active scale, and the parameters, in one file without includes."""
    loaded = load_params(params)
    grid = Grid(loaded)
    for folder in folders(grid):
        if (results / folder / paths.PROVENANCE).is_file():
            shutil.copytree(
                results / folder, study / RECORDS / folder, ignore=shutil.ignore_patterns("*.pt"), dirs_exist_ok=True
            )
    for name in _genotypes(loaded):  # beside the one of the files that names it; absolute ones stay where they are
        source = next((f.parent / name for f in loaded.files if (f.parent / name).is_file()), None)
        if source is not None and not Path(name).is_absolute():
            (study / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, study / name)
    tree = {**loaded.tree, "scales": {grid.scale: loaded.tree["scales"][grid.scale]}, "scale": grid.scale}
    (study / PARAMS).write_text(yaml.safe_dump(tree, sort_keys=False, width=120), encoding="utf-8")


def _genotypes(loaded: Params) -> set[str]:
    """Paths of genotypes that experiments name."""
    layers = [e for group in loaded.tree["experiments"].values() for e in group.values()]
    return {given for layer in layers if isinstance(given := layer.get("genotype"), str)}


def add_network(results: Path, params: Path, study: Path, name: str) -> None:
    """Export the first finished seed of an experiment into the study, packed only. Raises ExportError, GridError."""
    experiment = Grid(load_params(params))[name]
    done = [n for n in experiment.seeds if (results / experiment.file("evaluate", "metrics.json", n)).is_file()]
    if not done:
        raise RecordError(f"no result of {name} to export", where=str(results), do="run it, or name another")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / name
        export.export(params, None, results, name, done[0], made)
        if not (made / export.PACKED).is_file():
            raise RecordError(f"{name} has no packed network", where=str(results), do="name another")
        (made / export.NETWORK).unlink()  # floats: four times the size, and `bars export` makes them
        shutil.rmtree(study / NETWORKS / name, ignore_errors=True)
        shutil.copytree(made, study / NETWORKS / name)


def foreign_networks(study: Path) -> list[str]:
    """Networks that are not what their card says, or whose weights are not those that the records are of."""
    outputs: dict[str, str] = {}
    for path in (study / RECORDS).rglob(paths.PROVENANCE):
        outputs |= read_record(path, Provenance).outputs
    wrong = []
    for path in sorted((study / NETWORKS).glob("*/model.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        same = sha256_file(path.with_name(export.PACKED)) == card["packed"]["sha256"]
        same &= all(outputs.get(made) == known for made, known in card["made_from"].items())
        wrong += [] if same else [str(path.parent.relative_to(study))]
    return wrong


def write(study: Path, out: Path) -> list[Path]:
    """Tables, figures and page of a study, made from its records into ``out``; what has no result yet is left out."""
    records = study / RECORDS
    loaded = replace(load_params(study / PARAMS), path=Path(f"{study.resolve().name}.yaml"))  # tables name the study
    grid = Grid(loaded)
    of_runs = [name for name in (*TABLES, *FIGURES) if need_paths(name, grid)]  # the others are of the paper alone
    made = [path for name in of_runs for path in _artifact(name, loaded, grid, records, out)]
    for path in [path for path in made if path.suffix not in KEPT]:
        path.unlink()
    if out != study and (study / NETWORKS).is_dir():
        shutil.copytree(study / NETWORKS, out / NETWORKS)  # the page lists them
    note = (study / NOTE).read_text(encoding="utf-8") if (study / NOTE).is_file() else ""
    (out / PAGE).write_text(
        page(study.resolve().name, Results(loaded, grid.scale, records), out, note), encoding="utf-8"
    )
    return [*(path for path in made if path.suffix in KEPT), out / PAGE]


def _artifact(name: str, loaded: Params, grid: Grid, records: Path, out: Path) -> list[Path]:
    verify_results(name, grid, records, archived=True)
    writer = write_figure if name in FIGURES else write_table
    try:
        return writer(name, loaded, grid.scale, records, out)
    except RecordError as error:
        print(f"{name}: left out: {error.what}", file=sys.stderr)
        return []


def differences(study: Path) -> list[str]:
    """Files that are not what the records give: byte for byte, but for pictures, which have to look the same."""
    with tempfile.TemporaryDirectory() as folder:
        made = {path.name: path.read_bytes() for path in write(study, Path(folder))}
    there = {path.name: path.read_bytes() for path in study.iterdir() if path.suffix in KEPT}
    both = made.keys() & there.keys()
    differ = {name for name in both if made[name] != there[name]}
    alike = {name for name in differ if name.endswith(".png") and look_alike(made[name], there[name])}
    return sorted((differ - alike) | (made.keys() ^ there.keys())) + foreign_networks(study)


# A renderer's rounding depends on the processor and on libraries: it moves shades at the edges of lines and letters.
# What is drawn stands in the figure's csv, which is compared byte for byte.
_SHADE, _SHARE = 32, 0.001  # steps of 255, and the share of pixels that may be further apart


def look_alike(one: bytes, other: bytes) -> bool:
    """Whether two pictures are equal but for the shades of at most one pixel in a thousand."""
    import numpy as np
    from PIL import Image

    a, b = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16) for data in (one, other))
    return a.shape == b.shape and float((np.abs(a - b).max(axis=2) > _SHADE).mean()) <= _SHARE


def main(*words: str) -> int:
    match words:
        case ("land", results, params, study):
            Path(study).mkdir(parents=True, exist_ok=True)
            land(Path(results), Path(params), Path(study))
        case ("networks", results, params, study, *names) if names:
            for name in names:
                add_network(Path(results), Path(params), Path(study), name)
        case ("write", study):
            write(Path(study), Path(study))
        case ("verify", study):
            wrong = differences(Path(study))
            print("\n".join(f"{study}/{name} is not what the records give" for name in wrong) or f"{study}: verified")
            return 1 if wrong else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except BarsError as error:
        print(f"study: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
