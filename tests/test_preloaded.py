"""A job that is a fork of a loaded process does what the same command does alone, and ends as it is told to."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import bars
from bars import preloaded, preloading
from scripts.kill_test import fingerprint
from tests.grids import TREE, edited

ROOT = Path(__file__).parents[1]
LONG = {"scales/tiny/experiments/a/search/epochs": 400}
SEARCH = ("search", "a", "--seed", "0")
pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks of loaded libraries"),
    pytest.mark.xdist_group("preloaded"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with preloading.started(ROOT) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path, server: str) -> Path:
    """A study whose data are split."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    assert start(tmp_path, server, "data", "cifar10").wait() == 0
    return tmp_path


def start(
    folder: Path, address: str, *words: str, handler: signal.Handlers = signal.SIG_DFL, package: Path = ROOT
) -> subprocess.Popen[str]:
    """A job whose SIGINT is as a shell leaves it: the tests may themselves run in a background."""
    env = {**os.environ, "PYTHONPATH": str(package), preloaded.ADDRESS: address, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bars", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )


def await_checkpoint(folder: Path, job: subprocess.Popen[str]) -> None:
    while not any(folder.glob(".bars/checkpoints/*/state.pt")):
        assert job.poll() is None
        time.sleep(0.02)


def long_search(folder: Path, address: str) -> subprocess.Popen[str]:
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, LONG), sort_keys=False))
    job = start(folder, address, *SEARCH)
    await_checkpoint(folder, job)
    return job


@pytest.mark.parametrize("words", [("experiments",), ("derive", "nobody", "--seed", "0"), ("--help",), ("nonsense",)])
def test_it_says_and_returns_what_the_command_does(folder: Path, server: str, words: tuple[str, ...]) -> None:
    alone, there = start(folder, "", *words), start(folder, server, *words)
    said = alone.communicate()
    assert there.communicate() == said
    assert there.returncode == alone.returncode


def test_a_stage_gives_the_same_bytes(folder: Path, server: str) -> None:
    assert start(folder, "", *SEARCH).wait() == 0
    alone = fingerprint(folder, "results")
    shutil.rmtree(folder / "results/tiny/searched")
    assert start(folder, server, *SEARCH).wait() == 0
    assert fingerprint(folder, "results") == alone


def test_it_is_the_fork_that_does_the_work(folder: Path, server: str) -> None:
    job = long_search(folder, server)
    assert "torch" not in Path(f"/proc/{job.pid}/maps").read_text()
    job.terminate()
    job.wait()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_it(folder: Path, server: str, number: signal.Signals, status: int) -> None:
    job = long_search(folder, server)
    job.send_signal(number)
    assert job.wait(30) == status
    assert ("interrupted" in job.communicate()[1]) == (number == signal.SIGINT)


def test_a_signal_that_the_job_ignores_does_not_reach_it(folder: Path, server: str) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(edited(TREE, LONG), sort_keys=False))
    job = start(folder, server, *SEARCH, handler=signal.SIG_IGN)
    await_checkpoint(folder, job)
    job.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(1)
    job.terminate()
    assert job.wait(30) == 143


def test_it_ends_when_the_job_is_killed(folder: Path, server: str) -> None:
    job = long_search(folder, server)
    job.kill()
    job.wait()
    (folder / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    deadline = time.monotonic() + 30
    while (again := start(folder, server, *SEARCH)).wait() != 0:  # the folder is held until it has ended
        assert time.monotonic() < deadline, again.communicate()[1]


def test_where_there_is_no_server_the_job_does_it(folder: Path) -> None:
    job = start(folder, str(folder / "nobody"), "experiments")
    assert job.wait() == 0


def test_where_the_server_ends_before_it_forks_the_job_does_it(folder: Path) -> None:
    """One that fails to load a library, with jobs that wait for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "jobs"))
        listener.listen()
        job = start(folder, str(folder / "jobs"), "experiments")
        listener.accept()[0].close()
        assert job.wait() == 0


@pytest.mark.parametrize("env", [{}, {"OMP_NUM_THREADS": "2"}, {"RANK": "0"}])
def test_what_a_fork_cannot_do_is_left_to_the_job(
    monkeypatch: pytest.MonkeyPatch, server: str, env: dict[str, str]
) -> None:
    if env:
        monkeypatch.setenv(preloaded.ADDRESS, server)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert preloaded.run_there(["nonsense"]) is None


def test_an_edit_counts_from_the_next_job_on(tmp_path: Path) -> None:
    """And one of another checkout is not answered for by this one."""
    edited_copy(tmp_path, "1.2.3")
    with preloading.started(tmp_path) as address:
        jobs = [start(tmp_path, address, "--version", package=tmp_path)]
        jobs[0].wait()
        edited_copy(tmp_path, "4.5.67")
        jobs += [start(package, address, "--version", package=package) for package in (tmp_path, ROOT)]
        said = [job.communicate()[0].strip() for job in jobs]
    assert said == ["bars 1.2.3", "bars 4.5.67", f"bars {bars.__version__}"]


def edited_copy(folder: Path, version: str) -> None:
    """The package, which says that it has this version."""
    if not (folder / "bars").exists():
        shutil.copytree(ROOT / "bars", folder / "bars", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "bars/__init__.py").write_text(f'__version__ = "{version}"\n')


def python(code: str, *words: str) -> list[str]:
    """The words that a process says which has run nothing before."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()


def test_a_fork_has_this_project_and_its_parameters_loaded(folder: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bars import preloading\npreloading._load(Path(sys.argv[1]))\n"
        "print(*[name for name in preloading.MODULES if f'bars.{name}' not in sys.modules])\n"
        "from bars.pipeline import closure, load\nfrom bars.pipeline.experiments import Grid\n"
        "job = Grid(load.load_params(sys.argv[1]))['a']\nclosure.closure(*job.modules('retrain'))\n"
        "print(load._parsed.cache_info().misses, closure.closure.cache_info().hits > 0)"
    )
    assert python(code, str(folder / "params.yaml")) == ["1", "True"]


def test_a_job_that_is_handed_over_imports_little() -> None:
    heavy = "{'torch', 'pathlib', 'subprocess', 'typing', 'yaml', 'tempfile'}"
    assert python(f"import sys, bars.preloaded; print(*{heavy} & set(sys.modules))") == []


def test_the_server_ends_with_who_started_it(tmp_path: Path) -> None:
    code = "from bars.preloading import started\nwith started() as address: print(address, flush=True); input()"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    pipe = subprocess.PIPE
    owner = subprocess.Popen([sys.executable, "-c", code], env=env, text=True, stdin=pipe, stdout=pipe)
    assert owner.stdout is not None
    address = owner.stdout.readline().strip()
    servers = children(owner.pid)
    assert Path(address).is_socket() and len(servers) == 1
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{servers[0]}").exists() and "Z" not in state(servers[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
