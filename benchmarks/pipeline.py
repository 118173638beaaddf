"""What the machinery around the stages costs: start-up, jobs, and both drivers with nothing to do."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.options import Options, Row, Tables
from benchmarks.timing import rounds

ROOT = Path(__file__).resolve().parents[1]
JOBS = (1, 41)  # the slope between them is the cost of one job
UNTIL_WORK = {
    "the interpreter alone": "pass",
    "import torch": "import torch",
    "bars experiments, whole": "from bars.cli import main; main(['experiments'])",
    "bars cost bars-b, whole": "from bars.cli import main; main(['cost', 'bars-b'])",
    "a table: until it reads results": "import bars.commands.artifact, bars.report.tables, bars.report.tables.table2",
    "a figure: until it reads results": "import bars.commands.artifact, bars.report.figures.fig1",
    "search, retrain: until they load data": "import bars.stages.search, bars.stages.retrain",
    "evaluate: until it loads data": "import bars.stages.evaluate",
}
TARGET_S = {
    "bars experiments, whole": 1.5,
    "a table: until it reads results": 1.5,
    "a figure: until it reads results": 1.5,
}
SNAKEFILE = """
rule all:
    input: expand("{i}.txt", i=range(COUNT))
rule one:
    output: "{i}.txt"
    shell: "echo > {output}"
"""


def measure(options: Options) -> Tables:
    """Start-up always; the drivers only where ``--directory`` holds results of a complete run."""
    yield "until the first useful work (wall time, s)", _start_up(options)
    yield "one job of Snakemake that does nothing (s)", [_per_job(options)]
    yield f"nothing to do, in {options.directory.resolve().name} (s)", _nothing_to_do(options)


def _start_up(options: Options) -> list[Row]:
    seconds = rounds(
        {name: _python(code) for name, code in UNTIL_WORK.items()}, 2 if options.quick else options.rounds, warmup=1
    )
    return [_row(name, own, TARGET_S.get(name)) for name, own in seconds.items()]


def _per_job(options: Options) -> Row:
    with tempfile.TemporaryDirectory() as folder:

        def run(count: int) -> Callable[[], object]:
            file = Path(folder) / f"Snakefile.{count}"
            file.write_text(f"COUNT = {count}\n{SNAKEFILE}")
            words = ["-m", "snakemake", "--snakefile", str(file), "--forceall", "--quiet", "all", "--cores", "1"]
            return lambda: _call([*words, "--directory", folder], ROOT)

        seconds = rounds({str(n): run(n) for n in JOBS}, 2 if options.quick else options.rounds, warmup=1)
    slopes = [(many - one) / (JOBS[1] - JOBS[0]) for one, many in zip(*seconds.values(), strict=True)]
    return _row("one job", slopes, None)


def _nothing_to_do(options: Options) -> list[Row]:
    """Raises CalledProcessError with the driver's own words where there is something to do."""
    commands = {
        "snakemake --cores 2 all": ["-m", "snakemake", "--cores", "2", "all"],
        "snakemake -n all": ["-m", "snakemake", "-n", "all"],
        "dvc status": ["-m", "dvc", "status"],
        "dvc repro": ["-m", "dvc", "repro"],
    }
    if not (options.directory / "results" / "claims.csv").exists():
        return [
            {"what": f"no finished run in {options.directory}: run `snakemake --cores 2` there, or pass --directory"}
        ]
    if not (options.directory / "dvc.lock").exists():
        commands = {name: words for name, words in commands.items() if not name.startswith("dvc")}
    done = rounds(
        {name: _driver(words, options.directory) for name, words in commands.items()}, options.rounds, warmup=1
    )
    targets = {"snakemake --cores 2 all": 5.0, "dvc repro": 30.0}
    return [_row(name, own, targets.get(name)) for name, own in done.items()]


def _driver(words: Sequence[str], directory: Path) -> Callable[[], object]:
    def call() -> None:
        said = _call(words, directory)
        if "Nothing to be done" not in said and "up to date" not in said:
            raise RuntimeError(f"{' '.join(words)} had something to do; run it first\n{said[-2000:]}")

    return call


def _python(code: str) -> Callable[[], object]:
    return lambda: _call(["-c", code], ROOT)


def _call(words: Sequence[str], directory: Path) -> str:
    done = subprocess.run([sys.executable, *words], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def _row(what: str, seconds: Sequence[float], target: float | None) -> Mapping[str, object]:
    row = {"what": what, "median_s": statistics.median(seconds), "min_s": min(seconds), "n": len(seconds)}
    return {**row, "target": f"< {target} s" if target else ""}
