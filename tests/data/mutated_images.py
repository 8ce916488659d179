"""Decode and examine mutated files of some formats; a program of its own, because a decoder may end its process.

Prints a line of JSON for each format: how many files were decoded and refused, and the memory that they took.
"""

import json
import resource
import sys
from io import BytesIO

import numpy as np
from PIL import Image

from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.pack.image_info import RejectedImageError, inspect_image

HEIGHT, WIDTH = 96, 128


def encode(kind):
    """A file of `kind`: a format of Pillow's, and after a dash its mode or the compression of a TIFF."""
    name, _, variant = kind.partition("-")
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    noise = np.random.default_rng(1).integers(8, size=(HEIGHT, WIDTH, 3))
    image = Image.fromarray(
        np.stack([rows * 2, columns, rows + columns], axis=-1).astype(np.uint8) ^ noise.astype("u1")
    )
    options = {"compression": variant} if name == "TIFF" and variant else {}
    if variant == "progressive":
        options = {"progressive": True}
    elif variant and not options:
        image = image.convert(variant)
    stream = BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def mutate(data, seed):
    """Flip a bit, overwrite bytes, cut, swap two pieces, or flip a bit of the header, in turn."""
    random = np.random.default_rng(seed)
    mutated, length = bytearray(data), len(data)
    match seed % 5:
        case 0:
            mutated[random.integers(length)] ^= 1 << int(random.integers(8))
        case 1:
            for _ in range(random.integers(2, 20)):
                mutated[random.integers(length)] = random.integers(256)
        case 2:
            del mutated[random.integers(length) :]
        case 3:
            size = int(random.integers(4, min(400, length // 3)))
            one, other = sorted(random.integers(length - size, size=2).tolist())
            mutated[one : one + size], mutated[other : other + size] = (
                mutated[other : other + size],
                mutated[one : one + size],
            )
        case _:
            mutated[random.integers(64)] ^= 1 << int(random.integers(8))
    return bytes(mutated)


def main(count, kinds):
    for kind in kinds:
        data = encode(kind)
        decode_image(data, apply_exif=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused = 0
        for seed in range(count):
            try:
                mutated = mutate(data, seed)
                image = decode_image(mutated, apply_exif=True)
                assert image.shape[0] == 3, seed
                inspect_image(mutated, kind)
            except (UndecodableImage, RejectedImageError) as error:
                refused += 1
                if len(str(error).splitlines()) != 1:
                    raise
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(json.dumps({"kind": kind, "decoded": count - refused, "refused": refused, "MiB": used}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
