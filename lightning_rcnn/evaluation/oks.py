"""Standard deviations of object keypoint similarity (OKS), with which COCO scores keypoints.

Source: cocodataset.org/#keypoints-eval, section 1.3: exp(-d^2 / (2 s^2 k^2)) with k twice the standard deviation.
"""

from collections.abc import Sequence

from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural
from lightning_rcnn.skeleton import COCO_PERSON, Skeleton

_COCO = (0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087)
COCO_SIGMAS = (*_COCO, 0.089, 0.089)
"""Those of COCO's keypoints of a person: how far annotators differ, as a share of the root of the object's area."""
UNIFORM_SIGMA = 0.05
"""That of any other keypoint, a little less than COCO's mean."""

KEYPOINT_DETECTIONS = 20
"""COCO's limit of detections of an image whose keypoints are scored."""


def sigmas_of(skeleton: Skeleton, given: Sequence[float] | None) -> list[float]:
    """Return the standard deviation of each keypoint of a skeleton.

    Args:
        skeleton: the keypoints.
        given: standard deviations, one for each keypoint or one for all; None for COCO's, or `UNIFORM_SIGMA` for other
            keypoints.

    Raises:
        InputError: there is another number of them.
    """
    if given is None:
        is_coco = skeleton.names == COCO_PERSON.names
        return list(COCO_SIGMAS) if is_coco else [UNIFORM_SIGMA] * len(skeleton)
    if len(given) == 1:
        return [*given] * len(skeleton)
    if len(given) != len(skeleton):
        raise InputError(
            f"model.oks_sigmas: {plural(len(given), 'number')} for {plural(len(skeleton), 'keypoint')}; give one "
            "for each, or one for all"
        )
    return list(given)
