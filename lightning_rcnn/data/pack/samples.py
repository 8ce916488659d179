"""Pack samples that Python code yields, for data in a form that no reader knows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.data.formats.labeled import LabeledObject, Labels
from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.pack.completeness import MAX_LOSS
from lightning_rcnn.data.pack.labeled import LabeledItem, read_labeled_item
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.smaller import with_max_edge
from lightning_rcnn.data.pack.source import Outcome, Source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.run_length import encode_crop
from lightning_rcnn.suggestions import did_you_mean

KEYS = ("image", "boxes", "labels", "masks", "file_name", "iscrowd", "difficult")


def pack_samples(
    samples: Iterable[Mapping[str, Any]],
    out: Path | str,
    *,
    classes: Sequence[str] | None = None,
    name: str | None = None,
    shard_size: int = 256,
    strict: bool = False,
    max_loss: float = MAX_LOSS,
    overwrite: bool = False,
    max_edge: int | None = None,
    max_short_edge: int | None = None,
    quality: int | None = None,
    channels: str = "auto",
    value_range: str = "auto",
    bands: str | None = None,
    max_pixels: int | None = None,
) -> ShardIndex:
    """Pack samples into shards, one at a time as they are yielded; the rules for bad data are those of `pack`.

    A sample is a dictionary:

    | key | value |
    |---|---|
    | `image` | path, bytes of an image file, PIL image, or array: uint8 [h, w] or [h, w, 3] (stored as PNG), or of
    another type or number of channels [h, w, C] (stored as npy) |
    | `boxes` | [n, 4], xyxy edges in pixels of the image as displayed; optional with masks |
    | `labels` | n class names, or numbers 1..K of `classes` |
    | `masks` | optional: n masks, each bool [h, w], polygons or an RLE in COCO's form, or None |
    | `file_name` | optional: name for messages and records; by default that of the path, or the sample's number |
    | `iscrowd`, `difficult` | optional: n times 0 or 1 |

    Args:
        samples: samples, for example a generator.
        out: folder for shards and index; it appears when it is whole.
        classes: class names with the labels 1..K, objects of others are left out; by default those that occur, in the
            order of their first objects.
        name: name of the data set; by default that of the folder.
        shard_size: samples per shard.
        strict: whether to refuse the data set if anything has to be repaired or skipped.
        max_loss: largest share of the images, or of the objects, that may be skipped, 0 to 1.
        overwrite: whether to replace a packed data set in `out`.
        max_edge: longest edge in pixels of an image; larger ones are packed smaller, with their boxes and masks.
        max_short_edge: largest shorter edge in pixels, beside `max_edge`.
        quality: JPEG quality of these, 1 to 100; 90 by default.
        channels, value_range, bands, max_pixels: what to keep of the pixels, as `--channels`, `--range`, `--bands` and
            `--max_pixels` of `pack`.

    Returns:
        The index, as written.

    Raises:
        InputError: a sample is not of this form, there is none, or the rules refuse the set; nothing is written.
    """
    categories = [Category(label, class_name, label) for label, class_name in enumerate(classes or (), start=1)]
    if len({category.name for category in categories}) < len(categories):
        raise InputError(f"classes {', '.join(classes or ())}: a name occurs twice; give each name once")
    stream = _Stream(samples)
    read = partial(_read, categories=categories, grows=classes is None)
    source = Source(name or Path(out).name, categories, stream, read)
    return write_shards(
        with_max_edge(source, max_edge, quality, max_short_edge),
        Path(out),
        shard_size=shard_size,
        workers=1,
        strict=strict,
        max_loss=max_loss,
        overwrite=overwrite,
        pixels=PixelOptions(channels, value_range, bands, max_pixels),
    )


class _Stream(Sequence[tuple[int, Mapping[str, Any]]]):
    """An iterable as items of a source: numbered from 1, read once; its length is the number yielded so far."""

    def __init__(self, samples: Iterable[Mapping[str, Any]]) -> None:
        self._samples = samples
        self._num = 0

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for sample in self._samples:
            self._num += 1
            yield self._num, sample

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: Any) -> Any:
        raise TypeError("the samples can only be iterated")


def _read(numbered: tuple[int, Mapping[str, Any]], categories: list[Category], *, grows: bool) -> Outcome:
    number, sample = numbered
    where = f"sample {number}"
    if not isinstance(sample, Mapping):
        raise InputError(f"{where}: is {type(sample).__name__}, not a dictionary with image, boxes and labels")
    for key in sample:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS) or f"; keys are {', '.join(KEYS)}"
            raise InputError(f"{where}: unknown key {key!r}{hint}")
    if "image" not in sample or "labels" not in sample:
        raise InputError(
            f"{where}: has no {'image' if 'image' not in sample else 'labels'}; add it, [] without objects"
        )
    file_name, image = _image(sample, number, where)
    objects = _objects(sample, [] if grows else categories, where)
    if grows:
        known = {category.name for category in categories}
        new = dict.fromkeys(each.class_name for each in objects if each.class_name and each.class_name not in known)
        start = len(categories) + 1
        categories += [Category(label, class_name, label) for label, class_name in enumerate(new, start)]
    labels = {category.name: category.label for category in categories}
    return read_labeled_item(LabeledItem(number, file_name, image, Labels(objects)), labels, chosen=not grows)


def _image(sample: Mapping[str, Any], number: int, where: str) -> tuple[str, Any]:
    """Return the file name, and the path or a function that returns the bytes."""
    image = sample["image"]
    if isinstance(image, str | Path):
        return str(sample.get("file_name") or Path(image).name), Path(image)
    stated = sample.get("file_name")
    name = str(stated or f"{number:09d}.png")
    if isinstance(image, bytes):
        return name, lambda: image
    try:
        if not isinstance(image, Image.Image) and not _fits_png(array := np.asarray(image)):
            data = BytesIO()
            np.save(data, array, allow_pickle=False)
            return str(stated or f"{number:09d}.npy"), data.getvalue
        opened = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
        data = BytesIO()
        opened.save(data, "PNG")
    except (TypeError, ValueError, OSError, AttributeError) as error:
        raise InputError(
            f"{where}: its image cannot be stored ({error}); give a path, bytes, a PIL image or an array [h, w, C]"
        ) from error
    return name, data.getvalue


def _fits_png(array: np.ndarray) -> bool:
    """Return whether Pillow stores all channels and bits of an array in a PNG."""
    channels = array.shape[2] if array.ndim == 3 else 1
    return (array.dtype, channels) == (np.uint16, 1) or (array.dtype == np.uint8 and channels in (1, 3, 4))


def _objects(sample: Mapping[str, Any], categories: Sequence[Category], where: str) -> list[LabeledObject]:
    names = [_class_name(label, categories, where) for label in _listed(sample["labels"])]
    num = len(names)
    columns = {key: _listed(sample[key]) for key in KEYS[1:] if sample.get(key) is not None and key != "labels"}
    columns = {key: listed for key, listed in columns.items() if key != "file_name"}
    for key, listed in columns.items():
        if len(listed) != num:
            raise InputError(f"{where}: {len(listed)} {key}, but {num} labels")
    if num and "boxes" not in columns and "masks" not in columns:
        raise InputError(f"{where}: has objects without boxes or masks; add boxes, [n, 4] xyxy")
    objects = []
    for index, class_name in enumerate(names):
        edges = _edges(columns["boxes"][index], where) if "boxes" in columns else None
        segmentation = _segmentation(columns["masks"][index]) if "masks" in columns else None
        flags = {key: int(bool(columns[key][index])) for key in ("iscrowd", "difficult") if key in columns}
        lost = Defect.UNKNOWN_CLASS if class_name is None else None
        objects.append(
            LabeledObject(
                class_name, edges, segmentation, flags.get("iscrowd", 0), flags.get("difficult", 0), lost=lost
            )
        )
    return objects


def _listed(values: Any) -> Sequence[Any]:
    """Return a list, an array or a tensor as something with a length."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        return [values]
    return values


def _class_name(label: Any, categories: Sequence[Category], where: str) -> str | None:
    if isinstance(label, str):
        return label
    try:
        number = int(label)
    except (TypeError, ValueError):
        raise InputError(f"{where}: label {label!r} is neither a class name nor a number") from None
    if not categories:
        raise InputError(f"{where}: label {number} is a number; name the classes with `classes`, or give names")
    return categories[number - 1].name if 1 <= number <= len(categories) else None


def _edges(box: Any, where: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(value) for value in box)
    except (TypeError, ValueError):
        raise InputError(f"{where}: box {box!r} is not four numbers x1, y1, x2, y2") from None
    return x1, y1, x2, y2


def _segmentation(mask: Any) -> Any:
    """Return a segmentation in COCO's form; bitmaps become an RLE."""
    if mask is None or isinstance(mask, dict | list):
        return mask
    pixels = np.asarray(mask) > 0
    height, width = pixels.shape
    return encode_crop(pixels, 0, 0, height, width)
