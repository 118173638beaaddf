from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bars.commands.locks import StageLock, locked_folders
from bars.errors import OutputError

HOLD = """
import sys, time
from bars.commands.locks import StageLock
with StageLock(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    target, locks = tmp_path / "search", tmp_path / "locks"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(target), str(locks)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"process {holder.pid} on "), StageLock(target, locks):
            pass
        assert [str(holder.pid) in line for line in locked_folders(locks)] == [True]
        with StageLock(tmp_path / "derive", locks):  # another folder is free
            pass
    finally:
        holder.kill()
        holder.wait()
    with StageLock(target, locks):
        assert len(locked_folders(locks)) == 1
    assert locked_folders(locks) == []


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError), StageLock(tmp_path / "x", tmp_path):
            raise KeyError
