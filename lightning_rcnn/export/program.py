"""Tracing of a detector to one graph of standard operators, and one line about a part that cannot be traced."""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._sympy.value_ranges import ValueRanges

from lightning_rcnn.backbones.base import Backbone
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.folding import fold_constants
from lightning_rcnn.export.graph import ExportGraph
from lightning_rcnn.export.operators import OPERATORS, Operators, StandardOperators
from lightning_rcnn.functional.class_suppression import Suppression
from lightning_rcnn.masks.paste import PasteRule
from lightning_rcnn.skeleton import Skeleton

Outputs = Mapping[str, Tensor]
"""Outputs of the graph by name; see `ExportGraph.forward`."""
Runner = Callable[[Sequence[Tensor]], Outputs]
"""A function that runs an exported file on the inputs of the graph."""

STANDARD = {"aten", "prim", "prims", "torchvision", "higher_order"}
"""Namespaces of operators that torch and torchvision bring; Python's own functions are those on sizes."""
_OPERATOR = re.compile(r"(?:OpOverload\(op='|target=torch\.ops\.)([\w.]+)")
"""How an error of torch's exporter to ONNX names an operator: aten.add, or aten.add.Tensor."""
_DEFAULT_STRIDE = 64
_EXAMPLE_SIZE = (3, 4)
"""(height, width) of the traced example, in units of the smallest side; two numbers, so that none is taken for both."""


class Exportable(Protocol):
    """What export needs of a detector; see `Detector`."""

    training: bool
    class_names: list[str]
    category_ids: list[int]
    preprocessing: Any
    proposal_limit: int
    search: Callable[[Tensor], np.ndarray] | None
    mask_paste: PasteRule
    skeleton: Skeleton | None
    keypoints_drawn_above: float
    no_graph: ClassVar[str]

    @property
    def resize_rule(self) -> ResizeRule:
        """Resize rule for images."""

    @property
    def suppression(self) -> Suppression:
        """Non-maximum suppression of detections."""

    @property
    def main_result_type(self) -> str:
        """The string "segm" if the detector predicts masks, "keypoints" with keypoints, else "bbox"."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    def train(self, mode: bool = True) -> Any:
        """Set the mode; see `torch.nn.Module.train`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all weights; see `torch.nn.Module.parameters`."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield all parts with their names; see `torch.nn.Module.named_modules`."""


@contextmanager
def limited(detector: Exportable, threshold: float | None, detections: int | None) -> Iterator[None]:
    """Put a detector into evaluation mode, with other limits of its detections, for the time of an export.

    Args:
        detector: the detector; its mode and settings are restored.
        threshold: minimum score, exclusive; the detector's own if None.
        detections: maximum number of detections per image; the detector's own if None.

    Raises:
        InputError: a limit is out of range, or the detector's box branch has no such setting.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold {threshold}: a score is from 0 to 1")
    if detections is not None and detections < 1:
        raise InputError(f"detections {detections}: give a whole number, at least 1")
    wanted = {"score_threshold": threshold, "detections_per_image": detections}
    changes = {name: value for name, value in wanted.items() if value is not None}
    box = getattr(detector, "box", None)
    settings, was_training = getattr(box, "settings", None), detector.training
    for name in changes:
        if not hasattr(settings, name):
            raise InputError(f"{type(detector).__name__}: its box branch has no setting {name} to change")
    detector.train(False)
    try:
        if changes:
            box.settings = replace(settings, **changes)  # type: ignore[union-attr, type-var]
        yield
    finally:
        if changes:
            box.settings = settings  # type: ignore[union-attr]
        detector.train(was_training)


def input_names(detector: Exportable) -> list[str]:
    """Return the names of the graph's inputs, in order."""
    return ["images", "image_sizes", "original_sizes", *(["proposals"] if detector.search else [])]


def trace(detector: Exportable, operators: Operators = OPERATORS) -> ExportedProgram:
    """Trace a detector in evaluation mode; the numbers of images, rows, columns and proposals stay free.

    Args:
        detector: the detector.
        operators: replacements of our operators; see `StandardOperators`.

    Raises:
        InputError: a part cannot be traced, or calls an operator that torch does not have.
    """
    graph = ExportGraph(detector)
    for module in graph.modules():
        if reason := getattr(module, "no_graph", ""):
            raise InputError(f"{type(module).__name__}: cannot be exported: {reason}")
    side = _traced_side(detector)
    batch, height, width = Dim("batch"), Dim("height", min=side), Dim("width", min=side)
    shapes: list[Any] = [{0: batch, 2: height, 3: width}, {0: batch}, {0: batch}]
    if detector.search:
        shapes.append({0: batch, 1: Dim("num_proposals")})
    try:
        with torch.no_grad(), StandardOperators(operators), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torchvision's shape of NMS calls torch by an old name
            program = torch.export.export(graph, _example(detector, side), dynamic_shapes=tuple(shapes), strict=False)
    except InputError:
        raise
    except Exception as error:  # a custom part may fail in any way
        part = _failing_part(detector, error)
        raise InputError(f"{part}: cannot be exported: {_first_line(error)}") from error
    _free_sizes(program)
    _free_types(program)
    fold_constants(program)
    _require_standard(program, OPERATORS.keys() - operators.keys())
    return program


