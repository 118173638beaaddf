"""Opening one part of a split, in memory or streamed, after checking that split and images are the ones asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bars.data.augment import Augmentation
from bars.data.imagefolder import FolderDataset
from bars.data.load import load_source
from bars.data.part import MemoryPart, Part, PartName
from bars.data.sources import GIB, Dataset, memory_needed
from bars.data.splits import Split, require_content, require_params
from bars.data.streaming import StreamedPart
from bars.errors import DataError

if TYPE_CHECKING:
    from bars.params import DataParams


def open_part(params: DataParams, split: Split, part: PartName) -> Part:
    """Open one part of a split. Test images are used for part "test" and at no other time.

    Raises RecordError if the split or the images are others, DataError if an image cannot be read.
    """
    require_params(split.params, params, "split")
    augmentation = Augmentation.from_params(params)
    source = load_source(params)
    require_content(source, split, test=part == "test")
    dataset = source.test if part == "test" else source.train
    indices = {"train": split.train, "valid": split.valid, "train+valid": split.train + split.valid, "test": split.test}
    chosen = indices[part]
    labels = dataset.labels[torch.tensor(chosen)]
    if isinstance(dataset, FolderDataset) and _streams(params, len(chosen)):
        return StreamedPart(part, split, dataset.paths(chosen), labels, augmentation, params.workers)
    _require_memory(params, dataset, len(chosen))
    return MemoryPart(part, split, dataset.load(chosen, params.image_size), labels, augmentation)


def _streams(params: DataParams, count: int) -> bool:
    if params.in_memory == "auto":
        return memory_needed(count, params.image_size) > params.memory_limit_gb * GIB
    return params.in_memory == "never"


def _require_memory(params: DataParams, dataset: Dataset, count: int) -> None:
    if params.in_memory == "auto" and _streams(params, count):
        needed = memory_needed(count, params.image_size) / GIB
        raise DataError(
            "the images take more memory than data.memory_limit_gb",
            where=dataset.label,
            got=f"{count} images of {params.image_size} pixels: {needed:.1f} GiB",
            allowed=f"{params.memory_limit_gb} GiB",
            do="set data.in_memory: always, raise data.memory_limit_gb, or lower data.image_size or data.max_train",
        )
