"""The dataset of a split, for one of the purposes of its batches."""

from collections.abc import Sequence

from lightning_rcnn.data.batch_images import BatchImages
from lightning_rcnn.data.dataset import DetectionDataset, Purpose
from lightning_rcnn.data.padded_set import PaddedSet
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.reader import SampleReader, ShardFiles, ShardReader
from lightning_rcnn.data.requests import DataRequests
from lightning_rcnn.data.torch_dataset import TorchDataset, TorchDatasetReader
from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.data.transforms.mixing import mask_readers
from lightning_rcnn.data.transforms.torchvision import PairTransform


def split_dataset(
    data: PaddedSet,
    files: ShardFiles,
    purpose: Purpose,
    transforms: Sequence[Transform | PairTransform],
    seed: int,
    requests: DataRequests,
    pixels: PixelFormat,
    images: type[BatchImages],
) -> DetectionDataset:
    """Return the dataset of a split.

    Args:
        data: shards or torch data set under the resize rules.
        files: what the bytes of shards are read with.
        purpose: what the batches are for.
        transforms: transforms of the images, in order.
        seed: seed of the transforms.
        requests: what the detector asks for.
        pixels: format to which the images are decoded.
        images: form of the images of a batch.
    """
    reader: SampleReader = ShardReader(data.shard_set, files)
    if isinstance(data.shard_set, TorchDataset):
        needed = "bitmaps" if mask_readers(transforms) else requests.mask_form
        reader = TorchDatasetReader(data.shard_set.dataset, "none" if purpose == "prediction" else needed)
    return DetectionDataset(
        reader,
        data.rules,
        purpose,
        transforms,
        seed,
        requests.mask_form if purpose == "training" else requests.evaluation_mask_form,
        requests.proposal_limit,
        has_label_lists=requests.counts_labels,
        skeleton=requests.skeleton,
        pixels=pixels,
        images=images,
    )
