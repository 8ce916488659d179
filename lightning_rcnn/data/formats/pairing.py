"""Find the image of an annotation file among images of the same name, by their folders."""

from collections.abc import Sequence
from pathlib import PurePosixPath


def nearest_images(file: PurePosixPath, images: Sequence[str]) -> list[str]:
    """Return the images whose folders have most in common with those of a file, counted from the innermost.

    Images in the file's own folder come first, so that a preview elsewhere is not in the way.
    """
    beside = [image for image in images if PurePosixPath(image).parent == file.parent]
    if beside:
        return beside
    common = {image: _common_end(file.parent.parts, PurePosixPath(image).parent.parts) for image in images}
    return [image for image in images if common[image] == max(common.values())]


def _common_end(parts: Sequence[str], others: Sequence[str]) -> int:
    pairs = zip(reversed(parts), reversed(others), strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(others)))
