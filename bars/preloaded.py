"""Jobs as forks of a process that has everything loaded: each saves the seconds of importing torch (opt-in, Linux).

``BARS_PRELOAD=yes snakemake ...``: the workflow starts a server, which ends with it. ``python -m bars`` hands it its
arguments, environment and streams, passes signals on, and ends as its fork does; where there is no server, or one of
another checkout, it does the work itself. A server begins anew when a file of this project has changed: an edit counts
from the next job on, as it does without.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import Any

ADDRESS = "BARS_PRELOADED"  # the server's, in the environment of a job
LIBRARIES = ("numpy", "torch", "pydantic", "yaml", "tqdm", "pyarrow.parquet", "sklearn.datasets")
MODULES = ("stages.search", "stages.derive", "stages.retrain", "stages.evaluate", "models.network", "models.baselines")
PACKAGE = Path(__file__).resolve().parent
# Read when a library is loaded, so that a job of several threads has to load its own.
THREADS = ("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ------------------------------------------------------------------------------------------------------------ the job
def run_there(argv: Sequence[str]) -> int | None:
    """Exit status of a command that a fork of the server has run; None where it has to run here."""
    address = os.environ.get(ADDRESS)
    if not address or os.environ.get(THREADS[0], "1") != "1" or "RANK" in os.environ:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        request: dict[str, Any] = {
            "argv": list(argv),
            "cwd": os.getcwd(),
            "environment": dict(os.environ),
            "path": sys.path,
            "package": str(PACKAGE),
        }
        request["ignored"] = [number for number in _PASSED_ON if _is_ignored(number)]  # under nohup, in a background
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

    before = {number: signal.signal(number, send) for number in _PASSED_ON if not _is_ignored(number)}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN


# --------------------------------------------------------------------------------------------------------- the server
@contextlib.contextmanager
def started(checkout: Path | None = None) -> Iterator[str]:
    """A server that ends with the block, or with this process however that ends; yields its address.

    ``checkout``: where this package lies if it is not installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="bars-"))  # no other user can open it
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "jobs"))
        listener.listen(128)
        # In a session of its own: Ctrl-C reaches the jobs, which pass it on, and not a fork a second time.
        server = subprocess.Popen(
            [sys.executable, "-m", "bars.preloaded", str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=os.environ | dict.fromkeys(THREADS, "1"),
            cwd=checkout,
            start_new_session=True,
        )
    try:
        yield str(folder / "jobs")
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def serve(listener: socket.socket) -> None:
    """Load everything, then fork a job for each connection, until standard input ends; begin anew after an edit."""
    files = _stamp()
    _load()
    gc.freeze()  # a fork's garbage collection leaves these pages shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        if _stamp() != files:  # the connection waits
            os.execv(sys.executable, [sys.executable, "-m", "bars.preloaded", str(listener.fileno())])
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _fork(connection)
        connection.close()


def _stamp() -> dict[str, tuple[int, int]]:
    """Times and sizes of this project's files."""
    found = {}
    for folder, _, names in os.walk(PACKAGE):
        for path in (os.path.join(folder, name) for name in names if name.endswith((".py", ".cpp"))):
            with contextlib.suppress(OSError):  # just now removed
                status = os.stat(path)
                found[path] = status.st_mtime_ns, status.st_size
    return found


def _load() -> None:
    """Import what stages do, and read what their code is hashed with; a job that fails at it says so itself."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        importlib.import_module("bars.commands.run")
        names = [importlib.import_module(f"bars.{name}").__name__ for name in MODULES]
        importlib.import_module("bars.pipeline.closure").closure(*names)


def _fork(connection: socket.socket) -> None:
    """Become the job that a connection asks for, and end with its exit status."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        words = connection.makefile("rb")
        request = json.loads(words.readline())
        if request["package"] != str(PACKAGE):
            os._exit(0)  # without a word: that job does the work itself
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        for number in _PASSED_ON:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, signal.SIG_IGN if number in request["ignored"] else usual)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        del os.environ[ADDRESS]
        sys.path[:], sys.argv = request["path"], ["bars", *request["argv"]]
        connection.sendall(b"\n")
        threading.Thread(target=_obey, args=(words,), name="signals", daemon=True).start()
        connection.sendall(bytes([_status(request["argv"])]))
    except BaseException:
        traceback.print_exc()
    os._exit(0)  # nothing of the server's is to be run at this exit


def _status(argv: Sequence[str]) -> int:
    """Run a command as ``python -m bars`` does; what it says is out when this returns."""
    from bars.cli import main

    try:
        return main(argv)
    except SystemExit as end:  # argparse
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _obey(words: BufferedReader) -> None:
    """Take the signals that a job passes on; end when it is gone."""
    while number := words.read(1):
        os.kill(os.getpid(), number[0])
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
