"""What --configfile and --config say, as a params file; and reasons for people."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bars.errors import ParamsError
from bars.pipeline.load import load_params
from bars.pipeline.paths import MERGED
from bars.pipeline.reasons import short_reason
from bars.pipeline.study import study_file
from tests.grids import TREE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(TREE, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_said_is_the_default() -> None:
    assert study_file({}, [], "params.yaml", {}) == ("params.yaml", None)
    assert study_file({"scale": "cpu", "params": "other.yaml"}, [], "params.yaml", {}) == ("other.yaml", "cpu")
    assert not MERGED.exists()


def test_a_file_that_includes_another_is_named_itself(folder: Path) -> None:
    study = {"include": "../params.yaml", "recipe": "own"}
    (folder / "sub").mkdir()
    (folder / "sub/study.yaml").write_text(yaml.safe_dump(study))
    said = study_file({**study, "scale": "cpu"}, [folder / "sub/study.yaml"], "elsewhere.yaml", {"scale": "cpu"})
    assert said == ("sub/study.yaml", "cpu")


def test_keys_win_over_the_file_that_they_build_on(folder: Path) -> None:
    config = {"runtime": {"threads": "3"}, "report": {"figures": {"dpi": 90}}}
    path, _ = study_file(config, [], "params.yaml", {"runtime": {"threads": "3"}})
    loaded = load_params(path)
    assert loaded.tree["runtime"]["threads"] == 3  # --config leaves it as text
    assert loaded.report.figures.dpi == 90
    assert loaded.files[1].resolve() == folder / "params.yaml"
    assert study_file(config, [], "params.yaml", {"runtime": {"threads": "3"}})[0] == path  # named by its content


def test_an_include_with_more_keys_is_resolved_beside_its_file(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/params.yaml").write_text(yaml.safe_dump({**TREE, "recipe": "own"}, sort_keys=False))
    (folder / "sub/study.yaml").write_text("include: params.yaml\n")
    config = {"include": "params.yaml", "report": {"figures": {"dpi": 90}}}
    path, _ = study_file(config, [folder / "sub/study.yaml"], "params.yaml", {})
    assert load_params(path).recipe == "own"


@pytest.mark.parametrize(("config", "said"), [({"epochs": 3}, "no such key: epochs"), ({"scale": 3}, "not a name")])
def test_what_no_params_file_has_is_refused(config: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        study_file(config, [], "params.yaml", {})


# ----------------------------------------------------------------------------------------------------- reasons
def test_a_reason_names_what_is_different_in_the_parameters() -> None:
    before, now = '{"search":{"epochs":12,"lr":1}}', '{"search":{"epochs":13,"lr":1}}'
    reason = f"Params have changed since last execution: Union of x: before: '{before}' now: '{now}' "
    assert short_reason(reason) == "Params have changed since last execution: search.epochs 12 -> 13"


def test_a_reason_names_the_jobs_before_and_the_first_files() -> None:
    reason = "Missing output files: a, b, c, d, e; Input files updated by another job: r/x/1, r/x/2, r/y/1; Other"
    assert (
        short_reason(reason)
        == "Missing output files: a, b, c and 2 more; Input files updated by another job: r/x, r/y; Other"
    )
