"""Results through a DVC remote: run in one clone, push, pull in another, adopt; both drivers then find nothing to do.

Usage: python scripts/dvc_remote.py [--revision REV]

The remote is a folder. Works on clones in a temporary folder with a schedule of seconds (scripts/kill_test.py). Prints
each command with its last line; exit status 1 if one fails or something would be run again. docs/ROBUSTNESS.md holds
the log of one run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kill_test

GIT = ("git", "-c", "user.name=reproduction", "-c", "user.email=reproduction@example.org", "-c", "commit.gpgsign=false")


class Failed(SystemExit):
    """A step that did not do what it should."""


def step(folder: Path, *words: str, expect: str = "") -> str:
    """Run one command; what it said must contain ``expect``."""
    start = time.monotonic()
    command = [*GIT, *words[1:]] if words[0] == "git" else kill_test.command(*words)
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # dvc calls `snakemake`
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})
    said = done.stdout + done.stderr
    last = (done.stdout.strip() or done.stderr.strip()).rpartition("\n")[2]
    shown = " ".join(words).replace(str(folder.parent), "..")
    print(f"{folder.name}$ {shown:<58} {time.monotonic() - start:5.0f} s  {last[:70]}", flush=True)
    if done.returncode or expect not in said:
        raise Failed(f"status {done.returncode}, expected {expect!r}:\n{said[-3000:]}")
    return said


def main() -> int:
    """The whole way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", metavar="REV", help="sources of this commit (default: the working tree)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dvc-remote-") as top:
        one, other, store = (Path(top) / name for name in ("one", "other", "store"))
        one.mkdir()
        kill_test.copy_sources(one, args.revision)
        (one / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
        step(one, "git", "init", "--quiet")
        step(one, "dvc", "remote", "add", "--default", "store", str(store))
        step(one, "dvc", "repro", expect="Use `dvc push`")
        step(one, "git", "add", ".")
        step(one, "git", "commit", "--quiet", "--message", "Results")
        step(one, "dvc", "push", expect="pushed")
        step(one, "git", "clone", "--quiet", str(one), str(other))
        step(other, "dvc", "pull", expect="added")
        same = kill_test.fingerprint(one, "results", "figures") == kill_test.fingerprint(other, "results", "figures")
        print(f"the same results in both clones: {'yes' if same else 'NO'}")
        step(other, "workflow.scripts.adopt")
        step(other, "dvc", "status", expect="up to date")
        step(other, "snakemake", "-n", "all", expect="Nothing to be done")
        step(other, "dvc", "repro", expect="up to date")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
