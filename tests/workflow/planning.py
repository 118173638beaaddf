"""Snakemake's plan as data, by its public API; and copies of the project to try it on."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUDY = "study.yaml"  # the params file of a fake tree: params.yaml with fewer experiments
COPIED = (
    "Snakefile",
    "workflow",
    "profiles",
    "bars",
    "genotypes",
    "data/README.md",
    "params.yaml",
    "environment.yml",
    "pyproject.toml",
)


@dataclass(frozen=True)
class Job:
    """A job of Snakemake's plan."""

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    command: str | None
    threads: int
    resources: Mapping[str, object]
    reason: str

    @property
    def run(self) -> str:
        """``experiment:stage`` of a stage's job, else the rule."""
        return f"{self.wildcards['experiment']}:{self.rule}" if "experiment" in self.wildcards else self.rule


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.jobs: list[Job] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) is None or record.event.name != "JOB_INFO":
            return
        found = vars(record)
        self.jobs.append(
            Job(
                found["rule_name"],
                dict(found["wildcards"]),
                tuple(found["input"]),
                tuple(found["output"]),
                found["shellcmd"],
                found["threads"],
                dict(found["resources"].items()),
                found["reason"],
            )
        )


@contextmanager
def _kept_state() -> Iterator[None]:
    """Snakemake changes the working directory and the module path of the process it runs in."""
    directory, path, environment = Path.cwd(), list(sys.path), dict(os.environ)
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def plan(
    targets: Iterable[str] = (), *, root: Path = ROOT, directory: Path, forceall: bool = True, **config: str
) -> list[Job]:
    """Jobs that Snakemake would run for the targets (default: all), without running them."""
    return _execute("dryrun", targets, root, directory, forceall, config)


def touch(targets: Iterable[str], *, root: Path, **config: str) -> None:
    """Let Snakemake record the files that are there as up to date (`--touch --forceall`)."""
    _execute("touch", targets, root, root, True, config)


def _execute(
    executor: str, targets: Iterable[str], root: Path, directory: Path, forceall: bool, config: Mapping[str, str]
) -> list[Job]:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    collector = _Collector()
    logger = logging.getLogger("snakemake.logging")
    output = OutputSettings(dryrun=executor == "dryrun", quiet={Quietness.ALL}, enable_file_logging=False)
    with _kept_state(), _silence(), SnakemakeApi(output) as api:
        logger.addHandler(collector)
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=8),
                config_settings=ConfigSettings(config=config),
                snakefile=root / "Snakefile",
                workdir=directory,
            )
            dag = workflow.dag(DAGSettings(targets=set(targets), forceall=forceall))
            dag.execute_workflow(executor=executor)
        finally:
            logger.removeHandler(collector)
    return collector.jobs


def plan_of_command(*arguments: str, directory: Path) -> list[Job]:
    """Jobs of a command line with -n, profiles included, as data: with messages, the terminal shows no resources."""
    from snakemake.cli import args_to_api, parse_args

    collector = _Collector()
    logger = logging.getLogger("snakemake.logging")

    def watch(record: logging.LogRecord) -> bool:
        collector.emit(record)
        return True

    with _kept_state(), _silence():
        os.chdir(directory)
        parser, args = parse_args([*arguments, "-n"])
        logger.addFilter(watch)  # handlers are replaced
        try:
            assert args_to_api(args, parser)
        finally:
            logger.removeFilter(watch)
    return collector.jobs


def snakemake(*arguments: str, root: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a folder."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=root, text=True, capture_output=True, timeout=240, **options)  # type: ignore[call-overload,no-any-return]


def copy_project(target: Path) -> Path:
    """The sources, in a folder of their own."""
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif source.exists():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@dataclass
class FakeTree:
    """A copy of the project in which every output exists and is recorded as up to date."""

    root: Path

    def pending(self, *targets: str, **config: str) -> set[str]:
        """Jobs that would run now, as ``experiment:stage`` or rule, without the pseudo-rules."""
        jobs = plan(targets, root=self.root, directory=self.root, forceall=False, **{"params": STUDY, **config})
        return {job.run for job in jobs if job.outputs}

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a text file; its date moves on."""
        path = self.root / name
        before = path.read_text()
        after = change(before)
        assert after != before, f"the edit of {name} changed nothing"
        path.write_text(after)
