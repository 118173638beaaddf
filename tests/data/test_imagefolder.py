from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bars.data import load_source
from bars.data.imagefolder import FolderDataset
from bars.errors import DataError
from bars.params import DataParams
from tests.blocks import block

Make = Callable[..., Path]
Params = Callable[..., DataParams]
PETS = {"cat": 4, "dog": 3, "owl": 2}


def test_files_are_sorted_by_class_and_name(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": {"cat": 1, "dog": 1, "owl": 1}})
    source = load_source(folder_params(root))
    assert source.classes == ("cat", "dog", "owl")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    assert isinstance(source.train, FolderDataset)
    assert source.train.files == [f"train/{name}/{i:03d}.png" for name, n in PETS.items() for i in range(n)]
    read = source.train.load([5, 0], 12)
    for image, file in zip(read, ("train/dog/001.png", "train/cat/000.png"), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(Image.open(root / file)))
    assert len(source.test) == 3


def test_the_first_classes_and_named_ones(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "test": PETS})
    assert load_source(folder_params(root, classes=2)).classes == ("cat", "dog")
    source = load_source(folder_params(root, classes=("owl", "cat")))
    assert source.classes == ("cat", "owl")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 2


def test_hidden_files_other_files_and_links(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": {"cat": 2}, "elsewhere": {"dog": 2}, "val": {"cat": 1, "dog": 1}})
    (root / "train" / "dog").symlink_to(root / "elsewhere" / "dog")
    (root / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (root / "train" / "cat" / "boxes.txt").write_text("1 2 3 4")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "train" / "cat" / "images").mkdir()
    Image.new("RGB", (3, 3)).save(root / "train" / "cat" / "images" / "BIG.JPEG")
    source = load_source(folder_params(root))
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert isinstance(source.train, FolderDataset)
    assert "train/cat/images/BIG.JPEG" in source.train.files


def test_a_trailing_slash_changes_nothing(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    plain, slash = load_source(folder_params(root)).train, load_source(folder_params(f"{root}/")).train
    assert plain.fingerprint(range(9)) == slash.fingerprint(range(9))


def test_the_folder_that_fits_train_is_the_test_part(make_folder: Make, folder_params: Params) -> None:
    """An ImageNet folder has a test folder without labels beside val."""
    root = make_folder({"train": PETS, "val": PETS, "test": {"images": 2}})
    test = load_source(folder_params(root)).test
    assert isinstance(test, FolderDataset) and test.files[0] == "val/cat/000.png"
    shutil.rmtree(root / "test")
    shutil.copytree(root / "val", root / "test")
    test = load_source(folder_params(root)).test
    assert isinstance(test, FolderDataset) and test.files[0] == "test/cat/000.png"


def test_the_fingerprint_sees_names_bytes_and_labels(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    before = load_source(folder_params(root)).train
    assert before.fingerprint([0, 1]) == before.fingerprint([1, 0]) != before.fingerprint([0, 2])
    cats, dogs = before.fingerprint([0, 1]), before.fingerprint([4, 5])
    (root / "train" / "cat" / "000.png").rename(root / "train" / "cat" / "0000.png")
    renamed = load_source(folder_params(root)).train
    assert renamed.fingerprint([0, 1]) != cats
    assert renamed.fingerprint([4, 5]) == dogs
    with open(root / "train" / "dog" / "000.png", "ab") as file:
        file.write(b"\0")
    assert load_source(folder_params(root)).train.fingerprint([4, 5]) != dogs


# --------------------------------------------------------------------------------------------------- links
def test_a_link_to_its_own_folder_gives_no_image_twice(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    (root / "train" / "cat" / "again").symlink_to(".")
    (root / "train" / "dog" / "up").symlink_to("..")
    (root / "train" / "dog" / "cats").symlink_to(root / "train" / "cat")
    train = load_source(folder_params(root)).train
    assert isinstance(train, FolderDataset)
    assert len(train) == 9 and train.counts()["classes"] == PETS
    assert train.skipped["a link to a folder that is read elsewhere"].count == 3


def test_two_classes_that_are_one_folder_are_refused(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    (root / "train" / "tom").symlink_to("cat")
    refused(folder_params(root), "two classes are one folder", "tom")


def test_a_pipe_in_place_of_an_image_is_passed_over(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    train = load_source(folder_params(root)).train
    assert train.counts()["skipped"]["no regular file"] == {"count": 1, "first": "train/cat/pipe.png"}


# --------------------------------------------------------------------------------------------------- bad input
def refused(params: DataParams, *said: str, test: bool = False) -> None:
    with pytest.raises(DataError) as caught:
        source = load_source(params)
        _ = source.test if test else source.train
    message = str(caught.value)
    for words in (*said, "do:"):
        assert words in message, message


def test_no_path() -> None:
    refused(block(DataParams, source="imagefolder", image_size=8), "data.path")


def test_missing_folder(tmp_path: Path, folder_params: Params) -> None:
    refused(folder_params(tmp_path / "nowhere"), "no such folder", str(tmp_path / "nowhere"))


def test_a_file_in_place_of_a_folder(tmp_path: Path, folder_params: Params) -> None:
    (tmp_path / "images.tar").write_bytes(b"")
    refused(folder_params(tmp_path / "images.tar"), "a file, not a folder", "unpack")


def test_no_train_folder(tmp_path: Path, folder_params: Params) -> None:
    refused(folder_params(tmp_path), "no such folder", str(tmp_path / "train"))


def test_empty_train_folder(tmp_path: Path, folder_params: Params) -> None:
    (tmp_path / "train").mkdir()
    refused(folder_params(tmp_path), "no class folders", "an empty folder", str(tmp_path / "train"))


def test_images_without_class_folders(tmp_path: Path, folder_params: Params) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "train" / "a.png")
    refused(folder_params(tmp_path), "no class folders", "1 images without class folders")


def test_empty_class_folder(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": {**PETS, "bat": 0}, "val": PETS})
    refused(folder_params(root), "holds no images", str(root / "train" / "bat"), ".jpg")


def test_dangling_link(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    (root / "train" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    refused(folder_params(root), "cannot be read", str(root / "train" / "cat"), "gone.png")


def test_no_test_folder(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS})
    refused(folder_params(root), "no test folder", "test or val", test=True)


def test_empty_test_folder(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS})
    (root / "val").mkdir()
    refused(folder_params(root), "no class folders", str(root / "val"), test=True)


def test_class_folders_that_differ(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": {"cat": 1, "dog": 1, "wolf": 1}})
    refused(folder_params(root), "differ", "missing: owl", "not in train: wolf", str(root / "val"), test=True)
    assert len(load_source(folder_params(root, classes=2)).test) == 2  # those that are used fit


def test_empty_class_folder_of_test(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": {**PETS, "dog": 0}})
    refused(folder_params(root), "holds no images", str(root / "val" / "dog"), test=True)


def test_more_classes_than_there_are(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    refused(folder_params(root, classes=4), "more classes", "data.classes: 4", "at most 3")


def test_unknown_class(make_folder: Make, folder_params: Params) -> None:
    root = make_folder({"train": PETS, "val": PETS})
    refused(folder_params(root, classes=("cat", "dgo")), "unknown class", "dgo", "cat, dog, owl", "did you mean dog")
