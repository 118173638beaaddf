"""The SLURM profile against commands that act like SLURM's: what a job asks for arrives, and the job runs.

The stand-ins record what they are called with and run the job on this machine; everything else is the real executor.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import kill_test

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

SBATCH = """
import json, os, subprocess, sys
from pathlib import Path
state = Path(os.environ["FAKE_SLURM"])
wrapped = next(word.partition("=")[2] for word in sys.argv if word.startswith("--wrap"))
number = str(len(list(state.glob("*.job"))) + 1)
(state / f"{number}.job").write_text(json.dumps(sys.argv[1:]))
env = {**os.environ, "SLURM_JOB_ID": number, "SLURM_CPUS_ON_NODE": "2"}
done = state / f"{number}.status"
script = f"({wrapped}) > {state}/{number}.log 2>&1; echo $? > {done}.part; mv {done}.part {done}"
subprocess.Popen(["bash", "-c", script], env=env, start_new_session=True, stdout=subprocess.DEVNULL)
print(number)
"""
SACCT = """
import os
from pathlib import Path
for job in Path(os.environ["FAKE_SLURM"]).glob("*.job"):
    status = job.with_suffix(".status")
    ended = status.read_text().strip() if status.exists() else None
    print(f"{job.stem}|" + {None: "RUNNING", "0": "COMPLETED"}.get(ended, "FAILED"))
"""
SRUN = """
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words.pop(0) if "=" in words[0] or words[0].startswith("-n1") else (words.pop(0), words.pop(0))
os.execvp(words[0], words)
"""
TOOLS = {"sbatch": SBATCH, "sacct": SACCT, "srun": SRUN, "sacctmgr": "print('site')", "sshare": "print('site')"}


def test_each_job_asks_for_its_gpu_memory_and_time_and_runs(tmp_path: Path) -> None:
    project, tools, state = (tmp_path / name for name in ("project", "tools", "state"))
    for folder in (project, tools, state):
        folder.mkdir()
    for name, source in {**TOOLS, "scancel": "", "sinfo": ""}.items():
        (tools / name).write_text(f"#!{sys.executable}\n{source}")
        (tools / name).chmod((tools / name).stat().st_mode | stat.S_IXUSR)
    kill_test.copy_sources(project, None)
    target = f"results/{kill_test.RUN}/search/distribution.json"
    command = ["snakemake", "--profile", "profiles/slurm", target, "--latency-wait", "5"]
    command += ["--default-resources", "slurm_account=site", "slurm_partition=gpu", "mem_mb=4000", "runtime=30"]
    command += ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "2"]
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "FAKE_SLURM": str(state)}
    done = subprocess.run(
        kill_test.command(*command), cwd=project, env=env, capture_output=True, text=True, timeout=280
    )
    logs = "\n".join(path.read_text() for path in sorted(state.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert (project / target).is_file()
    asked = {}
    for job in state.glob("*.job"):
        words = " ".join(json.loads(job.read_text()))
        (rule,) = set(re.findall(r"rule_(\w+?)(?:/|_)", words))
        asked[rule] = words
    assert set(asked) == {"data", "search"}
    assert re.search(r"--gpus[= ]1", asked["search"]), asked["search"]
    assert re.search(r"--mem[= ]24000", asked["search"])
    assert re.search(r"-t[= ]?2880|--time[= ]2880", asked["search"])
    assert re.search(r"-A[= ]?'?site", asked["search"])
    assert "--gpus" not in asked["data"]
    assert re.search(r"--mem[= ]16000", asked["data"])
