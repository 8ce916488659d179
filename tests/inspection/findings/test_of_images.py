"""Copies of an image that are annotated in different ways, on objects written down by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightning_rcnn.inspection.duplicates import Copies, Place
from lightning_rcnn.inspection.findings.of_images import _copies

IMAGES = [["cat", "dog"], ["dog", "cat"], ["cat"], ["cat", "cat"]]
LABELS = {"cat": 1, "dog": 2}


def findings(*images):
    """Find what is remarkable about copies of one picture, which are some of the images."""
    numbers = np.repeat(np.arange(len(IMAGES)), [len(names) for names in IMAGES])
    one = SimpleNamespace(
        name="train",
        index=SimpleNamespace(is_federated=False),
        categories=[SimpleNamespace(name=name) for name in LABELS],
        labels=np.array([LABELS[name] for names in IMAGES for name in names]),
        objects_of=lambda image: np.flatnonzero(numbers == image),
    )
    copies = Copies(tuple(Place(0, image) for image in images), is_same_file=True)
    return {finding.kind: finding for finding in _copies(SimpleNamespace(sets=[one], copies=[copies]))}


@pytest.mark.parametrize("images", [(0, 2), (2, 3), (0, 1, 2), (1, 0, 3)])
def test_copies_with_other_objects_are_named_wherever_they_stand(images):
    (case,) = findings(*images)["copies_differ"].cases
    assert tuple(shot.image for shot in case.shots) == images


def test_the_order_of_objects_does_not_matter():
    assert set(findings(0, 1)) == {"duplicate_image"}
