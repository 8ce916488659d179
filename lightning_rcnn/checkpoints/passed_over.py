"""What trainings of other programs keep beside the weights, and which is passed over without running their code.

A checkpoint of mmengine has the history of its logs, one of torchvision's training script its options. torch refuses a
file with such objects as a whole. Each name here stands for a class that takes anything and does nothing.
"""

from collections.abc import Callable
from typing import Any


class PassedOver(dict[Any, Any]):
    """An object that is not read; a mapping, as some of them are."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


class PassedOverArray(PassedOver):
    """An array or a number of numpy among them."""


_OBJECTS = (
    "argparse.Namespace",
    "detectron2.config.config.CfgNode",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "omegaconf.dictconfig.DictConfig",
    "yacs.config.CfgNode",
)
_ARRAYS = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
)
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((type(name.rpartition(".")[2], (PassedOver,), {}), name) for name in _OBJECTS),
    *((type(name.rpartition(".")[2], (PassedOverArray,), {}), name) for name in _ARRAYS),
]
"""Classes with the names that they stand for, in the form of `torch.serialization.safe_globals`."""
