from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import utils

from bars.data import Split, load_source, make_split, open_part
from bars.errors import DataError
from bars.params import DataParams
from tests.blocks import block


def params(path: Path, **values: Any) -> DataParams:
    return block(DataParams, **{"source": "cifar10", "path": str(path), "image_size": 32, **values})


def test_images_and_labels_in_the_order_of_the_files(cifar: Any) -> None:
    source = load_source(params(cifar.base.parent))
    names = [f"data_batch_{i}" for i in range(1, 6)]
    pixels = np.concatenate([cifar.pixels[name] for name in names])
    assert torch.equal(source.train.load(range(100), 32), torch.from_numpy(pixels))
    assert source.train.labels.tolist() == [label for name in names for label in cifar.labels[name]]
    assert torch.equal(source.test.load(range(20), 32), torch.from_numpy(cifar.pixels["test_batch"]))
    assert source.classes[0] == "airplane" and len(source.classes) == 10


def test_the_folder_with_the_batches_may_be_given_itself(cifar: Any) -> None:
    assert len(load_source(params(cifar.base)).train) == 100


def test_classes_are_renumbered(cifar: Any) -> None:
    source = load_source(params(cifar.base, classes=("truck", "cat")))
    assert source.classes == ("cat", "truck")
    whole = load_source(params(cifar.base)).train
    kept = [i for i, label in enumerate(whole.labels.tolist()) if label in (3, 9)]
    assert torch.equal(source.train.load(range(len(source.train)), 32), whole.load(kept, 32))
    assert source.train.labels.tolist() == [int(whole.labels[i] == 9) for i in kept]


def test_resized_when_asked_for(cifar: Any) -> None:
    assert load_source(params(cifar.base, image_size=16)).train.load([3, 1], 16).shape == (2, 3, 16, 16)


def test_download_unpacks_and_is_not_repeated(cifar: Any, tmp_path: Path) -> None:
    root = tmp_path / "new" / "data"
    assert len(load_source(params(root, download=True)).train) == 100
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]
    shutil.rmtree(cifar.archive.parent)
    assert len(load_source(params(root, download=True)).test) == 20


def test_two_jobs_that_want_the_same_archive_take_turns(
    cifar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    original = utils.download_url
    monkeypatch.setattr(utils, "download_url", lambda *args: (fetched.append(args), original(*args)))
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: len(load_source(params(tmp_path / "d", download=True)).train), range(4)))
    assert sizes == [100] * 4 and len(fetched) == 1


def test_an_archive_in_place_is_unpacked_without_download(cifar: Any, tmp_path: Path) -> None:
    shutil.copy(cifar.archive, tmp_path)
    assert len(load_source(params(tmp_path)).train) == 100


def test_a_missing_archive_says_where_to_put_it(cifar: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="CIFAR-10 is not here") as caught:
        _ = load_source(params(tmp_path / "nowhere")).train
    for part in ("cifar-10-python.tar.gz", cifar.archive_md5, "data.download: true", str(tmp_path / "nowhere")):
        assert part in str(caught.value)


def test_a_download_without_network_says_where_to_put_the_archive(
    cifar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        _ = load_source(params(tmp_path / "new", download=True)).train
    assert str(tmp_path / "new" / "cifar-10-python.tar.gz") in str(caught.value)


def test_a_download_with_another_checksum_is_refused(
    cifar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match="cannot be downloaded"):
        _ = load_source(params(tmp_path / "new", download=True)).train


def test_a_truncated_archive_is_refused_or_fetched_again(cifar: Any, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(cifar.archive.read_bytes()[:500])
    with pytest.raises(DataError, match="truncated or altered"):
        _ = load_source(params(tmp_path)).train
    assert len(load_source(params(tmp_path, download=True)).train) == 100


def test_a_damaged_batch_is_named(cifar: Any, tmp_path: Path) -> None:
    shutil.copytree(cifar.base, tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"")
    with pytest.raises(DataError, match="data_batch_3"):
        _ = load_source(params(tmp_path)).train


def test_no_path(cifar: Any) -> None:
    with pytest.raises(DataError, match=r"data\.path"):
        load_source(block(DataParams, source="cifar10", image_size=32))


def test_the_test_file_is_opened_for_the_test_part_only(cifar: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(cifar.base, root / cifar.base.name)
    split = Split.from_json(make_split(params(root)), params(root))
    (root / cifar.base.name / "test_batch").unlink()
    assert open_part(params(root), split, "train").size == 50
    assert open_part(params(root), split, "train+valid").size == 100
    with pytest.raises(DataError, match="test_batch"):
        open_part(params(root), split, "test")


def test_more_than_fits_in_memory(cifar: Any) -> None:
    small = params(cifar.base, memory_limit_gb=1e-5)
    split = Split.from_json(make_split(small), small)
    with pytest.raises(DataError, match="memory_limit_gb"):
        open_part(small, split, "train")
    assert open_part(small.model_copy(update={"in_memory": "always"}), split, "train").size == 50
