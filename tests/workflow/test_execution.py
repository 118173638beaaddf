"""The rules run what they plan, with a stand-in for the package that notes its arguments and writes its outputs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.planning import ROOT, copy_project, snakemake

STAND_IN = '''
"""Notes its arguments and writes what the command would."""
import sys
from pathlib import Path
from bars.pipeline.experiments import Grid
from bars.pipeline.load import load_params
from bars.pipeline.paths import OUTPUTS, PROVENANCE, data_dir

command, name, *rest = sys.argv[1:]
options = dict(zip(rest[::2], rest[1::2]))
with open(Path(__file__).parents[1] / "calls.txt", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\\\n")
results = Path(options.get("--results", "results"))
if command == "table":
    files = [results / f"{name}.{suffix}" for suffix in ("csv", "html", "md", "tex")]
elif command == "figure":
    files = [Path(options.get("--out", "figures")) / f"{name}.{suffix}" for suffix in ("csv", "pdf", "png")]
else:
    grid = Grid(load_params(options["--params"]), options["--scale"])
    if command == "data":
        files = [results / data_dir(grid.scale, name) / file for file in (*OUTPUTS["data"], PROVENANCE)]
    else:
        seed = int(options["--seed"])
        missing = [path for path in grid[name].inputs(command, seed) if not (results / path).is_file()]
        if missing:
            sys.exit(f"missing: {missing}")
        files = [results / path for path in grid[name].outputs(command, seed)]
for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"made by {command} {name}\\\\n")
'''.replace("\\\\n", "\\n")
MANY = """
include: "workflow/rules/common.smk"

rule all:
    input: expand("out/{i}", i=range(4))

rule one:
    output: "out/{i}"
    shell: "sleep 1.2; touch {output}"
"""
TARGETS = ["results/smoke/ablations/without-sampling-in-derive/seed-0/evaluate/metrics.json", "audit", "fig2"]
EXPECTED = {
    "data cifar10",
    "search bars-b --seed 0",
    "derive without-sampling-in-derive --seed 0",
    "retrain without-sampling-in-derive --seed 0",
    "evaluate without-sampling-in-derive --seed 0",
    "table audit",
    "figure fig2",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = copy_project(tmp_path / "project")
    (root / "bars/__main__.py").write_text(STAND_IN)
    return root


def calls(root: Path) -> list[str]:
    file = root / "calls.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.partition(" --scale")[0] for line in lines]


def outside_an_environment() -> dict[str, str]:
    """Variables of a shell in which no environment is activated, and nothing of the package is on the path."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_every_job_runs_its_own_command_once(project: Path) -> None:
    done = snakemake(*TARGETS, "--config", "scale=smoke", root=project, env=outside_an_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    found = calls(project)
    assert len(found) == len(EXPECTED)
    assert set(found) == EXPECTED
    assert (project / "logs/smoke/ablations/without-sampling-in-derive/seed-0/retrain.log").is_file()
    done = snakemake(*TARGETS, "--config", "scale=smoke", root=project)
    assert done.returncode == 0
    assert calls(project) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks of loaded libraries")
@pytest.mark.parametrize("asked", [{}, {"BARS_PRELOAD": "yes"}])
def test_jobs_are_told_of_a_server_where_one_was_asked_for(project: Path, asked: dict[str, str]) -> None:
    main = project / "bars/__main__.py"
    main.write_text(main.read_text() + 'print("server:", __import__("os").environ.get("BARS_PRELOADED"))\n')
    done = snakemake("audit", "--config", "scale=smoke", root=project, env=outside_an_environment() | asked)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search("server: (.*)", done.stdout + done.stderr)
    assert told is not None and (told[1] != "None") == bool(asked)
    assert not Path(told[1]).exists()  # it has ended


@pytest.mark.parametrize("asked", [[], ["--max-jobs-per-timespan", "50/1s"]])
def test_ready_jobs_are_looked_at_when_a_job_ends_and_no_more(project: Path, asked: list[str]) -> None:
    (project / "many.smk").write_text(MANY)
    done = snakemake("--snakefile", "many.smk", "--verbose", "--cores", "1", *asked, root=project)
    assert done.returncode == 0, done.stdout + done.stderr
    looks = (done.stdout + done.stderr).count("Ready jobs: ")
    assert looks > 5 if asked else looks <= 5  # a look before the first job, and one after each


@pytest.mark.slow
def test_results_may_lie_in_another_folder(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    options = ["--snakefile", str(project / "Snakefile"), "--directory", str(elsewhere), "--config", "scale=smoke"]
    done = snakemake("audit", *options, root=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls(project) == ["table audit"]
    assert (elsewhere / "results/audit.csv").is_file()


@pytest.mark.slow
def test_a_failed_job_fails_the_run_and_shows_its_log(project: Path) -> None:
    main = project / "bars/__main__.py"
    main.write_text(
        main.read_text().replace(
            "command, name, *rest", 'if sys.argv[2] == "audit": sys.exit("no luck")\ncommand, name, *rest'
        )
    )
    done = snakemake("audit", "fig2", "--config", "scale=smoke", root=project)
    assert done.returncode != 0
    assert "no luck" in done.stdout + done.stderr
    assert calls(project) == ["figure fig2"]


@pytest.mark.slow
def test_dvc_runs_the_same_jobs_and_only_once(project: Path) -> None:
    for name in ("dvc.yaml", ".dvcignore", ".dvc"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("tmp", "cache"))
        else:
            shutil.copy2(source, project / name)

    def dvc(*arguments: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(
            command, cwd=project, text=True, capture_output=True, timeout=240, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    dvc("config", "core.no_scm", "true")
    dvc("repro", "paper-lists@audit", "data")
    assert sorted(calls(project)) == ["data cifar10", "data imagenet", "data imagenet-search", "table audit"]
    assert "up to date" in dvc("repro", "paper-lists@audit", "data")
    assert calls(project) == []
    assert snakemake("audit", "datasets", root=project).returncode == 0
    assert calls(project) == []
    source = project / "bars/report/tables/audit.py"
    source.write_text(source.read_text() + "\n")
    dvc("repro", "paper-lists@audit", "data")
    assert calls(project) == ["table audit"]