def refuse_operator(program: ExportedProgram, error: Exception) -> NoReturn:
    """Name the operator, and the part that calls it, that a format has no translation for.

    Raises:
        InputError: always.
    """
    names = [name for link in _chain(error) for name in _OPERATOR.findall(str(link))]
    if not names:
        raise InputError(f"the graph cannot be translated: {_first_line(error)}; try the format pt2") from error
    # The exporter may name what it has turned an operator into: prims.bessel_j0 for aten.special_bessel_j0.
    word = names[0].split(".")[1]
    node = next((node for node in program.graph.nodes if word in str(node.target)), None)
    operator = _name(names[0] if node is None else node.target)
    raise InputError(
        f"{_part_of(node)}: ONNX has no translation of its operator {operator}; use the format pt2, or write "
        "the part with other operators"
    ) from error


def _traced_side(detector: Exportable) -> int:
    """Return the smallest height and width for the tracer, pixels: two positions of the coarsest map.

    A map of one position would be a case of its own for the tracer.
    """
    backbones = [part for _, part in detector.named_modules() if isinstance(part, Backbone)]
    return max((_side_of_two_positions(part, detector.device) for part in backbones), default=2 * _DEFAULT_STRIDE)


@torch.no_grad()
def _side_of_two_positions(backbone: Backbone, device: torch.device) -> int:
    stride = backbone.strides[-1]
    sides = [stride + 1, *range(2 * stride, 8 * stride, 16)]
    maps = (backbone(torch.zeros((1, backbone.in_channels, side, side), device=device))[-1] for side in sides)
    return next((side for side, features in zip(sides, maps, strict=False) if features.shape[-1] > 1), 8 * stride)


def _free_sizes(program: ExportedProgram) -> None:
    """Let a program take images of any height and width, as its detector does.

    The tracer's bound concerns only how maps are laid out in memory; operators compute the same below it, and the check
    of a file runs on small images, too.
    """
    images = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
    for size in images.meta["val"].shape[2:]:
        symbol = size.node.expr
        program.range_constraints[symbol] = ValueRanges(1, program.range_constraints[symbol].upper)


def _free_types(program: ExportedProgram) -> None:
    """Let a program run under `torch.autocast`, as its detector does.

    The tracer asserts the type of each tensor that the detector converts; with autocast it is another one.
    """
    for node in program.graph.nodes:
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()


def _example(detector: Exportable, side: int) -> tuple[Tensor, ...]:
    height, width = (side * factor for factor in _EXAMPLE_SIZE)
    device = detector.device
    sizes = torch.tensor([[height, width]] * 2, device=device)
    channels = detector.preprocessing.pixels.channels
    images = torch.zeros((2, channels, height, width), dtype=image_dtype(detector), device=device)
    proposals = torch.tensor([[[0.0, 0.0, width, height]] * 5] * 2, device=device)
    return images, sizes, 2 * sizes, *([proposals] if detector.search else [])


def image_dtype(detector: Exportable) -> torch.dtype:
    """Return the type of resized images: whole numbers where the resize rule gives them, for images of 8 bits."""
    is_float = detector.resize_rule.method == "bilinear" or not detector.preprocessing.pixels.is_eight_bit
    return torch.float32 if is_float else torch.uint8


def _require_standard(program: ExportedProgram, keep: Collection[str]) -> None:
    for node in program.graph.nodes:
        is_operator = node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)
        if is_operator and node.target.namespace not in STANDARD and node.target._opname not in keep:
            raise InputError(
                f"{_part_of(node)}: cannot be exported: its operator {_name(node.target)} is not one of torch; write "
                "the part with torch's"
            )


def _part_of(node: Any) -> str:
    """Return the name of the innermost part that a node of a graph comes from."""
    stack = list(node.meta.get("nn_module_stack", {}).values()) if node is not None else []
    names = [path.removeprefix("L['self'].").removeprefix("detector").lstrip(".") for path, _ in stack]
    return f"part {names[-1]}" if names and names[-1] else "the detector"


def _failing_part(detector: Exportable, error: Exception) -> str:
    """Return the name of the innermost part whose method raised an error."""
    names = {id(part): name for name, part in detector.named_modules()}
    for link in _chain(error):
        trace, found = link.__traceback__, ""
        while trace is not None:
            found = names.get(id(trace.tb_frame.f_locals.get("self")), "") or found
            trace = trace.tb_next
        if found:
            return f"part {found}"
    return type(detector).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, the first cause first."""
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    yield from reversed(links)


def _name(target: Any) -> str:
    return str(target).replace(".", "::", 1).removesuffix(".default")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
