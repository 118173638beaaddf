"""bars init, and commands in a folder without a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from bars.cli import main
from bars.pipeline.load import load_params
from tests.workflow.planning import ROOT, snakemake


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_study_builds_on_the_packaged_parameters(folder: Path) -> None:
    assert main(["init", "study"]) == 0
    loaded = load_params("study/params.yaml")
    assert loaded.scale == "smoke"
    assert loaded.files[1] == ROOT / "params.yaml"


def test_a_new_study_runs_the_packaged_workflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["init", "study"])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = snakemake("-n", "audit", root=folder / "study")
    assert done.returncode == 0, done.stderr
    assert "Write audit" in done.stdout + done.stderr
    assert "--params params.yaml" in done.stdout + done.stderr


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").write_text("mine\n")
    assert main(["init", "."]) == 2
    assert "README.md" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["README.md"]


@pytest.mark.parametrize("words", [["experiments"], ["cost", "bars-b"], ["doctor"]])
def test_commands_that_look_work_anywhere_and_leave_nothing(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert "no params.yaml here" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
