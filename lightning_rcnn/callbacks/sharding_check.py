"""What cannot work in a sharded training, found before the first step."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from lightning_rcnn.callbacks.compilation import Compilation
from lightning_rcnn.callbacks.ema import EMA
from lightning_rcnn.callbacks.sharded_strategy import ShardedStrategy
from lightning_rcnn.errors import InputError

_PRECISIONS = ("32-true", "bf16-mixed")


def check_sharding(trainer: Trainer, detector: Any) -> None:
    """Refuse settings that cannot work in a sharded training.

    Raises:
        InputError: there is one; or the strategy shards in another way than detectors do.
    """
    strategy = trainer.strategy
    if isinstance(strategy, (ModelParallelStrategy, FSDPStrategy)) and not isinstance(strategy, ShardedStrategy):
        raise InputError(
            f"trainer.strategy {type(strategy).__name__}: does not know which layers of a detector can be sharded; "
            "give sharded"
        )
    if isinstance(strategy, ShardedStrategy) and (problem := _problem(trainer, strategy, detector)):
        raise InputError(f"trainer.strategy sharded: {problem}")


def _problem(trainer: Trainer, strategy: ShardedStrategy, detector: Any) -> str:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # added later
    if not detector.automatic_optimization:
        return f"{type(detector).__name__} trains without an optimizer; leave the strategy out"
    if trainer.precision not in _PRECISIONS:
        return f"precision {trainer.precision} is not tested with it; use bf16-mixed or 32-true"
    if strategy._layer_sync is not None:
        return "batch norms cannot use the global batch with it; set trainer.sync_batchnorm false"
    if any(isinstance(callback, Compilation) and callback.scope != "none" for callback in callbacks):
        return "compiled layers cannot be gathered; set compilation.scope none"
    for callback in callbacks:
        is_others = isinstance(callback, WeightAveraging) and not isinstance(callback, EMA)
        if is_others or isinstance(callback, StochasticWeightAveraging):
            return f"the averages of {type(callback).__name__} are not sharded; use EMA"
    if not detector.tiles_and_views.is_plain:
        return "ranks have different numbers of tiles and views; leave them out, and evaluate without this strategy"
    return ""
