from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bars.errors import ParamsError
from bars.pipeline.load import load_params, merge_blocks, merge_files
from bars.pipeline.problems import NAME_PATTERN
from bars.pipeline.schema import SCHEMA, file_model, params_schema, schema_text

REPOSITORY = Path(__file__).resolve().parents[2]

keys = st.sampled_from(["a", "b", "c", "d"])
leaves = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=3), st.booleans())
trees = st.recursive(
    st.dictionaries(keys, leaves, max_size=4),
    lambda inner: st.dictionaries(keys, inner | leaves, max_size=4),
    max_leaves=12,
)


def leaf_paths(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, value in tree.items() for k, v in leaf_paths(value, (*path, key)).items()}


@given(trees, trees)
def test_merge_is_the_later_leaf_or_an_error_of_kinds(below: dict[str, Any], above: dict[str, Any]) -> None:
    lower, upper = leaf_paths(below), leaf_paths(above)

    def prefixes(paths: Any) -> set[tuple[str, ...]]:
        return {p[:i] for p in paths for i in range(1, len(p))}

    def mappings(tree: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        if not isinstance(tree, dict):
            return set()
        return {path}.union(*(mappings(v, (*path, k)) for k, v in tree.items()))

    clash = (mappings(below) & set(upper)) | (mappings(above) & set(lower))
    if clash:
        with pytest.raises(ParamsError):
            merge_blocks(below, above)
        return
    assert leaf_paths(merge_blocks(below, above)) == {**lower, **upper}


@given(trees, trees)
def test_merge_leaves_its_arguments_alone(below: dict[str, Any], above: dict[str, Any]) -> None:
    before = json.dumps([below, above])
    with contextlib.suppress(ParamsError):
        merge_blocks(below, above)
    assert json.dumps([below, above]) == before


@given(trees)
def test_merge_with_itself_or_nothing_changes_nothing(tree: dict[str, Any]) -> None:
    assert merge_blocks(tree, tree) == merge_blocks({}, tree) == merge_blocks(tree, {}) == tree


def test_merge_error_names_the_dotted_path() -> None:
    with pytest.raises(ParamsError, match=re.escape("experiments.x.search.temperature")):
        merge_blocks({"search": {"temperature": {"start": 1}}}, {"search": {"temperature": 3}}, "experiments.x")


def test_a_budget_is_replaced_whole() -> None:
    below, above = {"search": {"budget": {"fraction": 0.1}}}, {"search": {"budget": {"biops": 5}}}
    assert merge_blocks(below, above) == above


def test_null_removes_a_mapping_between_files_only() -> None:
    below, above = {"slots": {"imagenet": {"data": {}}}}, {"slots": {"imagenet": None}}
    assert merge_files(below, above) == above
    with pytest.raises(ParamsError):
        merge_blocks(below, above)


@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_names_are_safe_as_paths_and_shell_words(name: str) -> None:
    import shlex

    assert shlex.quote(name) == name
    assert Path("x", name).parts == ("x", name)
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize("name", ["", "A", ".x", "-x", "x y", "x/y", "x_y", "é", "x" * 65, "..", "x\n", "$x"])
def test_other_names_are_refused(write_params: Any, name: str) -> None:
    path = write_params({"experiments/baselines": {name: {"slot": "cifar10", "model": {"family": "f"}}}})
    with pytest.raises(ParamsError, match="not a valid name"):
        load_params(path)


# ---------------------------------------------------------------------------------------------------- one message
def problems(path: Path) -> str:
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    return str(caught.value)


def test_every_problem_is_told_with_its_layer(write_params: Any) -> None:
    message = problems(
        write_params(
            {
                "scales/tiny/search/epochs": "x",
                "scales/cpu/seeds": [0, 0],
                "defaults/retrain/lr": -1,
                "experiments/searched/a/serach": {},
                "experiments/ablations/a-shared/space/cell_types": "starfish",
                "report/claims/confidence": 2,
                "defaults/search/alpha_betas": [0.5],
            }
        )
    )
    for line in (
        r"scales\.tiny\.search\.epochs: got 'x', allowed a whole number >= 1",
        r"scales\.cpu\.seeds: got \[0, 0\]: a seed is written twice",
        r"defaults\.retrain\.lr: got -1, allowed a number > 0",
        r"experiments\.searched\.a\.serach: no such key; did you mean search\?",
        r"experiments\.ablations\.a-shared\.space\.cell_types: got 'starfish', allowed one of stage, shared, cell",
        r"report\.claims\.confidence: got 2, allowed a number > 0 and < 1",
        r"defaults\.search\.alpha_betas: got \[0.5\], allowed a list of 2, each a number",
    ):
        assert re.search(line, message), (line, message)
    assert "7 problems" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scales/tiny/search/epochs", True),
        ("scales/tiny/search/epochs", 1.5),
        ("scales/tiny/search/epochs", None),
        ("scales/tiny/search/epochs", 0),
        ("scales/tiny/search/epochs", "3"),
        ("scales/tiny/search/weight_lr", float("nan")),
        ("scales/tiny/search/weight_lr", float("inf")),
        ("scales/tiny/seeds", []),
        ("scales/tiny/seeds", [-1]),
        ("scales/tiny/seeds", [2**32]),
        ("scales/tiny/seeds", 3),
        ("scales/tiny/slots/cifar10/data/classes", [1, 2]),
        ("scales/tiny/slots/cifar10/data/image_size", 2),
        ("scales/tiny/slots/mnist", None),
        ("scales/tiny/space", None),
        ("scales/tiny/space", [1]),
        ("runtime/device", "tpu"),
        ("runtime/threads", 0),
        ("recipe", "mine"),
        ("scale", "Tiny"),
        ("experiments/others", {}),
        ("experiments/searched/a/search/budget", {"fraction": 0.5, "biops": 5}),
        ("experiments/searched/a/search/budget", {}),
        ("experiments/searched/a/search/budget", {"fraction": 1.5}),
        ("experiments/searched/a/base", "../b"),
        ("experiments/searched/a/extra", "yes"),
        ("defaults/search/alpha_betas", [0.5]),
        ("defaults/search/alpha_betas", [0.5, 0.9, 0.99]),
        ("scales/tiny/experiments/a/search/epochs", "many"),
    ],
)
def test_bad_values_are_refused_where_they_stand(write_params: Any, path: str, value: Any) -> None:
    message = problems(write_params({path: value}))
    *above, last = path.split("/")
    assert ".".join(above) in message
    assert last in message
    assert "is not valid" in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("- 1", "not a mapping"),
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2", "written twice"),
        ("a: {b: 1, b: 2}", "written twice"),
        ("a: &x {b: *x}", "alias"),
        ("scale: 2020-01-01", "date"),
        ("1: x", "int"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("\tscale: smoke", "not valid YAML"),
    ],
)
def test_bad_yaml_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    message = problems(tmp_path / "p.yaml")
    assert said in message
    assert "p.yaml" in message


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert "--params" in problems(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"scale: \xe9")
    assert "UTF-8" in problems(tmp_path / "latin.yaml")
    assert "cannot read" in problems(tmp_path)


