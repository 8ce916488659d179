"""Check that the data of a split have what the detector and the transforms need."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.requests import DataRequests
from lightning_rcnn.data.shards import ShardSet, category_difference, told_apart
from lightning_rcnn.data.transforms.base import Transform
from lightning_rcnn.data.transforms.mixing import mask_readers, mixing_names
from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.skeleton import difference


def require_same_categories(split: str, index: ShardIndex, others: Mapping[str, ShardIndex]) -> None:
    """Check that a split has the categories of the others.

    Args:
        split: name of the split, such as "val".
        index: its index.
        others: names and indices of the splits that were read before.

    Raises:
        InputError: it has not.
    """
    for name, other in others.items():
        if differs := category_difference(*told_apart({f"data.{name}": other, f"data.{split}": index})):
            raise InputError(f"data.{split} does not fit: {differs}")


def require_fit(
    split: str, shard_set: ShardSet, requests: DataRequests, pixels: PixelFormat, transforms: Sequence[Any]
) -> None:
    """Check the annotations, the pixels and the proposals of a split.

    Args:
        split: train, val, test or predict, which needs no annotations.
        shard_set: its data.
        requests: what is asked of them.
        pixels: format to which images are decoded.
        transforms: transforms of training images.

    Raises:
        InputError: the data lack something, have another layout, or a transform does not take them.
    """
    if split != "predict":
        _require_objects(split, shard_set.index)
        _require_masks(split, shard_set, requests, transforms)
        _require_keypoints(split, shard_set, requests)
    _require_pixels(split, shard_set.index, pixels, requests, transforms)
    _require_proposals(split, shard_set, requests, transforms)


def require_bytes(index: ShardIndex, pixels: PixelFormat) -> None:
    """Check that images are of 8 bits, as the device renders no others.

    Raises:
        InputError: they are not.
    """
    if not pixels.is_eight_bit:
        raise InputError(
            f"data.device_transforms: {index.name} has {pixels.describe()}, and a device renders images of 8 bits from "
            "0 to 255 only; leave data.device_transforms out"
        )


def _require_pixels(
    split: str, index: ShardIndex, pixels: PixelFormat, requests: DataRequests, transforms: Sequence[Any]
) -> None:
    if index.pixels.layout != pixels.layout:
        raise InputError(
            f"data.{split}: {index.name} has {index.pixels.layout}, and {requests.consumer or 'data.train'} takes "
            f"{pixels.layout}; pack it with other --channels, or train another model for it"
        )
    if index.pixels.describe() != pixels.describe():
        rank_zero_info(
            f"data.{split}: {index.name} has values {index.pixels.range_text}; read with the model's range, "
            f"{pixels.range_text}"
        )
    for transform in transforms if split == "train" else []:
        if isinstance(transform, Transform) and (reason := transform.refusal(pixels)):
            raise InputError(
                f"data.train_transforms: {type(transform).__name__}: {reason} ({index.name} has {pixels.layout})"
            )


def _require_proposals(split: str, shard_set: ShardSet, requests: DataRequests, transforms: Sequence[Any]) -> None:
    if split == "train" and requests.proposal_limit and (mixing := mixing_names(transforms)):
        raise InputError(
            f"data.train_transforms: {mixing[0]} mixes images, and stored proposals belong to single images; take "
            "it out, or train a detector that makes its own proposals, such as Faster R-CNN"
        )
    lacking = shard_set.lacking_proposals
    if requests.proposal_limit and lacking:
        raise InputError(
            f"data.{split}: {' and '.join(lacking)} has no proposals, which {requests.consumer or 'proposal_limit'} "
            "needs; make them with `lightning-rcnn propose` and give its --out here"
        )


def _require_objects(split: str, index: ShardIndex) -> None:
    if any(any(shard.objects) for shard in index.shards):
        return
    if split == "train":
        raise InputError(
            f"data.train: {index.name} has {plural(len(index), 'image')} but no objects, so a model cannot learn from "
            "it; pack it again from annotations with boxes"
        )
    rank_zero_warn(f"data.{split}: {index.name} has no objects, so its metrics are NaN")


def _require_masks(split: str, shard_set: ShardSet, requests: DataRequests, transforms: Sequence[Any]) -> None:
    lacking = shard_set.lacking_masks
    if requests.mask_form != "none" and lacking:
        raise InputError(
            f"data.{split}: {' and '.join(lacking)} has boxes but no masks, which "
            f"{requests.consumer or f'mask_form {requests.mask_form!r}'} needs; "
            "use Faster R-CNN, or pack the set from annotations with segmentations"
        )
    if split == "train" and lacking and (readers := mask_readers(transforms)):
        raise InputError(
            f"data.train: {' and '.join(lacking)} has boxes but no masks, which {readers[0]} needs; take it out of "
            "data.train_transforms, or pack the set from annotations with segmentations"
        )


def _require_keypoints(split: str, shard_set: ShardSet, requests: DataRequests) -> None:
    if requests.skeleton is None:
        return
    consumer = requests.consumer or "the skeleton"
    if lacking := shard_set.lacking_keypoints:
        raise InputError(
            f"data.{split}: {' and '.join(lacking)} has no keypoints, which {consumer} needs; use another "
            "detector, or pack the set from COCO annotations whose categories name keypoints"
        )
    assert shard_set.index.skeleton is not None
    if differs := difference(requests.skeleton, shard_set.index.skeleton):
        raise InputError(
            f"data.{split}: {shard_set.index.name} has other keypoints than {consumer}: {differs}; give "
            "model.skeleton that of the data, or use a set with these keypoints"
        )
