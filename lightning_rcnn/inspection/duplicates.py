"""Images that occur twice, within a set or in two sets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.reader import UnreadableRecordError
from lightning_rcnn.inspection.collecting import InspectedSet
from lightning_rcnn.inspection.facts import pixels_of
from lightning_rcnn.inspection.fingerprints import PICTURE_SIDE, candidate_pairs, is_same_picture
from lightning_rcnn.progress import track

FLAT = 2
"""Largest contrast, gray levels, of an image that shows nothing."""


class Place(NamedTuple):
    """An image: position of its set in the list of sets, and number in the set."""

    of_set: int
    image: int


class Copies(NamedTuple):
    """Images that are one.

    Attributes:
        places: two or more images, in order.
        is_same_file: whether all have the same bytes.
    """

    places: tuple[Place, ...]
    is_same_file: bool

    @property
    def is_leak(self) -> bool:
        """Whether they are in more than one set."""
        return len({place.of_set for place in self.places}) > 1


def find_copies(sets: Sequence[InspectedSet], console: Console) -> list[Copies]:
    """Find images that occur more than once: the same file, or the same picture by `fingerprints.py`.

    Images that show nothing, or cannot be read, are left out.
    """
    places = [Place(number, image) for number, one in enumerate(sets) for image in range(len(one))]
    contrasts = np.concatenate([one.contrasts for one in sets])
    shown = np.flatnonzero(contrasts > FLAT)
    files = np.concatenate([one.file_hashes for one in sets])[shown]
    sizes = np.concatenate([one.sizes for one in sets])[shown]
    owner = np.arange(len(shown))  # of a group: its first image

    def first_of(image: int) -> int:
        while owner[image] != image:
            owner[image] = image = owner[owner[image]]
        return image

    _, first, group = np.unique(files, return_index=True, return_inverse=True)
    owner[:] = first[group]
    candidates = candidate_pairs(
        np.concatenate([one.picture_hashes for one in sets])[shown],
        np.concatenate([one.thumbnails for one in sets])[shown],
        sizes[:, 1] / sizes[:, 0],
    )
    pairs = sorted({(first_of(one), first_of(other)) for one, other in candidates})
    for one, other in track([pair for pair in pairs if pair[0] != pair[1]], "comparing candidates", console):
        if first_of(one) == first_of(other):
            continue
        pictures = [_pixels(sets, places[shown[image]]) for image in (one, other)]
        if pictures[0] is not None and pictures[1] is not None and is_same_picture(pictures[0], pictures[1]):
            low, high = sorted((first_of(one), first_of(other)))
            owner[high] = low
    groups: dict[int, list[int]] = {}
    for image in range(len(shown)):
        groups.setdefault(first_of(image), []).append(image)
    return [
        Copies(tuple(places[shown[image]] for image in group), len(set(files[group].tolist())) == 1)
        for group in groups.values()
        if len(group) > 1
    ]


def _pixels(sets: Sequence[InspectedSet], place: Place) -> np.ndarray | None:
    try:
        one = sets[place.of_set]
        return pixels_of(one.reader.read(place.image), one.index.pixels, PICTURE_SIDE)[0]
    except (UnreadableRecordError, UndecodableImage):  # has changed since it was read
        return None