def test_numbers_without_a_point_are_numbers(write_params: Any) -> None:
    path = write_params()
    path.write_text(path.read_text().replace("weight_lr: 0.05", "weight_lr: 5e-2"))
    assert load_params(path).tree["defaults"]["search"]["weight_lr"] == 0.05


# ----------------------------------------------------------------------------------------------- references
def test_references_are_checked(write_params: Any) -> None:
    message = problems(
        write_params(
            {
                "scale": "tinyy",
                "scales/tiny/experiments": {"aa": {}},
                "experiments/baselines/a": {"slot": "cifar10"},
                "experiments/baselines/cifar10-search": {"slot": "cifar10"},
            }
        )
    )
    assert "did you mean tiny?" in message
    assert "experiments.baselines.a: this name is already one of experiments.searched" in message
    assert "cifar10-search: this is the name of a data set" in message
    assert "scales.tiny.experiments.aa: no such experiment" in message


def test_include_is_laid_under_the_including_file(write_params: Any, tmp_path: Path) -> None:
    write_params(name="base.yaml")
    mine = tmp_path / "mine.yaml"
    imagenet = {"data": {"source": "imagefolder", "path": "x", "image_size": 64}}
    tree = {"include": "base.yaml", "scale": "cpu", "scales": {"cpu": {"seeds": [7], "slots": {"imagenet": imagenet}}}}
    mine.write_text(yaml.safe_dump(tree))
    params = load_params(mine)
    assert params.scale == "cpu"
    assert params.tree["scales"]["cpu"]["seeds"] == [7]
    assert params.tree["scales"]["cpu"]["slots"]["imagenet"] == imagenet
    assert params.tree["scales"]["cpu"]["space"] == {"init_channels": 8}
    assert [p.name for p in params.files] == ["mine.yaml", "base.yaml"]
    assert "include" not in params.tree


