"""Splits: which image is train, valid or test, written down once with hashes and read back with checks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from bars.data.imagefolder import FolderDataset
from bars.data.load import load_source
from bars.data.sources import Dataset, Source
from bars.data.stratify import group_by_class, quotas, share, shuffled, smallest_count
from bars.errors import DataError, RecordError

if TYPE_CHECKING:
    from bars.params import DataParams

# Mean and deviation of a folder come from at most so many train images: decoding all of ImageNet for six numbers
# would take hours, and 20,000 give them to three digits.
_STATISTICS_FILES = 20_000
_STATISTICS_STEP = 1024
_AGAIN = "delete the file and make the split again"


class Split(BaseModel):
    """split.json: indices into a source's train part (``train``, ``valid``) and test part; mean, deviation of train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["bars-split/2"]
    dataset: str
    source: str
    classes: tuple[str, ...]
    image_size: int
    params: Mapping[str, Any]
    images: Mapping[str, Any]
    channel_mean: tuple[float, float, float]
    channel_std: tuple[float, float, float]
    content: Mapping[str, str]
    content_sha256: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]
    sha256: str

    @classmethod
    def from_json(cls, content: Mapping[str, Any], params: DataParams, where: str = "split.json") -> Split:
        """Validate the content of a split.json that must have been made with ``params``. Raises RecordError."""
        try:
            split = cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            what = f"not a split of this version: {first['msg']}"
            raise RecordError(what, where=": ".join([where, *map(str, first["loc"])]), do=_AGAIN) from None
        if split.sha256 != _hash({key: value for key, value in content.items() if key != "sha256"}):
            what = "the split was altered after it was written"
            raise RecordError(what, where=f"{where}: sha256", got=split.sha256, do=_AGAIN)
        require_params(split.params, params, where)
        if set(split.train) & set(split.valid):
            raise RecordError("train and valid share images", where=where, do=_AGAIN)
        return split


def make_split(params: DataParams) -> dict[str, Any]:
    """The content of split.json. Every file of a folder that is used is hashed and must be an image.

    Nothing of a test image but its hash has a part in it. Raises DataError.
    """
    source = load_source(params)
    train, valid = _train_and_valid(source.train, params)
    test = _test(source.test, params)
    content = {"train": source.train.fingerprint(train + valid), "test": source.test.fingerprint(test)}
    mean, std = channel_statistics(source.train, train, params.image_size)
    split: dict[str, Any] = {
        "format": "bars-split/2",
        "dataset": params.name,
        "source": params.source,
        "classes": list(source.classes),
        "image_size": params.image_size,
        "params": split_params(params),
        "images": {
            "train": source.train.counts(),
            "test": source.test.counts(),
            "copies": _copies(source, train + valid, test),
        },
        "channel_mean": mean,
        "channel_std": std,
        "content": content,
        "content_sha256": _hash(content),
        "train": train,
        "valid": valid,
        "test": test,
    }
    return {**split, "sha256": _hash(split)}


