"""Training batches from shards, one after the other without end, and how long each was waited for."""

import itertools
from collections.abc import Iterator
from time import perf_counter

import torch

from lightning_rcnn.data.datamodule import DetectionDataModule
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.structures import Batch, Inputs, Targets


class StreamedBatches:
    """What a training's loader gives, with its worker processes.

    Args:
        shards: a packed folder, shards or URLs.
        batch_size: images of a batch.
        rule: the network's resize rule.
        with_masks: whether targets have masks, as bitmaps.
        device: to which batches are moved.

    Attributes:
        num_classes: of the data, without background.
        waits: seconds for each batch until it was there, by the host's clock.

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
        self._batches: Iterator[Batch] = itertools.chain.from_iterable(loader for _ in itertools.count())
        self._device = device

    def next(self) -> tuple[Inputs, Targets]:
        """The next batch, on the device."""
        start = perf_counter()
        batch = next(self._batches)
        self.waits.append(perf_counter() - start)
        moved = batch.to(self._device)
        assert moved.targets is not None  # as always in training
        return moved.inputs, moved.targets
