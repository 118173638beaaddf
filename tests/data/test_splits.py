from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bars.data import Split, load_source, make_split, manifest, open_part, read_split
from bars.errors import DataError, RecordError
from bars.params import DataParams
from tests.blocks import block

Make = Callable[..., Path]
Params = Callable[..., DataParams]
DIGITS = block(DataParams, source="digits", image_size=8)


def digits(**values: Any) -> DataParams:
    return block(DataParams, **{"source": "digits", "image_size": 8, **values})


def counts(params: DataParams, split: dict[str, Any], part: str) -> Counter[int]:
    source = load_source(params)
    labels = (source.test if part == "test" else source.train).labels
    return Counter(labels[split[part]].tolist())


def test_every_image_is_used_once_and_classes_are_halved() -> None:
    split = make_split(DIGITS)
    source = load_source(DIGITS)
    assert sorted(split["train"] + split["valid"]) == list(range(len(source.train)))
    assert sorted(split["test"]) == list(range(len(source.test)))
    train, valid = counts(DIGITS, split, "train"), counts(DIGITS, split, "valid")
    assert all(0 <= valid[c] - train[c] <= 1 for c in range(10))


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.9])
def test_valid_fraction_holds_in_every_class(fraction: float) -> None:
    params = digits(valid_fraction=fraction)
    split = make_split(params)
    train, valid = counts(params, split, "train"), counts(params, split, "valid")
    for c in range(10):
        assert abs(valid[c] - fraction * (train[c] + valid[c])) <= 0.5


def test_subsets_are_balanced_and_exact() -> None:
    params = digits(max_train=205, max_test=33)
    split = make_split(params)
    train, valid, test = (counts(params, split, part) for part in ("train", "valid", "test"))
    assert sum(train.values()) + sum(valid.values()) == 205
    assert {train[c] + valid[c] for c in range(10)} == {20, 21}
    assert sum(test.values()) == 33 and set(test.values()) == {3, 4}


def test_a_fixed_order_mixes_the_classes() -> None:
    split, labels = make_split(DIGITS), load_source(DIGITS).train.labels
    assert len(set(labels[split["valid"][:40]].tolist())) >= 8


def test_the_same_parameters_give_the_same_bytes_and_the_seed_matters() -> None:
    assert json.dumps(make_split(DIGITS)) == json.dumps(make_split(DIGITS))
    other = make_split(digits(split_seed=1))
    assert set(other["train"]) != set(make_split(DIGITS)["train"])


def test_no_image_of_the_search_subset_is_in_the_test_part_of_all() -> None:
    some, everything = digits(classes=5), DIGITS
    subset, whole = make_split(some), make_split(everything)
    searched = load_source(some).train.load(subset["train"] + subset["valid"], 8)
    tested = load_source(everything).test.load(whole["test"], 8)
    assert not {image.numpy().tobytes() for image in searched} & {image.numpy().tobytes() for image in tested}


def test_statistics_are_those_of_the_train_images_only() -> None:
    params = digits(image_size=16, max_train=100)
    split = make_split(params)
    images = load_source(params).train.load(split["train"], 16).numpy().astype(np.float64) / 255
    assert split["channel_mean"] == pytest.approx(images.mean((0, 2, 3)), abs=1e-12)
    assert split["channel_std"] == pytest.approx(images.std((0, 2, 3)), abs=1e-12)


def test_what_stands_in_a_split() -> None:
    split = make_split(digits(label="small digits"))
    assert split["format"] == "bars-split/2" and split["dataset"] == "small digits" and split["source"] == "digits"
    assert split["classes"] == list("0123456789") and split["image_size"] == 8
    assert {len(split[key]) for key in ("sha256", "content_sha256")} == {64}


# --------------------------------------------------------------------------------------------------- reading
@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(make_split(DIGITS)))
    return path


def test_round_trip(written: Path) -> None:
    split, content = read_split(written, DIGITS), make_split(DIGITS)
    assert list(split.train) == content["train"] and list(split.test) == content["test"]
    assert list(split.channel_std) == content["channel_std"] and split.sha256 == content["sha256"]


