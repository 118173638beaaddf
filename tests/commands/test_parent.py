from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bars.pipeline.files import process_lives

CHILD = """
import os, time
from bars.commands.parent import die_with_parent
die_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pidfds are Linux's")
@pytest.mark.parametrize("between", [False, True], ids=["parent", "shell between snakemake and us"])
def test_a_killed_parent_takes_its_stage_with_it(tmp_path: Path, between: bool) -> None:
    script = tmp_path / ("snakemake" if between else "parent")
    script.write_text(
        "import subprocess, sys\n"
        + (
            "subprocess.run(['bash', '-c', '\"$0\" -c \"$1\"; true', sys.executable, sys.argv[1]])"
            if between
            else "subprocess.run([sys.executable, '-c', sys.argv[1]])"
        )
    )
    parent = subprocess.Popen([sys.executable, str(script), CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert process_lives(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not _running(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child went on")


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
