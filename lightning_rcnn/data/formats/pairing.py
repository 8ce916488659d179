"""Find the image of an annotation file among images of the same name, by their folders."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath


def nearest_images(file: PurePosixPath, images: Sequence[str]) -> list[str]:
    """Return the images whose folders have most in common with those of a file, counted from the innermost.

    Of images in folders of one name, as KITTI's `training/image_2` and `testing/image_2` for `training/label_2`, those
    count whose outer folders have most in common. Images in the file's own folder come first, so that a preview
    elsewhere is not in the way.
    """
    folders = {image: PurePosixPath(image).parent for image in images}
    beside = [image for image in images if folders[image] == file.parent]
    if beside:
        return beside
    inner = {image: _num_equal(file.parent.parts[::-1], folder.parts[::-1]) for image, folder in folders.items()}
    outer = {image: _num_equal(file.parent.parts, folder.parts) for image, folder in folders.items()}
    nearest = [image for image in images if inner[image] == max(inner.values())]
    best: defaultdict[str, int] = defaultdict(int)
    for image in nearest:
        best[folders[image].name] = max(best[folders[image].name], outer[image])
    return [image for image in nearest if outer[image] == best[folders[image].name]]


def _num_equal(parts: Sequence[str], others: Sequence[str]) -> int:
    """Return the number of equal parts at the beginning."""
    pairs = zip(parts, others, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(others)))
