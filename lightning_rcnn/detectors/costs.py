"""Inference time of one image by part: proposals, network and heads, which the four papers made faster in turn."""

import contextlib
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_rcnn.detectors.base import Detector
from lightning_rcnn.detectors.inference import inputs_of
from lightning_rcnn.structures import Inputs


class Cost(NamedTuple):
    """Seconds per image, from the resized image to detections, and passes of the network.

    Attributes:
        proposals: selective search on the host, or the region proposal network without the backbone.
        network: the backbone; with R-CNN also the warping of regions.
        heads: everything after it: pooling, fully connected layers, NMS, masks.
        passes: number of inputs of the backbone: one per image, or one per region.
    """

    proposals: float
    network: float
    heads: float
    passes: int


@torch.inference_mode()
def cost_of(detector: Detector, inputs: Inputs) -> Cost:
    """Time one prediction; proposals that come with the inputs cost nothing."""
    propose, network, total = (_Clock(detector.device) for _ in range(3))
    passes = 0

    def start_network(module: torch.nn.Module, arguments: tuple[Tensor]) -> None:
        nonlocal passes
        passes += len(arguments[0])
        network.start()

    backbone = detector.get_submodule("backbone")
    hooks = [
        backbone.register_forward_pre_hook(start_network),
        backbone.register_forward_hook(lambda *_: network.stop()),
    ]
    try:
        with _timed(getattr(detector, "rpn", None), "predict", propose), _timed(detector, "warp", network):
            total.start()
            detector.predict(inputs)
            total.stop()
    finally:
        for hook in hooks:
            hook.remove()
    rest = total.seconds - propose.seconds - network.seconds
    return Cost(propose.seconds, network.seconds, rest, passes)


def cost_of_image(detector: Detector, image: Tensor) -> Cost:
    """Time one prediction from a uint8 RGB image [3, H, W], including selective search if the detector needs it."""
    search = _Clock(detector.device)
    with _timed(detector, "search", search):
        inputs = inputs_of(detector, [image])
    cost = cost_of(detector, inputs)
    return cost._replace(proposals=cost.proposals + search.seconds)


class _Clock:
    """Stopwatch that adds up the seconds between `start` and `stop`, synchronized with the device."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device
        self._started = 0.0

    def start(self) -> None:
        self._started = self._now()

    def stop(self) -> None:
        self.seconds += self._now() - self._started

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return perf_counter()


@contextlib.contextmanager
def _timed(owner: Any, name: str, clock: _Clock) -> Iterator[None]:
    """Let `clock` run during calls of the owner's function `name`, if it has one."""
    function: Callable[..., Any] | None = getattr(owner, name, None)
    if function is None:
        yield
        return

    def timed(*arguments: Any) -> Any:
        clock.start()
        try:
            return function(*arguments)
        finally:
            clock.stop()

    own = vars(owner).get(name)
    setattr(owner, name, timed)
    try:
        yield
    finally:
        delattr(owner, name) if own is None else setattr(owner, name, own)
