"""Which runs give the same bytes, and how far apart those are that do not.

Usage: python scripts/determinism.py [--revision REV] [--out FILE]

Runs one search and one hand-made network through the workflow on a copy of the sources (scripts/kill_test.py): twice,
with other numbers of cores, of torch threads, of processes (torchrun), and on CUDA where there is a device. The first
run is the reference. docs/ROBUSTNESS.md holds the table of one session.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kill_test
import yaml

RUN = Path("results") / kill_test.RUN
BASELINE = Path("results") / kill_test.SCALE / "baselines" / kill_test.BASELINE / "seed-0"
TARGETS = [str(folder / "evaluate/metrics.json") for folder in (RUN, BASELINE)]
HEADER = (
    "| run | files with the same bytes | loss of search epoch 1, last | genotype | loss of training epoch 1, last "
    "| top-1 of both networks |\n|---|---|---|---|---|---|"
)


def set_runtime(folder: Path, **runtime: object) -> None:
    """How the stages compute: one thread on the CPU, but for what is said."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["runtime"] |= {"device": "cpu", "threads": 1, **runtime}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def snakemake(folder: Path, cores: int, **runtime: object) -> None:
    """All four stages of both runs, from nothing."""
    kill_test.clear(folder)
    set_runtime(folder, **runtime)
    kill_test.timed(folder, "snakemake", "--cores", str(cores), *TARGETS)


def processes(folder: Path, count: int) -> None:
    """The same with searches and trainings shared by several processes."""
    kill_test.clear(folder)
    kill_test.timed(folder, "bars", "data", "cifar10")
    for name in (kill_test.SEARCHED, kill_test.BASELINE):
        for stage in kill_test.STAGES if name == kill_test.SEARCHED else ("retrain", "evaluate"):
            words = ["bars", stage, name, "--seed", "0"]
            if stage in ("search", "retrain"):
                words = ["torch.distributed.run", "--nproc-per-node", str(count), "-m", *words]
            kill_test.timed(folder, *words)


def losses(path: Path, folder: Path) -> str:
    """The first and the last train loss of a log."""
    with open(folder / path) as file:
        rows = list(csv.DictReader(file))
    return ", ".join(f"{float(row['train_loss']):.5f}" for row in (rows[0], rows[-1]))


def describe(kind: str, folder: Path, reference: dict[str, str]) -> str:
    """A row of the table."""
    found = kill_test.fingerprint(folder, "results")
    same = sum(reference.get(name) == digest for name, digest in found.items())
    genotype = json.loads((folder / RUN / "derive/genotype.json").read_text())["sha256"][:8]
    top1 = [json.loads((folder / target).read_text())["top1"] for target in TARGETS]
    cells = (
        *(kind, f"{same} of {len(reference)}", losses(RUN / "search/epochs.csv", folder), genotype),
        *(losses(RUN / "retrain/epochs.csv", folder), ", ".join(f"{value:.1%}" for value in top1)),
    )
    return "| " + " | ".join(cells) + " |"


def rows(folder: Path, revision: str | None) -> Iterator[str]:
    """One run after another."""
    kill_test.copy_sources(folder, revision)
    snakemake(folder, 1)
    reference = kill_test.fingerprint(folder, "results")
    yield describe("1 core, 1 thread, 1 process", folder, reference)
    snakemake(folder, 1)
    yield describe("the same again", folder, reference)
    snakemake(folder, 4)
    yield describe("`--cores 4`", folder, reference)
    snakemake(folder, 2, threads=2)
    yield describe("`runtime.threads: 2`", folder, reference)
    threaded = kill_test.fingerprint(folder, "results")
    snakemake(folder, 4, threads=2)
    yield describe("the same again, against the row above", folder, threaded)
    set_runtime(folder)
    processes(folder, 2)
    yield describe("two processes (torchrun)", folder, reference)
    shared = kill_test.fingerprint(folder, "results")
    processes(folder, 2)
    yield describe("the same again, against the row above", folder, shared)
    if has_cuda():
        snakemake(folder, 1, device="cuda")
        yield describe("`runtime.device: cuda`", folder, reference)
        cuda = kill_test.fingerprint(folder, "results")
        snakemake(folder, 1, device="cuda")
        yield describe("the same again, against the row above", folder, cuda)


def has_cuda() -> bool:
    """Whether torch finds a device."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", metavar="REV", help="runs of this commit (default: the working tree)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table there")
    args = parser.parse_args()
    lines = [HEADER]
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="determinism-") as folder:
        for row in rows(Path(folder), args.revision):
            print(row, flush=True)
            lines.append(row)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
