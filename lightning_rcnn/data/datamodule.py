"""The data module: the settings under `data` on the command line."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn
from torch.utils.data import Dataset

from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import DetectionDataset, Purpose
from lightning_rcnn.data.epoch_counts import EpochCounts
from lightning_rcnn.data.epoch_summary import epoch_summary
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.image_classes import image_classes
from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.loading import FetchingSettings, LoadingSettings
from lightning_rcnn.data.padded_set import PaddedSet, pad_set
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.ranges import FEW, ShardRanges
from lightning_rcnn.data.reader import SampleReader, ShardFiles, ShardReader
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.resume import PlanIdentity, TrainingPosition
from lightning_rcnn.data.sampling import Sampling
from lightning_rcnn.data.shards import ShardSet, category_difference, read_shards, read_training_shards
from lightning_rcnn.data.torch_dataset import TorchDataset, TorchDatasetReader, read_torch_dataset
from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.data.transforms.mixing import mask_readers, mixing_names
from lightning_rcnn.data.transforms.pipeline import DEFAULT_TRANSFORMS, checked_transforms, min_sizes
from lightning_rcnn.data.wanted import wanted_batches
from lightning_rcnn.data.workers import suggested_workers
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import from_plain
from lightning_rcnn.settings_checks import Count, PositiveCount, check, hints_of
from lightning_rcnn.skeleton import Skeleton, difference
from lightning_rcnn.structures import Batch, MaskForm

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}


class DetectionDataModule(LightningDataModule):
    """Streams packed shards into batches of fixed shapes.

    A data source is a packed folder, a shard, a glob, a brace range, a URL of any of these (of http(s)
    except a glob), or `pipe:` and a command (see `lightning_rcnn/data/shards.py`). A list gives several sources.

    The order of an epoch depends only on the data, `seed`, the epoch and the global batch size (devices x
    `batch_size`). A run that is resumed within an epoch neither repeats nor loses a sample. The numbers of devices and
    workers may change as long as the global batch size stays the same; otherwise the run says so and continues with the
    next epoch. Lightning's `use_distributed_sampler` has no effect: the plan gives each device its part.

    Args:
        train: training data: sources as above, or a map-style `torch.utils.data.Dataset` in torchvision's form (see
            `lightning_rcnn/data/torch_dataset.py`).
        val: validation data, used during training.
        test: data for `test`.
        predict: data for `predict`; annotations are ignored.
        batch_size: images per device in a training step.
        eval_batch_size: images per device in an evaluation or prediction step; `batch_size` if None.
        num_workers: loader processes per device, 0 for none; by default the device's share of the cores less one, at
            most 8.
        train_transforms: transforms of training images, in order: ours of geometry (`HorizontalFlip`, `VerticalFlip`,
            `QuarterTurns`, `Affine`, `ZoomOut`, `RandomSizeCrop`, `RandomIoUCrop`; last, `Resize` for multi-scale
            training or `ScaleJitter`), ours of pixels (`Colors`, `PhotometricDistortion`, `Grayscale`, `Blur`,
            `Noise`, `JPEG`, `Cutout`), ours of several samples (`CopyPaste`, `Mosaic`) and any of (image, target), such
            as those of `torchvision.transforms.v2`.
        sampling: which images an epoch has, and how often; by default each once.
        seed: seed of the order, of the sampling and of the transforms.
        shapes: [height, width] of the padded batches in pixels, multiples of 32; by default a short list from the
            resize rule: square, 4:3, and the most elongated images, both ways.
        loading: settings of the order and of the workers.
        fetching: settings of shards that are fetched over the network.

    Attributes:
        categories: classes of the data, label 1..K; available after `setup`.
        resize_rule: resize rule if the attached model has none.
        mask_form: form of the masks in training batches if the attached model requests none.
        skeleton: keypoints in batches if the attached model requests none; None for none.
        proposal_limit: stored proposals per image in a batch if the attached model states no number; 0 for none.
        num_batches: number of batches that will be taken from a loader if there is no trainer, which knows; None for
            all. Of few, the samples of remote shards are fetched, not the shards.

    Raises:
        InputError: in `setup`: data are missing, unreadable, too few, or do not fit together.
    """

    def __init__(
        self,
        train: str | list[str] | Dataset | None = None,
        val: str | list[str] | Dataset | None = None,
        test: str | list[str] | Dataset | None = None,
        predict: str | list[str] | Dataset | None = None,
        batch_size: PositiveCount = 2,
        eval_batch_size: PositiveCount | None = None,
        num_workers: Count | None = None,
        train_transforms: list[Transform | nn.Module | Callable[[Any, Any], Any]] = DEFAULT_TRANSFORMS,
        sampling: Sampling = Sampling(),
        seed: Count = 0,
        shapes: list[list[PositiveCount]] | None = None,
        loading: LoadingSettings = LoadingSettings(),
        fetching: FetchingSettings = FetchingSettings(),
    ) -> None:
        super().__init__()
        sampling = from_plain(sampling, Sampling())
        loading, fetching = from_plain(loading, LoadingSettings()), from_plain(fetching, FetchingSettings())
        settings: dict[str, Any] = {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "num_workers": num_workers,
        }
        settings |= {"sampling": sampling, "seed": seed, "shapes": shapes, "loading": loading, "fetching": fetching}
        for name, value in settings.items():
            check("data", name, hints_of(DetectionDataModule.__init__)[name], value)
        sources = {"train": train, "val": val, "test": test, "predict": predict}
        self.sources = {split: _without_paths(source) for split, source in sources.items()}
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.train_transforms = checked_transforms(train_transforms)
        self.sampling = sampling
        self.seed = seed
        self.shapes = shapes
        self.loading = loading
        self.policy = FetchPolicy(fetching.timeout, fetching.attempts)
        self.cache = ShardCache(fetching.cache_dir, fetching.cache_limit_gb * 1e9, self.policy)
        self.resize_rule = ResizeRule()
        self.mask_form: MaskForm = "none"
        self.proposal_limit = 0
        self.num_batches: int | None = None
        self.skeleton: Skeleton | None = None
        self._shard_sets: dict[str, ShardSet] = {}
        self._training_set: PaddedSet | None = None
        self._counts: EpochCounts | None = None
        self._position: TrainingPosition | None = None

    @property
    def categories(self) -> list[Category]:
        """Classes of the data, label 1..K."""
        if not self._shard_sets:
            raise InputError("the categories are not known before setup; call `setup` first")
        return next(iter(self._shard_sets.values())).index.categories

    @property
    def indexes(self) -> dict[str, ShardIndex]:
        """Split -> index of its data, as far as `setup` has read them."""
        return {split: shard_set.index for split, shard_set in self._shard_sets.items()}

    @property
    def shard_sets(self) -> dict[str, ShardSet]:
        """Split -> its data, as far as `setup` has read them."""
        return dict(self._shard_sets)

    @property
    def num_training_batches(self) -> int:
        """Batches per device in an epoch; available after `setup`."""
        assert self._counts is not None, "call setup('fit') first"
        return self._counts.size // (self.batch_size * self._world)

    def setup(self, stage: str) -> None:
        """Read the indexes that `stage` (fit, validate, test, predict) needs and check that they fit together."""
        splits = _SPLITS[stage]
        if self.sources[splits[0]] is None:
            raise InputError(f"no data to {stage}: give --data.{splits[0]} a packed folder, shards or URLs")
        for split in splits:
            source = self.sources[split]
            if source is not None and split not in self._shard_sets:
                self._shard_sets[split] = self._read(split, source)
            if source is not None and split != "predict":
                self._require_objects(split)
                self._require_masks(split)
                self._require_keypoints(split)
            if source is not None:
                self._require_pixels(split)
                self._require_proposals(split)
        if stage == "fit":
            self._set_up_training()

    def train_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's training batches."""
        data = self._training_set
        assert data is not None, "call setup('fit') first"
        plan: Callable[[int], Plan] = partial(
            data.plan_training,
            seed=self.seed,
            batch_size=self.batch_size,
            rank=self._rank,
            world=self._world,
            window=self.loading.shuffle_window,
            balance_window=self.loading.balance_window,
            counts=self._counts,
        )
        if getattr(self.trainer, "overfit_batches", 0):
            plan = _same_in_every_epoch(plan)
        position = self._position.begin_epoch if self._position is not None else None
        return self._loader(data, "training", plan, self.num_training_batches, position)

    def val_dataloader(self) -> PlannedLoader | list[PlannedLoader]:
        """Return the loader of this rank's validation batches; an empty list if there are no validation data."""
        return self._evaluation_loader("val", "evaluation") if "val" in self._shard_sets else []

    def test_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's test batches."""
        return self._evaluation_loader("test", "evaluation")

    def predict_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's batches without targets."""
        return self._evaluation_loader("predict", "prediction")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy a batch from page-locked memory without waiting for the device's current step, as Lightning would."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the training in the data."""
        return self._position.state_dict() if self._position is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a position in the data."""
        if self._position is not None:
            self._position.load_state_dict(state_dict)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    @property
    def _pixels(self) -> PixelFormat:
        """The format to which images are decoded: that of the model, or else of the data that were read first."""
        return getattr(self._module, "pixels", next(iter(self._shard_sets.values())).index.pixels)

    @property
    def _rule(self) -> ResizeRule:
        return getattr(self._module, "resize_rule", self.resize_rule)

    @property
    def _evaluation_rule(self) -> ResizeRule:
        return getattr(self._module, "evaluation_resize_rule", self._rule)

    @property
    def _mask_form(self) -> MaskForm:
        return getattr(self._module, "mask_form", self.mask_form)

    @property
    def _evaluation_mask_form(self) -> MaskForm:
        return getattr(self._module, "evaluation_mask_form", "none")

    @property
    def _proposal_limit(self) -> int:
        return getattr(self._module, "proposal_limit", self.proposal_limit)

    @property
    def _skeleton(self) -> Skeleton | None:
        return getattr(self._module, "skeleton", self.skeleton)

    @property
    def _counts_labels(self) -> bool:
        """Whether the attached model needs to know of how many images and of which each class is known."""
        return getattr(self._module, "is_federated", False)

    @property
    def _module(self) -> LightningModule | None:
        return self.trainer.lightning_module if self.trainer is not None else None

    def _read(self, split: str, source: str | list[str] | Dataset) -> ShardSet:
        if isinstance(source, Dataset):
            needs_objects = self.loading.balance_window > 1
            needs_labels = split == "train" and (self.sampling.needs_labels or self._counts_labels or needs_objects)
            shard_set: ShardSet = read_torch_dataset(source, split, needs_labels=needs_labels)
        elif not all(isinstance(entry, str) for entry in (source if isinstance(source, list | tuple) else [source])):
            raise InputError(
                f"data.{split}: {type(source).__name__} is no data source; give a packed folder, shards or URLs as "
                "strings, or a torch.utils.data.Dataset"
            )
        else:
            try:
                shard_set = (read_training_shards if split == "train" else read_shards)(source, self.policy)
            except InputError as error:
                raise InputError(f"data.{split}: {error}") from error
        index = shard_set.index
        if len(index) == 0:
            raise InputError(f"data.{split}: {index.name} has no images; give a data set with images")
        for other in self._shard_sets.values():
            if differs := category_difference(other.index, index):
                raise InputError(f"data.{split} does not fit: {differs}")
        if self.trainer is not None and self.trainer.strategy.broadcast(index.fingerprint) != index.fingerprint:
            raise InputError(
                f"data.{split}: the shards at {source} differ between rank {self._rank} and rank 0; copy them again"
            )
        return shard_set

    def _require_objects(self, split: str) -> None:
        index = self._shard_sets[split].index
        if any(any(shard.objects) for shard in index.shards):
            return
        if split == "train":
            raise InputError(
                f"data.train: {index.name} has {len(index)} images but no objects, so a model cannot learn from it; "
                "pack it again from annotations with boxes"
            )
        rank_zero_warn(f"data.{split}: {index.name} has no objects, so its metrics are NaN")

    def _require_masks(self, split: str) -> None:
        lacking = self._shard_sets[split].lacking_masks
        if self._mask_form != "none" and lacking:
            consumer = type(self._module).__name__ if self._module is not None else f"mask_form {self._mask_form!r}"
            raise InputError(
                f"data.{split}: {' and '.join(lacking)} has boxes but no masks, which {consumer} needs; "
                "use Faster R-CNN, or pack the set from annotations with segmentations"
            )
        if split == "train" and lacking and (readers := mask_readers(self.train_transforms)):
            raise InputError(
                f"data.train: {' and '.join(lacking)} has boxes but no masks, which {readers[0]} needs; take it out of "
                "data.train_transforms, or pack the set from annotations with segmentations"
            )

    def _require_keypoints(self, split: str) -> None:
        skeleton, shard_set = self._skeleton, self._shard_sets[split]
        if skeleton is None:
            return
        consumer = type(self._module).__name__ if self._module is not None else "the skeleton"
        if lacking := shard_set.lacking_keypoints:
            raise InputError(
                f"data.{split}: {' and '.join(lacking)} has no keypoints, which {consumer} needs; use another "
                "detector, or pack the set from COCO annotations whose categories name keypoints"
            )
        assert shard_set.index.skeleton is not None
        if differs := difference(skeleton, shard_set.index.skeleton):
            raise InputError(
                f"data.{split}: {shard_set.index.name} has other keypoints than {consumer}: {differs}; give "
                "model.skeleton that of the data, or use a set with these keypoints"
            )

    def _require_pixels(self, split: str) -> None:
        index, pixels = self._shard_sets[split].index, self._pixels
        if index.pixels.layout != pixels.layout:
            consumer = type(self._module).__name__ if self._module is not None else "data.train"
            raise InputError(
                f"data.{split}: {index.name} has {index.pixels.layout}, and {consumer} takes {pixels.layout}; pack it "
                "with other --channels, or train another model for it"
            )
        if index.pixels.describe() != pixels.describe():
            rank_zero_info(
                f"data.{split}: {index.name} has values {index.pixels.range_text}; read with the model's range, "
                f"{pixels.range_text}"
            )
        for transform in self.train_transforms if split == "train" else []:
            if isinstance(transform, Transform) and (reason := transform.refusal(pixels)):
                raise InputError(
                    f"data.train_transforms: {type(transform).__name__}: {reason} ({index.name} has {pixels.layout})"
                )

    def _require_proposals(self, split: str) -> None:
        if split == "train" and self._proposal_limit and (mixing := mixing_names(self.train_transforms)):
            raise InputError(
                f"data.train_transforms: {mixing[0]} mixes images, and stored proposals belong to single images; take "
                "it out, or train a detector that makes its own proposals, such as Faster R-CNN"
            )
        lacking = self._shard_sets[split].lacking_proposals
        if self._proposal_limit and lacking:
            consumer = type(self._module).__name__ if self._module is not None else "proposal_limit"
            raise InputError(
                f"data.{split}: {' and '.join(lacking)} has no proposals, which {consumer} needs; "
                "make them with `lightning-rcnn propose` and give its --out here"
            )

    def _set_up_training(self) -> None:
        rule = self._rule
        rules = [replace(rule, min_size=edge) for edge in min_sizes(self.train_transforms) or [rule.min_size]]
        shard_set = self._shard_sets["train"]
        data = self._training_set = pad_set(shard_set, rules, self.shapes, self.train_transforms)
        images = image_classes(shard_set.index, shard_set.shard_sources, _names_of(self.sources["train"]))
        counts = self._counts = self.sampling.counts(images)
        global_batch_size = self.batch_size * self._world
        if counts.size < global_batch_size:
            raise InputError(
                f"data.train: {counts.size} images are fewer than one batch of all devices "
                f"({self._world} x {self.batch_size}); lower data.batch_size"
            )
        rank_zero_info(epoch_summary(self.sampling, counts, images, global_batch_size))
        if self.trainer is not None:
            identity = PlanIdentity(
                data=shard_set.index.fingerprint,
                padding=data.padding,
                seed=self.seed,
                window=self.loading.shuffle_window,
                balance=data.balance(self.loading.balance_window),
                global_batch_size=global_batch_size,
                sampling=str(self.sampling),
                counts=counts.fingerprint,
            )
            self._position = TrainingPosition(self.trainer, identity, self.num_training_batches)

    def _evaluation_loader(self, split: str, purpose: Purpose) -> PlannedLoader:
        rule = self._rule if purpose == "prediction" else self._evaluation_rule
        data = pad_set(self._shard_sets[split], [rule], self.shapes)
        plan = data.plan_evaluation(batch_size=self.eval_batch_size, rank=self._rank, world=self._world)
        return self._loader(data, purpose, lambda epoch: plan, len(plan))

    def _loader(
        self,
        data: PaddedSet,
        purpose: Purpose,
        plan: Callable[[int], Plan],
        num_batches: int,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> PlannedLoader:
        transforms = self.train_transforms if purpose == "training" else []
        reader: SampleReader = ShardReader(data.shard_set, self._files(data, purpose, num_batches))
        if isinstance(data.shard_set, TorchDataset):
            needed = "bitmaps" if mask_readers(transforms) else self._mask_form
            reader = TorchDatasetReader(data.shard_set.dataset, "none" if purpose == "prediction" else needed)
        mask_form = self._mask_form if purpose == "training" else self._evaluation_mask_form
        dataset = DetectionDataset(
            reader,
            data.rules,
            purpose,
            transforms,
            self.seed,
            mask_form,
            self._proposal_limit,
            has_label_lists=self._counts_labels,
            skeleton=self._skeleton,
            pixels=self._pixels,
        )
        trainer, num_workers = self.trainer, self.num_workers
        if num_workers is None:
            num_workers = suggested_workers(local_ranks=trainer.num_devices if trainer is not None else 1)
        batch_size = self.batch_size if purpose == "training" else self.eval_batch_size
        return PlannedLoader(
            dataset,
            plan,
            num_batches,
            position=position,
            rank=self._rank,
            world=self._world,
            max_corrupt_share=self.loading.max_corrupt_share,
            image_bytes=dataset.layout(batch_size, data.largest_shape).num_bytes,
            num_workers=num_workers,
            multiprocessing_context=self.loading.multiprocessing_context,
            pin_memory=trainer is not None and isinstance(trainer.accelerator, CUDAAccelerator),
        )

    def _files(self, data: PaddedSet, purpose: Purpose, num_batches: int) -> ShardFiles:
        """Return what reads the bytes of samples: the cache of whole shards, or ranges if few samples are wanted."""
        if self.trainer is not None:
            wanted = wanted_batches(self.trainer, purpose, num_batches)
        else:
            wanted = num_batches if self.num_batches is None else self.num_batches
        batch_size = self.batch_size if purpose == "training" else self.eval_batch_size
        wants_few = wanted * batch_size * self._world <= FEW * len(data.shard_set.index)
        return ShardRanges(self.cache) if wants_few else self.cache


def _same_in_every_epoch(plan: Callable[[int], Plan]) -> Callable[[int], Plan]:
    first_epoch = plan(0)
    return lambda epoch: first_epoch


def _names_of(source: Any) -> list[str]:
    """Return the names of the sources in a source of data, for messages."""
    entries = source if isinstance(source, list | tuple) else [source]
    return [entry if isinstance(entry, str) else type(entry).__name__ for entry in entries]


def _without_paths(source: Any) -> Any:
    """Return a source of data with its paths as text."""
    if isinstance(source, list | tuple):
        return [_without_paths(entry) for entry in source]
    return str(source) if isinstance(source, Path) else source
