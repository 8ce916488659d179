"""The frames of a sequence by the numbers at the end of their names."""

import re
from collections.abc import Iterable

from lightning_rcnn.errors import InputError

_NUMBER = re.compile(r"(\d+)\.\w+$")


def numbered_frames(images: Iterable[str], annotations: str) -> dict[int, str]:
    """Return number -> image; images whose names do not end in a number are left out.

    Args:
        images: images of the sequence.
        annotations: annotation file of the sequence, for messages.

    Raises:
        InputError: two images have one number, as 000001.jpg and 1.jpg.
    """
    frames: dict[int, str] = {}
    for image in images:
        if (match := _NUMBER.search(image)) is None:
            continue
        number = int(match[1])
        if number in frames:
            raise InputError(
                f"{annotations}: {frames[number]} and {image} are both frame {number} of the sequence; remove one"
            )
        frames[number] = image
    return frames
