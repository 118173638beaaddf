from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from bars import cli
from bars.cli import main
from bars.commands.progress import EpochProgress
from bars.pipeline.durations import duration
from tests.grids import DELETE, TREE, edited

ROOT = Path(__file__).resolve().parents[1]
Bars = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bars:
    """Run a command in an empty folder with the tiny params file, edited; returns status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, edits: dict[str, Any] | None = None) -> tuple[int, str, str]:
        Path("params.yaml").write_text(yaml.safe_dump(edited(TREE, edits or {}), sort_keys=False))
        try:
            status = main(words)
        except SystemExit as error:  # argparse
            status = int(error.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


# ----------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("words", "edits", "said"),
    [
        ("experiments", {"scales/tiny/search/epochs": "x"}, "scales.tiny.search.epochs: got 'x'"),
        ("experiments", {"colour": 1}, "colour: no such key"),
        ("experiments --scale huge", {}, "no such scale"),
        ("experiments --params absent.yaml", {}, "absent.yaml"),
        ("search a --seed 0", {"experiments/searched/a/search/budget": {"biops": 1}}, "the smallest architecture"),
        ("experiments", {"experiments/searched/a/slot": DELETE}, "needs a slot"),
        ("experiments", {"experiments/ablations/a-argmax/space": {"norm": "node"}}, "another space"),
        ("cost nobody", {}, "no such experiment"),
        ("cost a --seed 7", {}, "no seed 7"),
        ("cost b --scale cpu", {}, "no imagenet data at scale cpu"),
        ("cost r18", {"experiments/baselines/r18/model": {"family": "resnet9"}}, "resnet9"),
        ("data mnist", {}, "no data set mnist"),
        ("data imagenet --scale cpu", {}, "there is none at this scale"),
        ("data cifar10", {"scales/tiny/slots/cifar10/data/source": "imagefolder"}, "data.path"),
        ("search a --seed 1", {}, "no seed 1"),
        ("search a --seed x", {}, "invalid int value"),
        ("search a", {}, "--seed"),
        ("search r18 --seed 0", {}, "r18 has no stage search"),
        ("search a --seed 0", {}, "run first: bars data cifar10 --scale tiny"),
        ("retrain a --seed 0", {}, "bars data cifar10"),
        ("search b --seed 0 --scale cpu", {}, "no imagenet data at scale cpu"),
        ("table table9", {}, "table9"),
        ("figure fig9", {}, "fig9"),
        ("fly", {}, "invalid choice"),
        ("", {}, "COMMAND"),
        ("data cifar10 --results params.yaml", {}, "params.yaml"),
    ],
)
def test_bad_input_is_one_message_and_status_2(bars: Bars, words: str, edits: dict[str, Any], said: str) -> None:
    status, out, err = bars(*words.split(), edits=edits)
    assert status == 2, err
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_traceback_on_request(bars: Bars) -> None:
    status, _, err = bars("cost", "nobody", "--traceback")
    assert status == 2
    assert "Traceback" in err
    assert bars("--traceback", "cost", "nobody")[2].count("Traceback") == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("boom\nsecond line"), 1, "RuntimeError: boom"),
        (ValueError(), 1, "ValueError"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 1, "batch_size"),
    ],
)
def test_failures_inside(
    bars: Bars, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    from bars.commands import listing

    def fail() -> int:
        raise error

    monkeypatch.setattr(listing, "list_experiments", fail)
    found, _, err = bars("experiments")
    assert found == status
    assert said in err
    assert "second line" not in err
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_failure_to_shout_about() -> None:
    command = f"{sys.executable} -m bars experiments --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "{"
    assert done.stderr == ""


# ----------------------------------------------------------------------------------------------------- questions
def test_experiments_as_text_and_json(bars: Bars) -> None:
    status, out, err = bars("experiments")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "scale tiny, 10 of 10 experiments are run"
    assert len(out.splitlines()) == 12
    status, out, _ = bars("experiments", "--json", "--scale", "cpu")
    answer = json.loads(out)
    assert answer["scale"] == "cpu"
    by_name = {e["name"]: e for e in answer["experiments"]}
    assert by_name["b"]["reason"] == "no imagenet data at scale cpu"
    assert by_name["a"]["reason"] is None
    assert by_name["a"]["seeds"] == [0]
    assert by_name["a-x2"]["kind"] == "widened"


def test_cost_before_and_of_a_baseline(bars: Bars) -> None:
    status, out, _ = bars("cost", "a", "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["smallest_biops"] < answer["budget_biops"] < answer["largest_3x3_biops"]
    assert "none is derived yet" in answer["genotype"]
    assert "biops" not in answer
    status, out, _ = bars("cost", "r18", "--json")
    answer = json.loads(out)
    assert status == 0
    for divisor in (64, 32):
        assert answer[f"equivalent_ops_{divisor}"] == answer["flops"] + answer["biops"] / divisor
    assert answer["params"] > 0
    assert "flops" in bars("cost", "r18")[1]


def test_options_stand_before_or_behind_the_command(bars: Bars, tmp_path: Path) -> None:
    bars("experiments")
    (tmp_path / "other.yaml").write_text((tmp_path / "params.yaml").read_text().replace("scale: tiny", "scale: cpu"))
    assert bars("--params", "other.yaml", "experiments")[1].startswith("scale cpu")
    assert bars("experiments", "--params", "other.yaml")[1].startswith("scale cpu")


def test_light_commands_import_nothing_heavy() -> None:
    """Snakemake and readers call these often; torch alone takes seconds."""
    script = (
        "import sys; from bars.cli import main; status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr); sys.exit(status)"
    )
    for words, status in (("experiments", 0), ("cost bars-a", 0), ("table table9", 2)):
        command = [sys.executable, "-c", script, *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == status, done.stderr
        assert done.stderr.splitlines()[-1] == "[]"


def test_module_and_version() -> None:
    done = subprocess.run([sys.executable, "-m", "bars", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("bars ")


def test_main_finds_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bars", "--version"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0


# ----------------------------------------------------------------------------------------------------- doctor
def test_doctor_finds_nothing_wrong(bars: Bars) -> None:
    status, out, err = bars("doctor")
    assert (status, err) == (0, "")
    assert "10 of 10 experiments" in out
    assert "stop" not in out


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"scales/tiny/search/epochs": "x"}, "scales.tiny.search.epochs"),
        ({"runtime/device": "cuda:63"}, "the device is not there"),
        (
            {"scales/tiny/slots/cifar10/data": {"source": "cifar10", "path": "nowhere", "image_size": 8}},
            "download is false",
        ),
        ({"scales/tiny/slots/cifar10/data": {"source": "imagefolder", "image_size": 8}}, "no folder is given"),
        (
            {"scales/tiny/slots/cifar10/data": {"source": "imagefolder", "path": "x", "image_size": 8}},
            "there is no such folder",
        ),
    ],
)
def test_doctor_tells_what_would_stop_a_run(bars: Bars, edits: dict[str, Any], said: str) -> None:
    status, out, err = bars("doctor", edits=edits)
    assert status == 2
    assert [line for line in out.splitlines() if line.startswith("stop")]
    assert said in out
    assert "would stop a run" in err


def test_doctor_speaks_of_what_is_used_and_of_left_overs(bars: Bars, tmp_path: Path) -> None:
    (tmp_path / "results/tiny/searched/a/seed-0/search.tmp-1").mkdir(parents=True)
    _, out, _ = bars("doctor", "--scale", "cpu")
    assert "imagenet" not in out and "scale tiny" not in out
    assert "search.tmp-1" in out


def test_doctor_counts_images_and_finds_empty_files(bars: Bars, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / part / name / "a.png")
    (root / "train/cat/notes.txt").write_text("")
    data = {"source": "imagefolder", "path": str(root), "image_size": 8}
    edits = {"scales/tiny/slots/cifar10/data": data, "scales/tiny/slots/imagenet": None}
    _, out, _ = bars("doctor", edits=edits)
    assert "2 train images, 2 test images of 2 classes; 1 other files passed over" in out
    (root / "test/dog/a.png").write_bytes(b"")
    status, out, _ = bars("doctor", edits=edits)
    assert status == 2 and "image files of zero bytes" in out and "test/dog/a.png" in out
    assert not (tmp_path / ".bars/images").exists()  # looking leaves nothing


# ----------------------------------------------------------------------------------------------------- progress
class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_per_epoch_off_a_terminal() -> None:
    ticks = iter([0.0, 2.0, 6.0])
    stream = io.StringIO()
    progress = EpochProgress("search a seed 0", stream, lambda: next(ticks))
    progress.epoch("search", 3, 4, {"train_loss": 1.23456, "share_none": 0.5})
    progress.epoch("search", 4, 4, {"train_loss": 1.0})
    progress.close()
    assert stream.getvalue().splitlines() == [
        "search a seed 0: epoch 3/4  train_loss 1.235  2.0 s, 2 s left",
        "search a seed 0: epoch 4/4  train_loss 1  4.0 s, 0 s left",
    ]


def test_progress_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    progress = EpochProgress("retrain", stream)
    progress.epoch("retrain", 3, 4, {"lr": 0.1})
    progress.epoch("retrain", 4, 4, {"lr": 0.1})
    assert "4/4" in stream.getvalue()
    assert "lr=0.1" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_environment_of_these_tests() -> None:
    """Nothing above may have written into the repository."""
    assert not os.path.exists(ROOT / "results/tiny")


@pytest.mark.parametrize("words", [
    ["init", "d"], ["experiments"], ["cost", "a"], ["data", "d"], ["search", "a", "--seed", "0"], ["table", "table1"],
    ["figure", "fig1"], ["report"], ["export", "a", "--seed", "0"], ["predict", "m", "i"], ["latency"], ["doctor"],
])  # fmt: skip
def test_every_command_has_a_function_whose_arguments_are_its_options(words: list[str]) -> None:
    args = cli._parser().parse_args(words)
    module, function = args.run.split(".")
    taken = inspect.signature(getattr(importlib.import_module(f"bars.commands.{module}"), function)).parameters
    assert set(taken) <= set(vars(args))
    left = {"params", "results", "traceback", "scale", "command", "run"}  # of every command, whatever it reads
    assert set(vars(args)) - set(taken) <= left
