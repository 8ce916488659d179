"""An endless stream of training batches from shards, and how long a step waited for each."""

import itertools
from collections.abc import Iterator
from time import perf_counter

import torch

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.decoded_batch import rendered
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.structures import Batch, Inputs, Targets


class StreamedBatches:
    """Batches of the training's loader with its worker processes.

    Args:
        shards: packed folder, shards or URLs.
        batch_size: images in a batch.
        rule: resize rule of the network.
        with_masks: whether targets have masks, as bitmaps.
        device: device that batches are moved to.

    Attributes:
        num_classes: number of classes in the data, without background.
        waits: seconds that each batch was waited for, by the host's clock.

    Raises:
        InputError: the shards cannot be read, or lack masks.
    """

    def __init__(self, shards: str, batch_size: int, rule: ResizeRule, with_masks: bool, device: torch.device) -> None:
        data = DetectionDataModule(train=shards, batch_size=batch_size)
        data.resize_rule, data.mask_form = rule, "bitmaps" if with_masks else "none"
        data.setup("fit")
        self.num_classes = len(data.categories)
        self.waits: list[float] = []
        loader = data.train_dataloader()
        self._batches: Iterator[Batch] = itertools.chain.from_iterable(map(rendered, loader) for _ in itertools.count())
        self._device = device

    def next(self) -> tuple[Inputs, Targets]:
        """Return the next batch, on the device."""
        start = perf_counter()
        batch = next(self._batches)
        self.waits.append(perf_counter() - start)
        moved = batch.to(self._device)
        assert moved.targets is not None  # training always has them
        return moved.inputs, moved.targets
