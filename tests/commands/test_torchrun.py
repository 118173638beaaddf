"""One stage on two processes, as docs/MACHINES.md says to start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bars.pipeline.provenance import verify_inputs
from tests.grids import TREE

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("torchrun")]
FOLDER = "tiny/searched/a/seed-0"


def call(folder: Path, *words: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    torchrun = ["torch.distributed.run", "--nproc-per-node", str(processes), "--rdzv-backend", "c10d"]
    torchrun += ["--rdzv-endpoint", "localhost:0", "-m"]
    command = [sys.executable, "-m", *(torchrun if processes > 1 else []), "bars", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_the_chain_with_search_and_retrain_on_two_processes(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    assert call(tmp_path, "data", "cifar10").returncode == 0
    for stage in ("search", "derive", "retrain", "evaluate"):
        shared = stage in ("search", "retrain")
        done = call(tmp_path, stage, "a", "--seed", "0", processes=2 if shared else 1)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "results" / FOLDER / stage / "provenance.json").read_text())
        assert record["processes"] == (2 if shared else 1)
        if shared:
            lines = [line for line in done.stderr.splitlines() if line.startswith(f"{stage} a seed 0: epoch")]
            assert len(lines) == {"search": 3, "retrain": 2}[stage]  # told once, by the main process
            assert done.stderr.count(f"{stage}: ") == 1
    assert not list((tmp_path / ".bars/checkpoints").glob("*"))
    assert verify_inputs(tmp_path / "results", {f"{FOLDER}/retrain/checkpoint.pt": ""})


def test_what_runs_in_one_process_says_so(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    done = call(tmp_path, "evaluate", "a", "--seed", "0", processes=2)
    assert done.returncode != 0
    assert "evaluate runs in one process" in done.stderr
    assert "run it without torchrun" in done.stderr
