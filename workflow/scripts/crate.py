"""Write ro-crate-metadata.json: a finished study as a Workflow Run RO-Crate, with its files, workflow and runs.

Usage: python -m workflow.scripts.crate [PARAMS]    (in the folder of the study; then pack the folder, e.g. with zip)
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import bars
from bars.errors import BarsError, RecordError
from bars.pipeline import paths
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.records import Provenance, read_record

CRATE = Path("ro-crate-metadata.json")
WORKFLOW = "Snakefile"
Entity = dict[str, Any]


def ref(*names: str) -> list[Entity]:
    return [{"@id": name} for name in names]


def run(path: Path) -> Entity:
    """A stage as an action: when, with what, and which files it wrote."""
    record = read_record(path, Provenance)
    end = datetime.datetime.fromisoformat(record.started) + datetime.timedelta(seconds=record.seconds)
    return {
        "@id": f"#{path.parent.as_posix()}",
        "@type": "CreateAction",
        "name": " ".join(str(part) for part in (record.stage, record.experiment, record.seed) if part is not None),
        "instrument": ref(WORKFLOW),
        "object": ref(*(f"results/{name}" for name in record.inputs)),
        "result": ref(*(f"results/{name}" for name in record.outputs)),
        "startTime": record.started,
        "endTime": end.isoformat(timespec="seconds"),
        "description": f"code {record.code.get('commit') or bars.__version__}, parameters {record.params_sha256}",
    }


def crate(grid: Grid, params: Path, results: Path = Path("results")) -> Entity:
    """The whole document. Raises RecordError where nothing is finished."""
    runs = [run(path) for path in sorted((results / grid.scale).rglob(paths.PROVENANCE)) if ".tmp-" not in str(path)]
    tables = [path for folder in (results, Path("figures")) for path in sorted(folder.glob("*.*"))]
    if not runs or not tables:
        raise RecordError("nothing is finished here", where=str(results / grid.scale), do="run snakemake first")
    stage_files = {item["@id"] for action in runs for item in (*action["object"], *action["result"])}
    files = sorted({WORKFLOW, str(params), *map(str, tables), *stage_files})
    whole = {"@id": "#study", "@type": "CreateAction", "name": f"scale {grid.scale}", "instrument": ref(WORKFLOW)}
    whole |= {"object": ref(str(params)), "result": ref(*map(str, tables))}
    whole |= {"startTime": min(r["startTime"] for r in runs), "endTime": max(r["endTime"] for r in runs)}
    snakemake = {"@id": "https://snakemake.github.io", "@type": "ComputerLanguage", "name": "Snakemake"}
    kinds = {WORKFLOW: ["File", "SoftwareSourceCode", "ComputationalWorkflow"]}
    more = {WORKFLOW: {"name": "the BARS reproduction", "programmingLanguage": {"@id": snakemake["@id"]}}}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"BARS, scale {grid.scale}",
        "description": "Binary neural architecture search after arXiv 2011.10804: runs, tables and figures.",
        "datePublished": whole["endTime"],
        "license": {"@id": "https://spdx.org/licenses/MIT"},
        "conformsTo": {"@id": "https://w3id.org/ro/wfrun/workflow/0.5"},
        "mainEntity": {"@id": WORKFLOW},
        "hasPart": ref(*files),
        "mentions": ref("#study", *(action["@id"] for action in runs)),
    }
    descriptor = {"@id": CRATE.name, "@type": "CreativeWork", "about": {"@id": "./"}}
    descriptor["conformsTo"] = {"@id": "https://w3id.org/ro/crate/1.1"}
    parts = [{"@id": name, "@type": kinds.get(name, "File"), **more.get(name, {"name": name})} for name in files]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [descriptor, root, snakemake, *parts, whole, *runs],
    }


def main(params: str = "params.yaml") -> int:
    try:
        CRATE.write_text(json.dumps(crate(Grid(load_params(params)), Path(params)), indent=1) + "\n")
    except BarsError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(CRATE)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
