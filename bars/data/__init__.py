"""The data room: sources of images, their splits, and batches of them on a device.

``make_split`` writes down which image is train, valid or test; ``open_part`` opens one part, and only the part "test"
uses test images.
"""

from __future__ import annotations

from bars.data.load import load_source
from bars.data.opening import open_part
from bars.data.part import Batch, Part, PartName
from bars.data.sources import Dataset, Source
from bars.data.splits import Split, make_split, read_split

__all__ = [
    "Batch",
    "Dataset",
    "Part",
    "PartName",
    "Source",
    "Split",
    "load_source",
    "make_split",
    "open_part",
    "read_split",
]
