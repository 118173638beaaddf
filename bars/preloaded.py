"""A job as the fork of a process that has everything loaded (opt-in, Linux).

``python -m bars`` hands its arguments, environment and streams to the server (bars/preloading.py), passes signals on,
and ends as its fork does; where there is no server, or one of another checkout, it does the work itself. Every job
imports this: nothing that takes long.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

ADDRESS = "BARS_PRELOADED"  # the server's, in the environment of a job
PACKAGE = os.path.dirname(os.path.realpath(__file__))
# Read when a library is loaded, so that a job of several threads has to load its own.
THREADS = ("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_there(argv: Sequence[str]) -> int | None:
    """Exit status of a command that a fork of the server has run; None where it has to run here."""
    address = os.environ.get(ADDRESS)
    if not address or os.environ.get(THREADS[0], "1") != "1" or "RANK" in os.environ:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        request = {
            "argv": list(argv),
            "cwd": os.getcwd(),
            "environment": dict(os.environ),
            "path": sys.path,
            "package": PACKAGE,
            "ignored": [number for number in PASSED_ON if _is_ignored(number)],  # under nohup, in a background
        }
        try:
            server.connect(address)
            socket.send_fds(server, [b"\n"], [0, 1, 2])
            server.sendall(json.dumps(request).encode() + b"\n")
            begins = server.recv(1)
        except OSError:
            begins = b""
        if not begins:  # on another machine, or it has ended: no fork has begun
            return None
        with _passing_on(server) as passed:
            said = server.recv(1)
    # Without a word it was killed, by a signal from here or by another.
    return said[0] if said else 128 + (passed[-1] if passed else signal.SIGKILL)


@contextlib.contextmanager
def _passing_on(server: socket.socket) -> Iterator[list[int]]:
    """Send the signals that reach this process to its fork; yields those that were sent."""
    passed: list[int] = []

    def send(number: int, _frame: FrameType | None) -> None:
        passed.append(number)
        with contextlib.suppress(OSError):  # it has ended
            server.send(bytes([number]))

    before = {number: signal.signal(number, send) for number in PASSED_ON if not _is_ignored(number)}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN
