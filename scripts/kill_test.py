"""Kill runs at random moments with SIGKILL, run them again as documented, and compare every result byte for byte.

Usage: python scripts/kill_test.py [--stage-kills N] [--snakemake-kills N] [--dvc-kills N] [--seed S] [--out FILE]

Works on a copy of the sources in a temporary folder with a schedule of seconds. For each kind of run: once without
disturbance, then again and again with kills. After each kill every folder that looks finished must be whole; after
the last restart all files but provenance.json, which holds times, must have the bytes of the undisturbed run. Exit
status 1 if anything differs. docs/ROBUSTNESS.md holds the table of one run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # of snakemake and dvc
import yaml

ROOT = Path(__file__).resolve().parents[1]
SEARCHED, BASELINE, SCALE = "bars-b", "resnet18-xnor", "smoke"
TARGET = "results/table2.csv"
STAGES = ("search", "derive", "retrain", "evaluate")
RUN = f"{SCALE}/searched/{SEARCHED}/seed-0"


@dataclass
class Session:
    """What happened to one kind of run."""

    kind: str
    seconds: float = 0.0  # of the undisturbed run
    kills: int = 0
    restarts: int = 0
    continued: int = 0  # kills that left a checkpoint to go on from
    unlocked: int = 0  # restarts that needed `snakemake --unlock` first
    unfinished: int = 0  # kills that left a temporary folder behind
    slowest_orphan: float = 0.0  # seconds until the last process of a killed run was gone
    compared: int = 0  # files
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A row of the table."""
        cells = (
            *(self.kind, f"{self.seconds:.0f} s", self.kills, self.continued, self.unfinished, self.unlocked),
            *(f"{self.slowest_orphan:.1f} s", self.compared, "yes" if not self.problems else "NO"),
        )
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


HEADER = (
    "| run | undisturbed | kills | left a checkpoint | left a temporary | needed unlock | last process gone after "
    "| files compared | same bytes |\n|---|---|---|---|---|---|---|---|---|"
)


