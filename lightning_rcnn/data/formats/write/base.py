"""What the writers of all formats share: images with objects in, files out, and what a format cannot say counted."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lightning_rcnn.data.formats.write.names import UniqueNames, last_part
from lightning_rcnn.data.index import Category
from lightning_rcnn.errors import InputError
from lightning_rcnn.masks.segmentation import Segmentation
from lightning_rcnn.plural import plural
from lightning_rcnn.skeleton import Skeleton

Kept = Literal["boxes", "masks", "crowds", "difficult", "scores", "orientation", "label_lists", "keypoints"]
_LOSSES: dict[Kept, tuple[str, str]] = {
    "boxes": ("1 object without a mask is left out", "{:,} objects without a mask are left out"),
    "masks": ("1 mask is left out and its box kept", "{:,} masks are left out and their boxes kept"),
    "crowds": ("1 crowd is left out", "{:,} crowds are left out"),
    "difficult": ("1 difficult object is written like others", "{:,} difficult objects are written like others"),
    "scores": ("1 score is left out", "{:,} scores are left out"),
    "label_lists": (
        "1 list of the classes that an image was looked through for is left out",
        "{:,} lists of the classes that an image was looked through for are left out",
    ),
    "keypoints": ("1 object loses its keypoints", "{:,} objects lose their keypoints"),
}
"""What is lost -> sentence for one, and for several."""


class WrittenObject(NamedTuple):
    """One object.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the original frame.
        label: label 1..K.
        segmentation: polygons or a compressed RLE; None if there is none.
        iscrowd, difficult: 0 or 1.
        area: area in pixels; None for that of the mask, or of the box.
        score: score of a detection, 0 to 1; None for an annotation.
        keypoints: x, y and visibility of each keypoint in turn (see `data/keypoints.py`); empty if there are none.
        num_keypoints: number of labeled keypoints to state; None for that of `keypoints`.
    """

    box: Sequence[float]
    label: int
    segmentation: Segmentation | None = None
    iscrowd: int = 0
    difficult: int = 0
    area: float | None = None
    score: float | None = None
    keypoints: Sequence[float] = ()
    num_keypoints: int | None = None


class WrittenImage(NamedTuple):
    """One image with its objects.

    Attributes:
        image_id: image id.
        file_name: name in the data set; the writer makes a unique name of it.
        data: bytes of the image file, written unchanged.
        width, height: size of the original frame, pixels.
        objects: objects of the image.
        follows_exif: whether the objects refer to the image after its EXIF orientation, as every tool shows it.
        negative_labels, not_exhaustive_labels: see `data/index.LABEL_LISTS`; None in a set that is not federated.
    """

    image_id: int
    file_name: str
    data: bytes
    width: int
    height: int
    objects: Sequence[WrittenObject]
    follows_exif: bool = True
    negative_labels: Sequence[int] | None = None
    not_exhaustive_labels: Sequence[int] | None = None


class FormatWriter(ABC):
    """Writes a data set into a folder: `write` for each image, and `finish` at the end.

    The folder is temporary: the caller gives it its final name after `finish`.

    Args:
        folder: new, empty folder.
        categories: classes with the labels 1..K.
        skeleton: keypoints of the objects; None if they have none.

    Attributes:
        keeps: what the format has a place for.
        losses: what was left out -> how often.
    """

    keeps: frozenset[Kept]

    def __init__(self, folder: Path, categories: Sequence[Category], skeleton: Skeleton | None = None) -> None:
        self.folder = folder
        self.skeleton = skeleton
        self.categories = list(categories)
        self._losses: Counter[Kept] = Counter()
        self._num_renamed = 0
        self._names = UniqueNames()

    def write(self, image: WrittenImage, split: str = "") -> None:
        """Write an image and its objects.

        Args:
            image: image.
            split: name of the split, such as "train"; empty for a set that is not split.

        Raises:
            InputError: the format cannot say what must be said.
        """
        if not image.follows_exif and "orientation" not in self.keeps:
            raise InputError(
                f"{image.file_name}: its objects refer to the stored image, not to the displayed one, which this "
                "format cannot say; choose --format coco, voc, labelme or csv"
            )
        name = self._names.name(image.file_name, image.data)
        if name != last_part(image.file_name):
            self._num_renamed += 1
        self.write_named(name, self._kept(image), split)

    def remarks(self, name: str) -> list[str]:
        """Return a sentence for each kind of what a format of this name has no place for, and one for changed names."""
        sentences = [
            f"{_LOSSES[kind][number > 1].format(number)}: {name} has no place for {'them' if number > 1 else 'it'}."
            for kind, number in self._losses.items()
        ]
        if self._num_renamed:
            sentences.append(
                f"{plural(self._num_renamed, 'image')} got another file name: names have no white space and signs such "
                "as `:`, and differ without their suffixes."
            )
        return sentences

    @abstractmethod
    def write_named(self, name: str, image: WrittenImage, split: str) -> None:
        """Write an image, with only what the format keeps, under a file name that no other image has."""

    @abstractmethod
    def finish(self) -> None:
        """Write what describes the whole data set."""

    def class_name(self, label: int) -> str:
        """Return the name of the class with a label."""
        return self.categories[label - 1].name

    def path(self, *parts: str) -> Path:
        """Return a path in the folder, without empty parts; its folder is created."""
        path = self.folder.joinpath(*filter(None, parts))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _kept(self, image: WrittenImage) -> WrittenImage:
        """Return the image without what the format has no place for, which is counted."""
        objects = []
        for each in image.objects:
            needs: dict[Kept, bool] = {
                "crowds": bool(each.iscrowd),
                "boxes": each.segmentation is None,
                "difficult": bool(each.difficult),
                "masks": each.segmentation is not None,
                "scores": each.score is not None,
                "keypoints": bool(each.keypoints),
            }
            lost = [kind for kind, is_there in needs.items() if is_there and kind not in self.keeps]
            if lost and lost[0] in ("crowds", "boxes"):
                self._losses[lost[0]] += 1
                continue
            self._losses.update(lost)
            objects.append(each)
        has_lists = image.negative_labels is not None or image.not_exhaustive_labels is not None
        if has_lists and "label_lists" not in self.keeps:
            self._losses["label_lists"] += 1
        return image._replace(objects=objects)
