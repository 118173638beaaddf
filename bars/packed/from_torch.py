"""A trained network as an ONNX file: what the packed one is made of."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bars.errors import ExportError

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("onnx", "onnxscript")
_FOLDED = 2**30  # values up to this size are computed once, here: signs and scales of all weights


def to_onnx(model: nn.Module, image_size: int, path: Path) -> None:
    """ONNX of images [n, 3, S, S] -> logits [n, classes] for any n, its weights binarised. Raises ExportError."""
    import onnx
    import torch
    from onnxscript.optimizer import optimize

    model = copy.deepcopy(model)
    for layer in model.modules():
        fix = getattr(layer, "fix_weight", None)
        if fix is not None:
            fix()  # of a binary convolution: without signs and scales there is a fifth less to translate
    example = torch.zeros(2, 3, image_size, image_size)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
                verbose=False,
                optimize=False,  # once is enough: below, without its limits on what is folded
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ExportError("the network cannot be written as ONNX", where=str(path), got=_root(error)) from error
    assert program is not None
    optimize(program.model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
    exported = program.model_proto
    for node in exported.graph.node:
        node.ClearField("metadata_props")  # a trace of the source: nine tenths of the file
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString(deterministic=True))


def _root(error: BaseException) -> str:
    """What it was at first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