def read_split(path: str | Path, params: DataParams) -> Split:
    """Read and check a split.json: unaltered, and made with these parameters. Raises RecordError."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError("there is no split", where=str(path), do="run `bars data` for this data set") from None
    except (OSError, ValueError) as error:
        raise RecordError("the split cannot be read", where=str(path), got=str(error), do=_AGAIN) from error
    return Split.from_json(content, params, str(path))


def split_params(params: DataParams) -> dict[str, Any]:
    """The parameters that decide a split; where the images lie and how they are augmented is left out."""
    classes = list(params.classes) if isinstance(params.classes, tuple) else params.classes
    decisive: dict[str, Any] = {
        "source": params.source,
        "label": params.name,
        "image_size": params.image_size,
        "classes": classes,
        "valid_fraction": params.valid_fraction,
        "max_train": params.max_train,
        "max_test": params.max_test,
        "split_seed": params.split_seed,
    }
    if params.source == "digits":
        decisive["test_fraction"] = params.test_fraction
    return decisive


def require_params(found: Mapping[str, Any], params: DataParams, where: str) -> None:
    """Refuse a split made with other parameters."""
    expected = split_params(params)
    other = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    if other:
        raise RecordError(
            "the split was made with other parameters",
            where=where,
            got=", ".join(f"data.{key}: {found.get(key)}" for key in other),
            allowed=", ".join(f"data.{key}: {expected.get(key)}" for key in other),
            do="run `bars data` again, or restore the parameters",
        )


def require_content(source: Source, split: Split, test: bool) -> None:
    """Refuse images other than those the split was made of; opens the test part only if ``test``."""
    name = "test" if test else "train"
    dataset, indices = (source.test, split.test) if test else (source.train, split.train + split.valid)
    if (
        dataset.classes != split.classes
        or max(indices) >= len(dataset)
        or dataset.fingerprint(indices) != split.content[name]
    ):
        where = str(dataset.root) if isinstance(dataset, FolderDataset) else dataset.label
        raise RecordError(
            "the images are not those that the split was made of",
            where=f"{where}, {name} part",
            do="restore the images, or run `bars data` again",
        )


def channel_statistics(dataset: Dataset, train: Sequence[int], image_size: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel over all pixels of the train images, in units of [0, 1]."""
    used = train[:_STATISTICS_FILES] if isinstance(dataset, FolderDataset) else train  # the order is already random
    sums, squares, count = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 0
    for start in range(0, len(used), _STATISTICS_STEP):
        block = dataset.load(used[start : start + _STATISTICS_STEP], image_size)
        for channel, values in enumerate(block.unbind(1)):  # integers: exact, whatever the order
            histogram = torch.bincount(values.reshape(-1), minlength=256)
            levels = torch.arange(256)
            sums[channel] += (histogram * levels).sum()
            squares[channel] += (histogram * levels**2).sum()
        count += block.shape[0] * image_size**2
    mean, std = [], []
    for total, square in zip(sums.tolist(), squares.tolist(), strict=True):
        # From integers of any length, so that nothing cancels.
        variance = (square * count - total**2) / count**2
        mean.append(total / count / 255)
        std.append(math.sqrt(variance) / 255)
    if min(std) == 0:
        raise DataError(
            "a channel has the same value in every train image",
            where=dataset.label,
            got=f"channel means {mean}",
            do="check that the images are not blank",
        )
    return mean, std


def _copies(source: Source, train: list[int], test: list[int]) -> dict[str, int]:
    """Files of a folder with the very bytes of another one: within train and valid, and in test of one in these."""
    if not (isinstance(source.train, FolderDataset) and isinstance(source.test, FolderDataset)):
        return {}
    seen, tested = source.train.hashes(train), source.test.hashes(test)
    known = set(seen)
    return {"within_train": len(seen) - len(known), "test_in_train": sum(sha256 in known for sha256 in tested)}


# --------------------------------------------------------------------------------------------------- which image where
def _train_and_valid(dataset: Dataset, params: DataParams) -> tuple[list[int], list[int]]:
    groups = group_by_class(dataset.labels.tolist(), len(dataset.classes))
    kept = quotas([len(members) for members in groups], params.max_train)
    train: list[int] = []
    valid: list[int] = []
    for name, members, count in zip(dataset.classes, groups, kept, strict=True):
        held_out = share(count, params.valid_fraction)
        if not 1 <= held_out < count:
            raise _too_few(dataset, name, members, count, params)
        order = shuffled(members, params.split_seed, "train", name)
        valid += order[:held_out]
        train += order[held_out:count]
    # Classes are mixed, so that a batch in fixed order is a fair sample too.
    return shuffled(train, params.split_seed, "order-train"), shuffled(valid, params.split_seed, "order-valid")


def _too_few(dataset: Dataset, name: str, members: Sequence[int], count: int, params: DataParams) -> DataError:
    where = f"class {name}"
    if isinstance(dataset, FolderDataset):
        where += f" ({(dataset.root / dataset.files[members[0]]).parent})"
    needed = smallest_count(params.valid_fraction)
    if count < len(members):
        remedy = f"raise data.max_train (now {params.max_train}) to {needed * len(dataset.classes)} or more"
    else:
        remedy = "add images, change data.valid_fraction, or leave the class out in data.classes"
    return DataError(
        "a class has too few images for train and valid",
        where=where,
        got=f"{count} of its {len(members)} images used, with data.valid_fraction: {params.valid_fraction}",
        allowed=f"at least {needed}",
        do=remedy,
    )


def _test(dataset: Dataset, params: DataParams) -> list[int]:
    groups = group_by_class(dataset.labels.tolist(), len(dataset.classes))
    kept = quotas([len(members) for members in groups], params.max_test)
    if min(kept) < 1:
        raise DataError(
            "a class has no test image left",
            where=f"class {dataset.classes[kept.index(0)]}",
            got=f"data.max_test: {params.max_test}",
            allowed=f"at least {len(kept)}, one per class",
            do="raise data.max_test",
        )
    chosen: list[int] = []
    for name, members, count in zip(dataset.classes, groups, kept, strict=True):
        chosen += shuffled(members, params.split_seed, "test", name)[:count]
    return shuffled(chosen, params.split_seed, "order-test")


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
