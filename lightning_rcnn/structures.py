"""The tensors that parts hand to each other, and THE coordinate convention.

Boxes are `xyxy`: (x1, y1, x2, y2) in float32 pixels of a named frame, edges and not pixel indices, so width = x2 - x1
(no +1). The *original* frame is that of the image file as shown (after EXIF orientation); the *resized* frame is that
of the network's input, whose origin is the same corner since padding is on the right and at the bottom. Class 0 is
background, foreground classes are 1..K. Raggedness ends at collate: from here on every tensor has a fixed shape, and a
label or a validity mask marks padding.

Shape letters: N images, H and W padded height and width, M ground truths, P proposals, D detections, K classes,
S side of a mask, E edges of a polygon, B bytes, V listed labels, J keypoints of an object.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from torch import Tensor

NO_IMAGE = -1
"""Image id of an empty slot: padding of a short batch, or a record that could not be read."""
PADDING_LABEL = -1
"""Label of an empty slot."""


class Bitmaps(NamedTuple):
    """Masks as packed bits, each cropped to its object, in the resolution of the original frame.

    A crop extends one pixel beyond the mask on each side, except where the image ends. So pixels outside the crop are
    background, and pixels outside the image can be told from background. A crop is mirrored as its image is.

    Attributes:
        bits: uint8 [B], pixels of the crops row by row, eight a byte, the first one in the highest bit, as packed by
            `numpy.packbits`. Each crop starts with a new byte.
        first_byte: int64 [N, M], index of the first byte of each object's crop.
        sizes: int64 [N, M, 2], (height, width) of the crops in pixels; 0 x 0 for an object without a mask.
        boxes: float32 [N, M, 4], outer edges of the crops in the resized frame.
    """

    bits: Tensor
    first_byte: Tensor
    sizes: Tensor
    boxes: Tensor


class Polygons(NamedTuple):
    """Masks as polygons, filled by the nonzero winding rule.

    Attributes:
        edges: float32 [N, M, E, 4], from (x1, y1) to (x2, y2) in the resized frame; zeros where padded. All polygons of
            an object have the same orientation. An object without a mask has no edges.
    """

    edges: Tensor


Masks = Bitmaps | Polygons
"""Ground-truth masks of a batch, in the form that the detector requests."""
MaskForm = Literal["none", "bitmaps", "polygons"]
"""Form of ground-truth masks that a detector requests."""


class Targets(NamedTuple):
    """Ground truth of a batch in the resized frame, padded to M objects an image.

    Attributes:
        boxes: float32 [N, M, 4]; zeros where padded.
        labels: int64 [N, M], 1..K, `PADDING_LABEL` where padded.
        is_crowd: bool [N, M]; a crowd box marks a group: it matches no positive, and boxes inside it are no negatives.
        masks: masks of single objects; None if the detector requests none.
        negative_labels: int64 [N, V], labels that the annotations list as absent from the image, `PADDING_LABEL` where
            padded; None for empty lists.
        not_exhaustive_labels: int64 [N, V], labels of which objects may lack annotations, in the same form.
        keypoints: float32 [N, M, J, 3], x, y and visibility: 0 for a keypoint that is not labeled, whose x and y are
            0, and for padding; 1 for a labeled one that is hidden, 2 for one that is seen. None if the detector
            requests none.
    """

    boxes: Tensor
    labels: Tensor
    is_crowd: Tensor
    masks: Masks | None = None
    negative_labels: Tensor | None = None
    not_exhaustive_labels: Tensor | None = None
    keypoints: Tensor | None = None

    @property
    def is_object(self) -> Tensor:
        """Bool [N, M], slots that hold a single object, neither crowd nor padding."""
        return (self.labels > 0) & ~self.is_crowd


class Proposals(NamedTuple):
    """Class-agnostic boxes in the resized frame, best first.

    Attributes:
        boxes: float32 [N, P, 4].
        scores: float32 [N, P], objectness (logits or probabilities) that ranks them; -inf where not valid.
        is_valid: bool [N, P]; False for padding.
    """

    boxes: Tensor
    scores: Tensor
    is_valid: Tensor


class Inputs(NamedTuple):
    """Inputs of a detector, tensors of fixed shapes.

    Attributes:
        images: [N, C, H, W], values 0 to 255, padded on the right and at the bottom; uint8, or float32 where the resize
            rule works on floats or the images have more than 8 bits. RGB unless the data have another pixel format
            (`data/pixel_format.py`). The detector normalizes them on the device.
        image_sizes: int64 [N, 2], (height, width) of the image inside the padding; zeros for an empty slot.
        image_ids: int64 [N]; `NO_IMAGE` for an empty slot.
        proposals: precomputed proposals; None if the detector computes its own.
    """

    images: Tensor
    image_sizes: Tensor
    image_ids: Tensor
    proposals: Proposals | None = None


class Detections(NamedTuple):
    """Detections in the original frame, best first.

    Attributes:
        boxes: float32 [N, D, 4].
        scores: float32 [N, D]; 0 where padded.
        labels: int64 [N, D], 1..K, `PADDING_LABEL` where padded.
        masks: float32 [N, D, S, S], mask probability of each cell of a grid that fills the box, 0 where padded; None if
            the detector predicts no masks.
        keypoints: float32 [N, D, J, 3], x, y and score of each keypoint; None if the detector predicts no keypoints.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None


