"""The data module: the settings under `data` on the command line."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.utils.data import Dataset

from lightning_rcnn.data.batch_images import BatchImages, RenderedImages, UnrenderedImages
from lightning_rcnn.data.cache import ShardCache
from lightning_rcnn.data.dataset import Purpose
from lightning_rcnn.data.decoded_batch import LoadedBatch, rendered
from lightning_rcnn.data.fetch import FetchPolicy
from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.loader import PlannedLoader
from lightning_rcnn.data.loading import FetchingSettings, LoadingSettings
from lightning_rcnn.data.padded_set import PaddedSet, pad_set
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.plan import Plan
from lightning_rcnn.data.processes import Processes, processes_of
from lightning_rcnn.data.ranges import shard_files
from lightning_rcnn.data.requests import DataRequests, requests_of
from lightning_rcnn.data.requirements import require_bytes, require_fit, require_same_categories
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.resume import TrainingPosition
from lightning_rcnn.data.sampling import Sampling
from lightning_rcnn.data.shards import ShardSet
from lightning_rcnn.data.sources import read_source, without_paths
from lightning_rcnn.data.split_dataset import split_dataset
from lightning_rcnn.data.training_set import TrainingSet, same_in_every_epoch, sampled_set
from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.data.transforms.color_transform import left_to_device
from lightning_rcnn.data.transforms.pipeline import DEFAULT_TRANSFORMS, checked_transforms, log_worker_transforms
from lightning_rcnn.data.wanted import wanted_batches
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import from_plain
from lightning_rcnn.settings_checks import Count, PositiveCount, check, hints_of
from lightning_rcnn.skeleton import Skeleton
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
        train: training data: a packed folder, shards or URLs, one or a list; or a map-style
            `torch.utils.data.Dataset` in torchvision's form (see `lightning_rcnn/data/torch_dataset.py`).
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
        device_transforms: whether the device changes colors, cuts, resizes, flips and pads images, all of 8 bits.

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
        device_transforms: bool = False,
    ) -> None:
        super().__init__()
        sampling = from_plain(sampling, Sampling())
        loading, fetching = from_plain(loading, LoadingSettings()), from_plain(fetching, FetchingSettings())
        settings = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "num_workers": num_workers}
        others = {"sampling": sampling, "seed": seed, "shapes": shapes, "loading": loading, "fetching": fetching}
        for name, value in {**settings, **others, "device_transforms": device_transforms}.items():
            check("data", name, hints_of(DetectionDataModule.__init__)[name], value)
        sources = {"train": train, "val": val, "test": test, "predict": predict}
        self.sources = {split: without_paths(source) for split, source in sources.items()}
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.train_transforms = checked_transforms(train_transforms)
        self.sampling = sampling
        self.seed = seed
        self.shapes = shapes
        self.loading, self.device_transforms = loading, device_transforms
        self.policy = FetchPolicy(fetching.timeout, fetching.attempts)
        self.cache = ShardCache(fetching.cache_dir, fetching.cache_limit_gb * 1e9, self.policy)
        self.resize_rule = ResizeRule()
        self.mask_form: MaskForm = "none"
        self.proposal_limit = 0
        self.num_batches: int | None = None
        self.skeleton: Skeleton | None = None
        self._shard_sets: dict[str, ShardSet] = {}
        self._training_set: TrainingSet | None = None
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
        assert self._training_set is not None, "call setup('fit') first"
        return self._training_set.counts.size // (self.batch_size * self._processes.world)

    def setup(self, stage: str) -> None:
        """Read the indexes that `stage` (fit, validate, test, predict) needs and check that they fit together."""
        splits = _SPLITS[stage := TrainerFn(stage).value]  # Lightning gives an enumeration, whose text is another
        if self.sources[splits[0]] is None:
            raise InputError(f"no data to {stage}: give --data.{splits[0]} a packed folder, shards or URLs")
        for split in splits:
            source = self.sources[split]
            if source is not None and split not in self._shard_sets:
                self._shard_sets[split] = self._read(split, source)
            if source is not None:
                require_fit(split, self._shard_sets[split], self._requests, self._pixels, self.train_transforms)
                if self.device_transforms:
                    require_bytes(self._shard_sets[split].index, self._pixels)
                    log_worker_transforms(self.train_transforms if split == "train" else [])
        if stage == "fit":
            self._set_up_training()

    def train_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's training batches."""
        assert self._training_set is not None, "call setup('fit') first"
        plan: Callable[[int], Plan] = partial(
            self._training_set.plan,
            seed=self.seed,
            batch_size=self.batch_size,
            processes=self._processes,
            window=self.loading.shuffle_window,
            balance_window=self.loading.balance_window,
        )
        if getattr(self.trainer, "overfit_batches", 0):
            plan = same_in_every_epoch(plan)
        position = self._position.begin_epoch if self._position is not None else None
        return self._loader(self._training_set.data, "training", plan, self.num_training_batches, position)

    def val_dataloader(self) -> PlannedLoader | list[PlannedLoader]:
        """Return the loader of this rank's validation batches; an empty list if there are no validation data."""
        return self._evaluation_loader("val", "evaluation") if "val" in self._shard_sets else []

    def test_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's test batches."""
        return self._evaluation_loader("test", "evaluation")

    def predict_dataloader(self) -> PlannedLoader:
        """Return the loader of this rank's batches without targets."""
        return self._evaluation_loader("predict", "prediction")

    def transfer_batch_to_device(self, batch: LoadedBatch, device: torch.device, dataloader_idx: int) -> LoadedBatch:
        """Copy a batch from page-locked memory without waiting for the device's current step, as Lightning would."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def on_after_batch_transfer(self, batch: LoadedBatch, dataloader_idx: int) -> Batch:
        """Render the images, if that is left to the device."""
        return rendered(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the training in the data."""
        return self._position.state_dict() if self._position is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a position in the data."""
        if self._position is not None:
            self._position.load_state_dict(state_dict)

    @property
    def _processes(self) -> Processes:
        return processes_of(self.trainer)

    @property
    def _requests(self) -> DataRequests:
        module = self.trainer.lightning_module if self.trainer is not None else None
        return requests_of(module, self.resize_rule, self.mask_form, self.proposal_limit, self.skeleton)

    @property
    def _pixels(self) -> PixelFormat:
        """The format to which images are decoded: that of the model, or else of the data that were read first."""
        return self._requests.pixels or next(iter(self._shard_sets.values())).index.pixels

    def _read(self, split: str, source: str | list[str] | Dataset) -> ShardSet:
        counts = self.sampling.needs_labels or self._requests.counts_labels or self.loading.balance_window > 1
        shard_set = read_source(split, source, self.policy, needs_labels=split == "train" and counts)
        index = shard_set.index
        require_same_categories(split, index, {name: other.index for name, other in self._shard_sets.items()})
        if self.trainer is not None and self.trainer.strategy.broadcast(index.fingerprint) != index.fingerprint:
            ranks = f"rank {self._processes.rank} and rank 0"
            raise InputError(f"data.{split}: the shards at {source} differ between {ranks}; copy them again")
        return shard_set

    def _set_up_training(self) -> None:
        shard_set, source, rule = self._shard_sets["train"], self.sources["train"], self._requests.rule
        batch_size, world = self.batch_size, self._processes.world
        self._training_set = sampled_set(
            shard_set, source, self.sampling, rule, self.shapes, self.train_transforms, batch_size, world
        )
        if self.trainer is not None:
            identity = self._training_set.identity(
                seed=self.seed,
                global_batch_size=batch_size * world,
                window=self.loading.shuffle_window,
                balance_window=self.loading.balance_window,
                sampling=self.sampling,
            )
            self._position = TrainingPosition(self.trainer, identity, self.num_training_batches)

    def _evaluation_loader(self, split: str, purpose: Purpose) -> PlannedLoader:
        rule = self._requests.rule if purpose == "prediction" else self._requests.evaluation_rule
        data = pad_set(self._shard_sets[split], [rule], self.shapes)
        processes = self._processes
        plan = data.plan_evaluation(batch_size=self.eval_batch_size, rank=processes.rank, world=processes.world)
        return self._loader(data, purpose, lambda epoch: plan, len(plan))

    def _loader(
        self,
        data: PaddedSet,
        purpose: Purpose,
        plan: Callable[[int], Plan],
        num_batches: int,
        position: Callable[[], tuple[int, int]] | None = None,
    ) -> PlannedLoader:
        processes, loading, trainer = self._processes, self.loading, self.trainer
        transforms = self.train_transforms if purpose == "training" else []
        batch_size = self.batch_size if purpose == "training" else self.eval_batch_size
        wanted = self.num_batches or num_batches if trainer is None else wanted_batches(trainer, purpose, num_batches)
        files = shard_files(self.cache, batch_size * processes.world * wanted, len(data))
        images: type[BatchImages] = UnrenderedImages if self.device_transforms else RenderedImages
        transforms = left_to_device(transforms) if self.device_transforms else transforms
        dataset = split_dataset(data, files, purpose, transforms, self.seed, self._requests, self._pixels, images)
        return PlannedLoader(
            dataset,
            plan,
            num_batches,
            position=position,
            rank=processes.rank,
            world=processes.world,
            max_corrupt_share=loading.max_corrupt_share,
            image_bytes=dataset.image_bytes(batch_size, data.largest_shape, data.areas),
            num_workers=processes.num_workers(self.num_workers),
            multiprocessing_context=loading.multiprocessing_context,
            pin_memory=processes.has_cuda,
        )
