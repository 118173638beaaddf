"""Ending with the process that started this one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path


def die_with_parent(*, only_tools: bool = False) -> None:
    """End this process when the one that started it ends, even by SIGKILL (Linux; elsewhere nothing happens).

    A workflow tool that is killed would otherwise leave a training behind that goes on writing. A thread watches the
    parent and every snakemake or dvc above it (a shell may stand between) through pidfds. A terminal's own shell is not
    watched: ``nohup`` and ``disown`` keep their meaning. ``only_tools``: nor is a parent that is no workflow tool.
    """
    if not sys.platform.startswith("linux"):
        return
    watched = []
    for pid in _guardians(only_tools):
        with contextlib.suppress(OSError):  # an old kernel, or it ended just now
            watched.append(os.pidfd_open(pid))
    if watched:
        threading.Thread(target=_await_any, args=(watched,), name="die-with-parent", daemon=True).start()


_TOOLS = ("snakemake", "dvc")


def _guardians(only_tools: bool) -> list[int]:
    """The parent, unless it is a session's leader or init, and the workflow tools among the ancestors."""
    parent = os.getppid()
    found = [] if only_tools or parent in (1, os.getsid(0)) else [parent]
    pid = parent
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            # The name in parentheses may hold spaces; the parent is the second word behind it.
            above = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        if pid not in found and any(Path(word).name in _TOOLS for word in words[:4]):
            found.append(pid)
        pid = above
    return found


def _await_any(pidfds: list[int]) -> None:
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)  # for a process that handles SIGTERM
    os.kill(os.getpid(), signal.SIGKILL)