def test_what_does_not_decide_a_split_may_change(written: Path) -> None:
    free = digits(path="anywhere", workers=7, flip=True, crop_padding=1, memory_limit_gb=1.0, in_memory="always")
    assert read_split(written, free).sha256 == read_split(written, DIGITS).sha256


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 5},
        {"image_size": 16},
        {"valid_fraction": 0.4},
        {"test_fraction": 0.3},
        {"max_train": 100},
        {"max_test": 100},
        {"split_seed": 3},
        {"label": "other"},
    ],
)
def test_a_split_of_other_parameters_is_refused(written: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="other parameters") as caught:
        read_split(written, digits(**change))
    assert f"data.{next(iter(change))}: {next(iter(change.values()))}" in str(caught.value)
    with pytest.raises(RecordError, match="other parameters"):
        open_part(digits(**change), read_split(written, DIGITS), "train")


@pytest.mark.parametrize(
    "alter",
    [
        lambda split: split["train"].append(split["test"][0]),
        lambda split: split["valid"].reverse(),
        lambda split: split["classes"].reverse(),
        lambda split: split.update(channel_mean=[0.5, 0.5, 0.5]),
        lambda split: split["content"].update(train="0" * 64),
        lambda split: split.update(sha256="0" * 64),
    ],
)
def test_an_altered_split_is_refused(written: Path, alter: Callable[[dict[str, Any]], None]) -> None:
    split = json.loads(written.read_text())
    alter(split)
    written.write_text(json.dumps(split))
    with pytest.raises(RecordError, match="altered"):
        read_split(written, DIGITS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ('{"format": "bars-split/2", "tra', "cannot be read"),
        ("[]", "not a split of this version"),
        ("{}", "not a split of this version"),
        ('{"format": "bars-split/2"}', "split.json: dataset"),
    ],
)
def test_a_malformed_split_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(RecordError, match=said) as caught:
        read_split(tmp_path / "split.json", DIGITS)
    assert str(tmp_path / "split.json") in str(caught.value)


def test_unknown_keys_are_refused(written: Path) -> None:
    written.write_text(json.dumps({**json.loads(written.read_text()), "vaild": []}))
    with pytest.raises(RecordError, match="vaild"):
        read_split(written, DIGITS)


def test_a_missing_split_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="bars data"):
        read_split(tmp_path / "split.json", DIGITS)


# --------------------------------------------------------------------------------------------------- folders
PETS = {"cat": 6, "dog": 6}


@pytest.mark.parametrize("content", [b"no image", b"", None])
def test_an_unreadable_test_image_is_found_before_any_training(
    make_folder: Make, folder_params: Params, content: bytes | None
) -> None:
    root = make_folder({"train": PETS, "val": PETS}, size=(40, 40))
    broken = root / "val" / "dog" / "004.png"
    broken.write_bytes(broken.read_bytes()[:300] if content is None else content)
    with pytest.raises(DataError, match="004.png"):
        make_split(folder_params(root))


def test_of_a_test_image_only_its_hash_has_a_part_in_the_split(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    before = make_split(folder_params(root))
    Image.new("RGB", (12, 12), "red").save(root / "val" / "cat" / "000.png")
    after = make_split(folder_params(root))
    assert {key for key in before if before[key] != after[key]} == {"content", "content_sha256", "sha256"}


def test_swapped_images_of_the_same_size_are_refused(make_folder: Make, folder_params: Params) -> None:
    """Same names, sizes and dates; only the pixels are others."""
    root = make_folder({"train": PETS, "val": PETS})
    images = [Image.new("RGB", (12, 12), colour) for colour in ("red", "blue")]
    one, other = root / "val" / "cat" / "000.bmp", root / "val" / "dog" / "000.bmp"
    for path, image in zip((one, other), images, strict=True):
        image.save(path)
        os.utime(path, (1, 1))
    split = Split.from_json(make_split(folder_params(root)), folder_params(root))
    assert open_part(folder_params(root), split, "test").size == 14
    between = root / "between"
    one.rename(between)
    other.rename(one)
    between.rename(other)
    with pytest.raises(RecordError, match="not those that the split was made of"):
        open_part(folder_params(root), split, "test")
    assert open_part(folder_params(root), split, "train").size == 6


def test_an_unchanged_folder_is_read_once(
    make_folder: Make, folder_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    before, read = make_split(folder_params(root)), list[Path]()
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), original(path))[1])
    assert make_split(folder_params(root)) == before
    assert not read
    (root / "train" / "cat" / "003.png").touch()
    assert make_split(folder_params(root)) == before
    assert read == [root / "train" / "cat" / "003.png"]