def test_an_include_is_found_beside_above_or_in_the_working_directory(
    write_params: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_params()
    (tmp_path / "examples").mkdir()
    for place in (tmp_path / "examples" / "own.yaml", tmp_path / "copy.yaml"):
        place.write_text("include: params.yaml\nrecipe: own")
        params = load_params(place)
        assert params.recipe == "own" and params.files[1].samefile(base)
    apart = tmp_path / "study" / "params.yaml"  # of the same name as what it includes
    apart.parent.mkdir()
    apart.write_text("include: params.yaml\nrecipe: own")
    assert load_params(apart).files[1].samefile(base)
    elsewhere = tmp_path.parent / f"{tmp_path.name}.yaml"
    elsewhere.write_text("include: params.yaml\nrecipe: own")
    monkeypatch.chdir(tmp_path)
    assert load_params(elsewhere).recipe == "own"
    elsewhere.unlink()


@pytest.mark.parametrize(("word", "value"), [("off", "off"), ("on", "on"), ("'off'", "off")])
def test_on_and_off_are_texts(write_params: Any, tmp_path: Path, word: str, value: str) -> None:
    write_params()
    (tmp_path / "mine.yaml").write_text(f"include: params.yaml\nruntime: {{capture: {word}}}\n")
    assert load_params(tmp_path / "mine.yaml").tree["runtime"]["capture"] == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runtime: {capture: false}", "runtime.capture: got False, allowed one of auto, on, off"),
        ("defaults: {retrain: {nesterov: yes}}", "got 'yes', allowed true or false"),
    ],
)
def test_only_true_and_false_are_booleans(write_params: Any, tmp_path: Path, text: str, said: str) -> None:
    write_params()
    (tmp_path / "mine.yaml").write_text(f"include: params.yaml\n{text}\n")
    assert said in problems(tmp_path / "mine.yaml")


def test_bad_includes(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"include: {other}.yaml")
    assert "circle" in problems(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("include: nowhere.yaml")
    assert re.search(r"nowhere\.yaml, included by .*c\.yaml", problems(tmp_path / "c.yaml"))
    (tmp_path / "d.yaml").write_text("include: [a.yaml]")
    assert "include" in problems(tmp_path / "d.yaml")


# ----------------------------------------------------------------------------------------------------- schema
def test_schema_file_is_in_step() -> None:
    assert SCHEMA.read_text() == schema_text(), "write it again: python -m bars.pipeline.schema"


def test_the_repository_file_is_valid_in_both_ways() -> None:
    path = REPOSITORY / "params.yaml"
    load_params(path)
    jsonschema.Draft202012Validator.check_schema(params_schema())
    jsonschema.validate(yaml.safe_load(path.read_text()), params_schema())


def test_schema_refuses_what_load_refuses(write_params: Any) -> None:
    for edit in (
        {"scales/tiny/search/epochs": "x"},
        {"colour": 1},
        {"scales/tiny/slots/mnist": None},
        {"runtime/threads": 0},
    ):
        tree = yaml.safe_load(write_params(edit).read_text())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tree, params_schema())


def test_every_key_has_a_meaning() -> None:
    schema = params_schema()
    for name, definition in schema["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            described = value.get("description") or "$ref" in value or name in ("Ramp", "Budget", "ReportParams")
            assert described, f"{name}.{key} has no description"


def test_model_is_built_once() -> None:
    assert file_model() is file_model()


def test_a_file_that_is_read_again_is_as_it_was(tmp_path: Path) -> None:
    """It is parsed once per text, and nobody's changes are anybody else's."""
    file, text = tmp_path / "params.yaml", (REPOSITORY / "params.yaml").read_text()
    file.write_text(text)
    load_params(file).tree["scales"].clear()
    assert load_params(file).scales == ("smoke", "cpu", "gpu", "paper")
    file.write_text(text.replace("recipe: common", "recipe: own", 1))
    assert load_params(file).recipe == "own"
