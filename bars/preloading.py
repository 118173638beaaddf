"""The process that has everything loaded, of which jobs are forks: each saves the seconds of importing torch (Linux).

``BARS_PRELOAD=yes snakemake ...``: the workflow starts it, and it ends with the workflow. It begins anew when a file of
this project has changed: an edit counts from the next job on, as it does without.
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

from bars.preloaded import ADDRESS, PACKAGE, PASSED_ON, THREADS

LIBRARIES = ("numpy", "torch", "pydantic", "yaml", "tqdm", "pyarrow.parquet", "sklearn.datasets")
MODULES = ("stages.search", "stages.derive", "stages.retrain", "stages.evaluate", "models.network", "models.baselines")


@contextlib.contextmanager
def started(checkout: Path | None = None, params: Path | None = None) -> Iterator[str]:
    """A server that ends with the block, or with this process however that ends; yields its address.

    ``checkout``: where this package lies if it is not installed. ``params``: the file that jobs will read.
    """
    given = [] if params is None else [str(params)]
    folder = Path(tempfile.mkdtemp(prefix="bars-"))  # no other user can open it
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "jobs"))
        listener.listen(128)
        # In a session of its own: Ctrl-C reaches the jobs, which pass it on, and not a fork a second time.
        server = subprocess.Popen(
            [sys.executable, "-m", "bars.preloading", str(listener.fileno()), *given],
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


def serve(listener: socket.socket, params: Path | None) -> None:
    """Load everything, then fork a job for each connection, until standard input ends; begin anew after an edit."""
    files = _stamp()
    _load(params)
    gc.freeze()  # a fork's garbage collection leaves these pages shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        if _stamp() != files:  # the connection waits
            os.execv(sys.executable, [sys.executable, "-m", "bars.preloading", *sys.argv[1:]])
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


def _load(params: Path | None = None) -> None:
    """Import what stages do, and read the parameters and the code that they are hashed with.

    A job that fails at it says so itself; one whose files have changed since reads them anew.
    """
    for name in ("bars.commands.run", *LIBRARIES, *(f"bars.{name}" for name in MODULES)):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        _read(params)


def _read(params: Path | None) -> None:
    from bars.pipeline.closure import closure
    from bars.pipeline.experiments import Grid
    from bars.pipeline.load import load_params

    if params is not None:
        for experiment in Grid(load_params(params)):
            for stage in experiment.stages:
                closure(*experiment.modules(stage))


def _fork(connection: socket.socket) -> None:
    """Become the job that a connection asks for, and end with its exit status."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        words = connection.makefile("rb")
        request = json.loads(words.readline())
        if request["package"] != PACKAGE:
            os._exit(0)  # without a word: that job does the work itself
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        for number in PASSED_ON:
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
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]) if sys.argv[2:] else None)