@pytest.mark.parametrize("content", ["", "[]", '{"train/cat/000.png": 1}', '{"a": ["b"'])
def test_a_spoiled_manifest_is_made_again(make_folder: Make, folder_params: Params, content: str) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    before = make_split(folder_params(root))
    (kept,) = manifest.MANIFESTS.iterdir()
    kept.write_text(content)
    assert make_split(folder_params(root)) == before


def test_the_split_counts_what_was_found_read_and_skipped(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": {"cat": 2, "dog": 3}})
    Image.new("P", (12, 12)).save(root / "train" / "cat" / "a.gif")
    for name in ("cat/notes.txt", "cat/more.txt", "dog/.hidden.png", "readme.md"):
        (root / "train" / name).write_text("no image")
    shutil.copy(root / "train" / "cat" / "a.gif", root / "val" / "cat" / "copy.gif")
    counted = make_split(folder_params(root))["images"]
    assert counted["train"]["read"] == 13 and counted["train"]["classes"] == {"cat": 7, "dog": 6}
    assert counted["test"] == {"read": 6, "classes": {"cat": 3, "dog": 3}, "skipped": {}}
    skipped = {reason: (s["count"], s["first"]) for reason, s in counted["train"]["skipped"].items()}
    assert skipped == {
        "no image by its name (.txt)": (2, "train/cat/more.txt"),
        "hidden": (1, "train/dog/.hidden.png"),
        "in no class folder": (1, "train/readme.md"),
    }
    assert counted["copies"] == {"within_train": 0, "test_in_train": 1}


def test_a_folder_may_move(make_folder: Make, folder_params: Params, tmp_path: Path) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    split = Split.from_json(make_split(folder_params(root)), folder_params(root))
    root.rename(tmp_path / "moved")
    assert open_part(folder_params(tmp_path / "moved"), split, "test").size == 12


def test_other_images_are_refused(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    split = Split.from_json(make_split(folder_params(root)), folder_params(root))
    Image.new("RGB", (50, 50)).save(root / "train" / "cat" / "000.png")
    for part in ("train", "valid", "train+valid"):
        with pytest.raises(RecordError, match="not those that the split was made of"):
            open_part(folder_params(root), split, part)  # type: ignore[arg-type]
    assert open_part(folder_params(root), split, "test").size == 12
    (root / "train" / "cat" / "001.png").unlink()
    with pytest.raises(RecordError, match="not those that the split was made of"):
        open_part(folder_params(root), split, "train")


def test_a_class_with_one_image_is_named(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": {**PETS, "owl": 1}, "val": {**PETS, "owl": 1}})
    with pytest.raises(DataError, match="too few images") as caught:
        make_split(folder_params(root))
    for words in ("class owl", str(root / "train" / "owl"), "at least 2", "do:"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_train": 15}, "raise data.max_train"),
        ({"valid_fraction": 0.001}, "at least 500"),
        ({"max_test": 9}, "no test image left"),
    ],
)
def test_too_few_images(values: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        make_split(digits(**values))


def test_a_corrupt_train_image_is_named(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS}, size=(40, 40))
    broken = root / "train" / "dog" / "002.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        for seed in range(8):  # the image may be in valid, which is not opened for the statistics
            make_split(folder_params(root, split_seed=seed))
    assert str(broken) in str(caught.value)


def test_blank_images_are_refused(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    for path in (root / "train").rglob("*.png"):
        Image.new("RGB", (12, 12), (9, 9, 9)).save(path)
    with pytest.raises(DataError, match="same value"):
        make_split(folder_params(root))
