"""ONNX files: standard operators of opset 18 only, which ONNX Runtime and other runtimes execute without our package.

RoIAlign and RoIPool become `RoiAlign` and `MaxRoiPool` on the level of each region (`operators.py`), non-maximum
suppression of all images and groups one `NonMaxSuppression`. Opset 18 is the one that torch's translations are written
in, and has `RoiAlign` with half a pixel (16).
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from lightning_rcnn.errors import InputError
from lightning_rcnn.export.metadata import KEY
from lightning_rcnn.export.operators import Operators, roi_align_by_level, roi_pool
from lightning_rcnn.export.program import Outputs, Runner, refuse_operator
from lightning_rcnn.export.quiet import quietly

OPSET = 18
OPERATORS: Operators = {"roi_align": roi_align_by_level, "roi_pool": roi_pool}
"""Replacements of our operators in a program for `write_onnx`; non-maximum suppression has a translation here."""
_FILE_LIMIT = 2**31 - 1
"""Bytes of one protobuf message."""
_LOWEST = float(np.finfo(np.float32).min)
_UNLIMITED = 2**62
_LEVELS = {"torch.onnx": logging.ERROR}
"""It logs its progress, and warns of operators of packages that are not there."""


def write_onnx(program: ExportedProgram, metadata: str, file: BinaryIO) -> None:
    """Translate a program to ONNX and write it as one file.

    Args:
        program: program that was traced with `OPERATORS`.
        metadata: JSON for `metadata_props`.
        file: file to write.

    Raises:
        InputError: an operator has no translation, or the weights exceed 2 GB.
    """
    with quietly(_LEVELS):
        try:
            translated = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                output_names=[str(name) for name in _output_names(program)],
                custom_translation_table=_translations(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            refuse_operator(program, error)
    assert translated is not None
    translated.model.metadata_props[KEY] = metadata
    model = translated.model_proto
    _name_dimensions(model)
    if model.ByteSize() > _FILE_LIMIT:
        raise InputError("the weights exceed 2 GB, which one ONNX file cannot hold; use the format pt2")
    file.write(model.SerializeToString())


def open_onnx(path: Path) -> tuple[Runner, str]:
    """Open a file for ONNX Runtime on the CPU; return what runs it, and its metadata, empty if of another origin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong with a file is raised
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    keys = [value.name for value in session.get_inputs()]

    def run(arguments: Sequence[Tensor]) -> Outputs:
        values = {key: argument.cpu().numpy() for key, argument in zip(keys, arguments, strict=True)}
        return {name: torch.from_numpy(value) for name, value in zip(names, session.run(names, values), strict=True)}

    return run, session.get_modelmeta().custom_metadata_map.get(KEY, "")


def _output_names(program: ExportedProgram) -> list[Any]:
    return list(program.call_spec.out_spec.context)


def _name_dimensions(model: Any) -> None:
    """Call the free dimensions by name, and leave out shapes between operators, which runtimes infer."""
    del model.graph.value_info[:]
    images, *others = model.graph.input
    named = dict(zip((0, 2, 3), ("batch", "height", "width"), strict=True))
    names = {images.type.tensor_type.shape.dim[axis].dim_param: name for axis, name in named.items()}
    for value in others:
        if value.name == "proposals":
            names[value.type.tensor_type.shape.dim[1].dim_param] = "num_proposals"
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                dimension.dim_param = names.get(dimension.dim_param, dimension.dim_param)


def _translations() -> dict[Any, Callable[..., Any]]:
    """Return translations of operators that torch has none for, or one of another signature."""
    from onnxscript import opset18

    op: Any = opset18  # its types are those of ONNX, which Python's numbers have not

    def suppress(boxes: Any, scores: Any, groups: Any, iou_threshold: float) -> Any:
        # The operator takes scores of each class; a box has a score in its own group and -inf in the others.
        last = op.ReduceMax(groups, keepdims=0)
        count = op.Add(last, op.Constant(value_int=1))
        members = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
        is_member = op.Equal(
            op.Unsqueeze(groups, op.Constant(value_ints=[1])), op.Unsqueeze(members, op.Constant(value_ints=[0, 2]))
        )
        nothing = op.Constant(value_float=float("-inf"))
        group_scores = op.Where(is_member, op.Unsqueeze(scores, op.Constant(value_ints=[1])), nothing)
        selected = op.NonMaxSuppression(
            boxes,
            group_scores,
            op.Constant(value_ints=[_UNLIMITED]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[_LOWEST]),
        )
        indices = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)  # image and box, without the group
        marks = op.Gather(selected, op.Constant(value_int=2), axis=1)
        ones = op.Greater(marks, op.Constant(value_int=-1))
        keep = op.Less(groups, op.Constant(value_int=-1))
        return op.ScatterND(keep, indices, ones)

    def sort(self: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Any:
        # ONNX's TopK is stable: of equal values the one with the lower index comes first.
        size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]), axis=0)
        return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)

    def max_roi_pool(input: Any, rois: Any, spatial_scale: float, pooled_height: int, pooled_width: int) -> Any:
        pooled = op.MaxRoiPool(input, rois, pooled_shape=[pooled_height, pooled_width], spatial_scale=spatial_scale)
        return pooled, op.Shape(rois)  # in place of the pixels of the maxima, which inference does not use

    return {
        torch.ops.torchvision.roi_pool.default: max_roi_pool,
        torch.ops.lightning_rcnn.non_maximum_suppression.default: suppress,
        torch.ops.aten.sort.stable: sort,
    }