class FoundObjects(NamedTuple):
    """Objects found in one image, on the host, best first, in the original frame; there is no padding.

    Attributes:
        boxes: float32 [D, 4].
        scores: float32 [D].
        labels: int64 [D], 1..K.
        masks: a mask of the whole image for each object, as a run-length encoding (`masks/run_length.py`); None if the
            detector predicts no masks.
        keypoints: float32 [D, J, 3], x, y and score of each keypoint; None if the detector predicts no keypoints.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Sequence[dict[str, Any]] | None = None
    keypoints: Tensor | None = None


class LabelLists(NamedTuple):
    """What a federated set, such as LVIS, says of the classes of an image beside the annotations of its objects.

    Attributes:
        negative: labels of classes that are absent.
        not_exhaustive: labels of classes of which objects may lack annotations.
    """

    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


@dataclass(frozen=True)
class ImageRecord:
    """Metadata of an image; stays on the host.

    Attributes:
        image_id: id in the data set; `NO_IMAGE` for an empty slot.
        file_name: name in the data set, for messages.
        height, width: size of the original frame, pixels.
        annotations: dictionaries in the original frame, as packed (see `data/index.py`); only for evaluation.
        label_lists: lists of an image of a federated set, only for evaluation; None for one of another set.
        problem: reason why the record could not be read, with shard and key; empty if it was read.
        left_out: objects of the image that were left out, each with its position and reason; empty if none was.
        clipped: boxes that reached beyond the image, and were clipped to it; empty if none did.
        damage: what is wrong with an image file that still decodes, with shard and key; empty for a sound file.
        partners: records of the samples that transforms mixed into the image, and of those that could not be read.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    annotations: list[dict[str, Any]] = field(default_factory=list)
    label_lists: LabelLists | None = None
    problem: str = ""
    left_out: str = ""
    clipped: str = ""
    damage: str = ""
    partners: tuple["ImageRecord", ...] = ()


@dataclass(frozen=True)
class Batch:
    """A collated batch.

    Attributes:
        images, image_sizes, image_ids: as in `Inputs`.
        targets: ground truth; None in prediction.
        records: metadata of the N slots.
        proposals: as in `Inputs`.
    """

    images: Tensor
    image_sizes: Tensor
    image_ids: Tensor
    targets: Targets | None
    records: tuple[ImageRecord, ...]
    proposals: Proposals | None = None

    @property
    def inputs(self) -> Inputs:
        """The detector's inputs: the batch without ground truth and metadata."""
        return Inputs(self.images, self.image_sizes, self.image_ids, self.proposals)

    def to(self, device: Any, non_blocking: bool = False) -> "Batch":
        """Move the tensors to `device`."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Copy the tensors to page-locked memory; torch's DataLoader calls this method by name."""
        return self.map_tensors(lambda tensor: tensor.pin_memory())

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with `function` of each tensor in its place."""
        return replace(
            self,
            images=function(self.images),
            image_sizes=function(self.image_sizes),
            image_ids=function(self.image_ids),
            targets=_map_tensors(function, self.targets),
            proposals=_map_tensors(function, self.proposals),
        )


def _map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `function` to each tensor of a nested named tuple."""
    if isinstance(value, Tensor):
        return function(value)
    return None if value is None else type(value)(*(_map_tensors(function, part) for part in value))
