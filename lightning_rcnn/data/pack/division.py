"""Divide images into splits: groups stay whole, the classes are spread evenly, and a seed decides the rest.

It is iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, 2011) of
groups: the class with the fewest remaining images is next, and each of its groups goes to the split that lacks most
images of it. Every step is on integers, and ties are broken by SHA-256 of seed and group, so the division depends
neither on the machine nor on the order in which images are listed.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple

from lightning_rcnn.errors import InputError
from lightning_rcnn.plural import plural

SPLITS = ("train", "val", "test")
MAX_DEVIATION = Fraction(1, 5)
"""Largest difference between the size of a split that was asked for and the one that whole groups allow, as a share
of all images."""


class _Group(NamedTuple):
    name: str
    images: list[int]
    num_by_class: Counter[str]


def is_shares(text: str) -> bool:
    """Return whether the text of `--split` is shares, not the name of a split."""
    return re.fullmatch(r"[-+\d.,/\s]+", text) is not None and ("," in text or "." in text)


def read_shares(text: str) -> list[Fraction]:
    """Read the shares of train, val and perhaps test.

    Raises:
        InputError: they are not two or three positive numbers with the sum 1.
    """
    try:
        shares = [Fraction(part.strip()) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        raise InputError(f"--split {text}: not numbers; give shares such as 0.8,0.1,0.1") from None
    if len(shares) not in (2, 3) or min(shares) <= 0:
        raise InputError(
            f"--split {text}: give two or three shares above 0, of train, val and perhaps test, such as 0.8,0.1,0.1"
        )
    if sum(shares) != 1:
        raise InputError(f"--split {text}: the sum is {float(sum(shares)):g}, not 1; give shares such as 0.8,0.1,0.1")
    return shares


def divide(
    groups: Sequence[str], classes: Sequence[Collection[str]], shares: Sequence[Fraction], seed: int
) -> list[int]:
    """Return the number of the split of each image.

    Args:
        groups: group of each image.
        classes: names of the classes in each image.
        shares: share of each split.
        seed: seed.

    Raises:
        InputError: there are fewer images or groups than splits, or whole groups do not allow the shares.
    """
    wholes = _groups(groups, classes, seed)
    if len(wholes) < len(shares):
        raise InputError(
            f"--split: {plural(len(groups), 'image')} in {plural(len(wholes), 'group')} are too few for {len(shares)} "
            "splits; give fewer shares, or another --group_by (none keeps nothing together)"
        )
    sizes = _sizes(len(groups), shares)
    splits = _assign(wholes, sizes, shares)
    numbers = [0] * len(groups)
    for whole, split in zip(wholes, splits, strict=True):
        for image in whole.images:
            numbers[image] = split
    counts = Counter(numbers)
    for split, share in enumerate(shares):
        actual = counts[split] / len(groups)
        if abs(counts[split] - sizes[split]) > MAX_DEVIATION * len(groups):
            largest = max(wholes, key=lambda whole: (len(whole.images), whole.name))
            raise InputError(
                f"--split: {SPLITS[split]} would have {actual:.0%} of the images instead of {float(share):.0%}, "
                f"because {len(wholes)} groups stay whole (the largest: {largest.name}, {len(largest.images)} of "
                f"{len(groups)} images); give another --group_by, where none keeps nothing together"
            )
    return numbers


def _groups(names: Sequence[str], classes: Sequence[Collection[str]], seed: int) -> list[_Group]:
    """Return the groups: those of twice the size first, because they fit worse, and else by their hashes."""
    images: defaultdict[str, list[int]] = defaultdict(list)
    for image, name in enumerate(names):
        images[name].append(image)
    groups = [
        _Group(name, listed, Counter(name for image in listed for name in set(classes[image])))
        for name, listed in images.items()
    ]
    return sorted(groups, key=lambda group: (-len(group.images).bit_length(), _hash(f"{seed} {group.name}")))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _sizes(num: int, shares: Sequence[Fraction]) -> list[int]:
    """Return whole numbers of images with the sum `num`, each at least 1 where that is possible."""
    sizes = [max(1, floor(num * share)) for share in shares]
    order = sorted(range(len(shares)), key=lambda split: (sizes[split] - num * shares[split], split))
    for split in order[: max(0, num - sum(sizes))]:
        sizes[split] += 1
    while sum(sizes) > num:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes


def _assign(groups: Sequence[_Group], sizes: Sequence[int], shares: Sequence[Fraction]) -> list[int]:
    """Return the split of each group: as many images of each class as its share, and no more images than its size."""
    remaining = sum((group.num_by_class for group in groups), Counter[str]())
    lacking = [{name: share * total for name, total in remaining.items()} for share in shares]
    room = list(sizes)
    by_class: defaultdict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        for name in group.num_by_class:
            by_class[name].append(number)
    splits: dict[int, int] = {}

    def put(number: int, name: str | None) -> None:
        group = groups[number]
        fitting = [split for split in range(len(room)) if room[split] >= len(group.images)]
        if not fitting:
            fitting = [split for split in range(len(room)) if room[split] == max(room)]
        split = max(fitting, key=lambda each: (lacking[each][name] if name is not None else 0, room[each], -each))
        splits[number] = split
        room[split] -= len(group.images)
        for each, count in group.num_by_class.items():
            lacking[split][each] -= count
            remaining[each] -= count

    while rest := [name for name, count in remaining.items() if count > 0]:
        rarest = min(rest, key=lambda name: (remaining[name], name))
        for number in by_class[rarest]:
            if number not in splits:
                put(number, rarest)
    for number in range(len(groups)):
        if number not in splits:
            put(number, None)
    return _fill([splits[number] for number in range(len(groups))], len(shares))


def _fill(splits: list[int], num_splits: int) -> list[int]:
    """Give each split without a group the last, so the smallest, one of the split with most groups."""
    for split in range(num_splits):
        if split not in splits:
            most = Counter(splits).most_common(1)[0][0]
            splits[max(number for number, each in enumerate(splits) if each == most)] = split
    return splits
