"""What a network runs on: OpenVINO with binary convolutions, and plain ONNX in OpenVINO or ONNX Runtime.

A runtime is a function: images float32 [batch, 3, S, S] -> logits [batch, classes], for one batch size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bars.errors import PackedError

if TYPE_CHECKING:
    from onnx import ModelProto

Floats = npt.NDArray[np.float32]
Runtime = Callable[[Floats], Floats]


def require(package: str) -> ModuleType:
    """Import a package of the extra ``packed``. Raises PackedError where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise PackedError(
            "a package for packed networks is not installed", got=str(error), do="pip install 'bars-nas[packed]'"
        ) from error


def openvino(model: ModelProto, batch: int, threads: int) -> Runtime:
    """A packed or plain network in OpenVINO; ``threads`` 0: as many as it finds cores."""
    require("openvino")
    from bars.packed.channels import straightened
    from bars.packed.openvino_ops import core

    read = core().read_model(straightened(model).SerializeToString())
    read.reshape([batch, *list(read.input(0).get_partial_shape())[1:]])
    # Without the hint for precision, newer processors would compute the float parts in bfloat16.
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core().compile_model(read, "CPU", settings).create_infer_request()

    def run(images: Floats) -> Floats:
        return np.array(request.infer([images], share_inputs=True)[0])

    return run


def onnxruntime(model: ModelProto, batch: int, threads: int) -> Runtime:
    """A plain network in ONNX Runtime, for any batch size."""
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()

    def run(images: Floats) -> Floats:
        logits: Floats = session.run(None, {source.name: images})[0]
        return logits

    return run