# ----------------------------------------------------------------------------------------------------- the copy
def copy_sources(folder: Path, revision: str | None) -> None:
    """The sources, of a revision or of the working tree without what git ignores, with a schedule of seconds."""
    if revision is not None:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    else:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("tests/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(), sort_keys=False))
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n    no_scm = true\n")


def tiny_params() -> dict[str, object]:
    """params.yaml with one search, one hand-made network, few images and few epochs."""
    tree: dict[str, object] = yaml.safe_load((ROOT / "params.yaml").read_text())
    scale = tree["scales"][SCALE]  # type: ignore[index]
    scale["space"] = {"init_channels": 8, "cells_per_stage": 1}
    scale["search"] |= {"epochs": 8, "batch_size": 32, "warmup_epochs": 1}
    scale["retrain"] |= {"epochs": 30, "batch_size": 32}
    scale["slots"] = {
        "cifar10": {"data": {"source": "digits", "image_size": 8, "max_train": 640, "max_test": 200}},
        "imagenet": None,
    }
    names = [name for group in tree["experiments"].values() for name in group]  # type: ignore[attr-defined]
    scale["experiments"] = {name: None for name in names if name not in (SEARCHED, BASELINE)}
    tree["runtime"] |= {"device": "cpu", "threads": 1}
    return tree


# ----------------------------------------------------------------------------------------------------- running
def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the environment that runs this script, to its end."""
    return subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, timeout=900)


def command(*words: str) -> list[str]:
    """``bars``, ``snakemake`` and ``dvc`` as modules, so that the copy's own sources are imported."""
    return [sys.executable, "-m", *words]


def kill_after(folder: Path, delay: float, *words: str) -> tuple[bool, float]:
    """Start a command and kill its first process later; whether it still ran, seconds until its last child ended."""
    with open(folder / "killed.log", "ab") as log:
        process = psutil.Popen(command(*words), cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        process.wait(delay)
        return False, 0.0
    except psutil.TimeoutExpired:
        pass
    children = process.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    start = time.monotonic()
    _, alive = psutil.wait_procs(children, timeout=60)
    for child in alive:
        child.kill()
    return True, float("inf") if alive else time.monotonic() - start


def until_done(session: Session, folder: Path, *words: str) -> None:
    """Run a command again as documented: after a lock is reported, unlock and run it once more."""
    for _ in range(3):
        session.restarts += 1
        done = run(folder, *words)
        if done.returncode == 0:
            return
        said = done.stdout + done.stderr
        if "--unlock" not in said:
            session.problems.append(f"{' '.join(words)} ended with {done.returncode}: {said[-2000:]}")
            return
        session.unlocked += 1
        unlocked = run(folder, "snakemake", "--unlock")
        if unlocked.returncode:
            session.problems.append(f"--unlock: {unlocked.stderr[-500:]}")
    session.problems.append("still locked")


# ----------------------------------------------------------------------------------------------------- comparing
def fingerprint(folder: Path, *tops: str) -> dict[str, str]:
    """Hash of every result file but provenance.json, which holds times."""
    found = {}
    for top in tops:
        for path in sorted((folder / top).rglob("*")):
            temporary = any(".tmp-" in part or part.endswith(".part") for part in path.parts)
            if path.is_file() and path.name not in ("provenance.json", "README.md") and not temporary:
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def unfinished(folder: Path) -> list[Path]:
    """Temporary folders and files of stages that were cut short."""
    return [path for path in (folder / "results").rglob("*") if ".tmp-" in path.name]


def broken(folder: Path, reference: dict[str, str]) -> Iterator[str]:
    """Finished folders that are not whole: a file missing, or with other bytes than undisturbed."""
    for record in (folder / "results").rglob("provenance.json"):
        if any(".tmp-" in part for part in record.parts):
            continue
        for name, recorded in json.loads(record.read_text())["outputs"].items():
            path = folder / "results" / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != recorded:
                yield f"{path} is not what its provenance.json says"
    for name, found in fingerprint(folder, "results", "figures").items():
        if reference.get(name) != found and not (folder / name).is_dir():
            yield f"{name} exists and has other bytes"


def after_kill(session: Session, folder: Path, reference: dict[str, str], killed: bool, orphan: float) -> None:
    """Count a kill and look at what it left."""
    if not killed:
        return
    session.kills += 1
    session.slowest_orphan = max(session.slowest_orphan, orphan)
    session.continued += any((folder / ".bars/checkpoints").glob("*/state.pt"))
    session.unfinished += bool(unfinished(folder))
    if orphan == float("inf"):
        session.problems.append("a process of the killed run lived on for a minute")
    session.problems += broken(folder, reference)


def compare(session: Session, folder: Path, reference: dict[str, str], *tops: str) -> None:
    """The restarted run against the undisturbed one."""
    found = fingerprint(folder, *tops)
    session.compared += len(found)
    session.problems += [
        f"{name} differs" for name in sorted({*found, *reference}) if found.get(name) != reference.get(name)
    ]
    if left := unfinished(folder):
        session.problems.append(f"left over: {left}")


# ----------------------------------------------------------------------------------------------------- sessions
def timed(folder: Path, *words: str) -> float:
    """Seconds of a command that must succeed."""
    start = time.monotonic()
    done = run(folder, *words)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} does not run undisturbed:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - start


def stage_sessions(folder: Path, kills: int, rng: random.Random) -> Iterator[Session]:
    """The four stages of one run through the command line, each killed ``kills`` times."""
    timed(folder, "bars", "data", "cifar10")
    for stage in STAGES:
        words = ("bars", stage, SEARCHED, "--seed", "0")
        session = Session(f"bars {stage}", seconds=timed(folder, *words))
        reference = fingerprint(folder, "results")
        whole = fingerprint(folder, f"results/{RUN}/{stage}")
        while session.kills < kills:
            shutil.rmtree(folder / "results" / RUN / stage)
            for _ in range(rng.randint(1, 3)):  # a restart may be killed too
                if session.kills < kills:
                    delay = rng.uniform(0.1, 0.95) * session.seconds
                    after_kill(session, folder, reference, *kill_after(folder, delay, *words))
            until_done(session, folder, *words)
            compare(session, folder, whole, f"results/{RUN}/{stage}")
            if any((folder / ".bars/checkpoints").glob("*")):
                session.problems.append("a checkpoint of a finished stage was left")
        yield session


def driver_session(kind: str, folder: Path, kills: int, rng: random.Random, *words: str) -> Session:
    """Whole runs of a driver, all results removed before each."""
    session = Session(kind, seconds=timed(folder, *words))
    reference = fingerprint(folder, "results", "figures")
    while session.kills < kills:
        clear(folder)
        for _ in range(rng.randint(1, 2)):
            if session.kills < kills:
                delay = rng.uniform(0.1, 0.95) * session.seconds
                killed, orphan = kill_after(folder, delay, *words)
                after_kill(session, folder, reference, killed, orphan)
                if killed and rng.random() < 0.5:  # or else the next kill meets the lock
                    run(folder, "snakemake", "--unlock")
        until_done(session, folder, *words)
        compare(session, folder, reference, "results", "figures")
    return session


def clear(folder: Path) -> None:
    """Remove results, checkpoints, and the records of the drivers."""
    for name in ("results", "figures", ".bars", ".snakemake", "logs", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)


def main() -> int:
    """Run the sessions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage-kills", type=int, default=6, metavar="N", help="kills of each of the four stages")
    parser.add_argument("--snakemake-kills", type=int, default=6, metavar="N", help="kills of whole Snakemake runs")
    parser.add_argument("--dvc-kills", type=int, default=4, metavar="N", help="kills of whole DVC runs")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random moments")
    parser.add_argument("--revision", metavar="REV", help="kill runs of this commit (default: the working tree)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table there")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    print(HEADER, flush=True)
    sessions: list[Session] = []
    with tempfile.TemporaryDirectory(prefix="kill-test-") as top:
        for session in all_sessions(Path(top), args, rng):
            print(session.row(), flush=True)
            sessions.append(session)
    problems = [f"{session.kind}: {problem}" for session in sessions for problem in session.problems]
    total = f"{sum(s.kills for s in sessions)} kills, {sum(s.compared for s in sessions)} files compared"
    print(f"\n{total}, {len(problems)} problems")
    print(*problems, sep="\n", file=sys.stderr)
    if args.out:
        args.out.write_text("\n".join([HEADER, *(s.row() for s in sessions), "", total + "."]) + "\n")
    return 1 if problems else 0


def all_sessions(top: Path, args: argparse.Namespace, rng: random.Random) -> Iterator[Session]:
    """Those that were asked for, each on its own copy of the sources."""
    drivers = (
        ("snakemake", args.snakemake_kills, ("snakemake", "--cores", "2", TARGET)),
        ("dvc", args.dvc_kills, ("dvc", "repro", "tables@table2")),
    )
    for kind, kills, words in (("stages", args.stage_kills, ()), *drivers):
        if kills:
            folder = top / kind
            folder.mkdir()
            copy_sources(folder, args.revision)
            if kind == "stages":
                yield from stage_sessions(folder, kills, rng)
            else:
                yield driver_session(" ".join(words), folder, kills, rng, *words)


if __name__ == "__main__":
    sys.exit(main())
