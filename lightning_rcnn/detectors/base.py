"""The base of all detectors, a LightningModule: what it is (`core.py`), what Lightning calls (`steps.py`), and its use.

Other parts are in `preprocessing.py`, `optimization.py`, `evaluation.py` and `inference.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

import torch
from lightning.pytorch.utilities.model_helpers import _restricted_classmethod
from torch import Tensor

from lightning_rcnn.checkpoints.header import first_mismatch
from lightning_rcnn.detectors.images import ImageLike, as_images
from lightning_rcnn.detectors.inference import detect_tensors
from lightning_rcnn.detectors.steps import DetectorSteps
from lightning_rcnn.detectors.tiles_and_views import OVERLAP, TilesAndViews
from lightning_rcnn.detectors.whole_images import as_tensors, detect_objects
from lightning_rcnn.errors import InputError
from lightning_rcnn.export.check import Comparison
from lightning_rcnn.export.exporting import FormatName, export_detector
from lightning_rcnn.functional.class_suppression import suppress_across_classes
from lightning_rcnn.masks.paste import paste_densely


class Detector(DetectorSteps):
    """Detector of objects: a backbone and branches.

    This base has what detectors do in Python; `DetectorCore` has the arguments and what to override.
    """

    @_restricted_classmethod  # as Lightning's: it refuses to be called on an instance, which it would not change
    def load_from_checkpoint(
        cls,  # noqa: N805
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint of this class, as Lightning does; `lightning_rcnn.load_detector` finds the class itself.

        Args:
            checkpoint_path, map_location, hparams_file, strict, weights_only: see Lightning's method.
            kwargs: arguments of the constructor in the place of those in the file.

        Raises:
            InputError: the file is not of this class, or not of ours.
        """
        load = super().load_from_checkpoint
        try:
            return load(checkpoint_path, map_location, hparams_file, strict, weights_only, **kwargs)
        except (InputError, KeyError, TypeError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                raise
            reason = first_mismatch(error) if isinstance(error, RuntimeError) else str(error)
            raise InputError(
                f"{checkpoint_path}: cannot be loaded as {cls.__name__} ({reason}); lightning_rcnn.load_detector takes "
                "the class from the file, and lightning_rcnn.load reads those of torchvision and detectron2, too"
            ) from error

    @torch.inference_mode()
    def detect(
        self,
        images: ImageLike | Sequence[ImageLike],
        threshold: float | Sequence[float] = 0.5,
        batch_size: int = 1,
        tile: int | None = None,
        overlap: float = OVERLAP,
        tta: str | Sequence[str] = (),
        nms_across_classes: bool = False,
    ) -> list[dict[str, Tensor]]:
        """Find objects in images of any size.

        Args:
            images: a file, a PIL image, an array [h, w, 3], a tensor [3, h, w], or a list of them; uint8, RGB. Of a
                model for other images [h, w, C] and [C, h, w], with values as in the files of its training.
            threshold: minimum score of detections, 0 to 1; one for all classes, or a list of one for each in the order
                of `class_names`. The model's own `score_threshold` applies, too.
            batch_size: number of images or tiles in one pass of the network, if their inputs have the same size.
            tile, overlap, tta, nms_across_classes: see `TilesAndViews`.

        Returns:
            Per image `boxes` float32 [D, 4] (xyxy, pixels of the image as given), `labels` int64 [D] (1..K) and
            `scores` float32 [D], best first; if the detector predicts masks also `masks` bool [D, h, w], on the host;
            if it predicts keypoints also `keypoints` float32 [D, J, 3], x, y and score.

        Raises:
            InputError: an item is not an image, an option is out of range, or the masks are larger than the memory.
        """
        pixels = as_images(images, self.pixels)
        tiles_and_views = TilesAndViews(tile, overlap, tta, nms_across_classes)
        if not tiles_and_views.is_plain:
            found = detect_objects(self, pixels, threshold, batch_size, tiles_and_views)
            return [as_tensors(objects, *image.shape[1:]) for objects, image in zip(found, pixels, strict=True)]
        results = []
        plain = detect_tensors(self, pixels, threshold, batch_size)
        if nms_across_classes:
            plain = suppress_across_classes(plain, self.suppression.iou)
        for image, detections in zip(pixels, plain, strict=True):
            entry = {name: values[0] for name, values in detections._asdict().items() if values is not None}
            if "masks" in entry:
                _, height, width = image.shape
                entry["masks"] = paste_densely(entry["masks"], entry["boxes"], height, width, self.mask_paste)
            results.append(entry)
        return results

    def export(
        self,
        path: str | Path,
        format: FormatName | None = None,
        images: ImageLike | Sequence[ImageLike] = (),
        threshold: float | None = None,
        detections: int | None = None,
        half: bool = False,
    ) -> list[Comparison]:
        """Write the detector as a file that runs without this package, for the device that it is on.

        The file gets its name only when it has found the same as the detector.

        Args:
            path: file to write.
            format: "pt2" (`torch.export`), "onnx", or "aoti" (compiled); by default that of the suffix of `path`.
            images: images to compare on, as in `detect`; generated scenes if not given.
            threshold: minimum score of detections, exclusive; the model's own `score_threshold` if not given.
            detections: maximum number of detections per image; the model's own if not given.
            half: store weights as float16, for a file of half the size; it computes in float32.

        Returns:
            The largest differences of each batch that was compared.

        Raises:
            InputError: see `export_detector`.
            OSError: the file cannot be written.
        """
        chosen = as_images(images, self.pixels)
        return export_detector(self, Path(path), format, chosen, threshold, detections, half)
