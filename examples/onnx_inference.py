"""Objects in image files with onnxruntime, numpy and Pillow alone: python examples/onnx_inference.py FILE.onnx IMAGE...

The file is one of `lightning-rcnn export`; it says itself how images are resized. Fast R-CNN would also take proposals.
"""

import json
import sys
from typing import BinaryIO

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def open_file(file: str) -> tuple[onnxruntime.InferenceSession, dict]:
    """Open an exported file; return what runs it, and what it says about itself."""
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        about = json.loads(session.get_modelmeta().custom_metadata_map["lightning_rcnn"])
    except Exception as error:  # onnxruntime raises anything on damaged files
        sys.exit(f"{file}: is not a file of `lightning-rcnn export`: {error!r}")
    if "proposals" in about["inputs"] or "pixels" in about["images"]:
        sys.exit(f"{file}: needs {about['inputs']} of {about['images']['layout']}; this program has RGB images only")
    if about["resize"]["method"] == "opencv":
        sys.exit(f"{file}: its images are resized by cv2.resize, which this program does not have")
    return session, about


def open_image(source: str | BinaryIO) -> Image.Image:
    """Open an image file as a viewer shows it; RGB."""
    image = ImageOps.exif_transpose(Image.open(source))
    if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would cut off at 255
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGB")


def resize(image: Image.Image, rule: dict) -> np.ndarray:
    """Resize by the rule of the file; [height, width, 3]."""
    shorter, longer = sorted(image.size)
    scale = min(rule["min_size"] / shorter, rule["max_size"] / longer)
    if rule["method"] == "bilinear":
        rows, columns = (bilinear(side, max(1, int(side * scale))) for side in reversed(image.size))
        return np.einsum("yh,hwc,xw->yxc", rows, np.asarray(image, np.float32), columns, optimize=True)
    scale = rule["min_size"] / shorter
    scale *= min(1, rule["max_size"] / (longer * scale))
    return np.asarray(image.resize([max(1, int(side * scale + 0.5)) for side in image.size], Image.Resampling.BILINEAR))


def bilinear(size: int, new_size: int) -> np.ndarray:
    """Weights of the old pixels along one side in the new ones, [new_size, size]."""
    position = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size))).astype(np.float32)


def pad(image: np.ndarray, divisor: int) -> np.ndarray:
    """Pad on the right and at the bottom, and put the channels first; [1, 3, height, width]."""
    height, width = (side + -side % divisor for side in image.shape[:2])
    padded = np.zeros((1, 3, height, width), image.dtype)
    padded[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return padded


def main(file: str, *images: str) -> None:
    """Print what is found in each image."""
    session, about = open_file(file)
    names = [output.name for output in session.get_outputs()]
    for path in images:
        try:
            image = open_image(path)
        except Exception as error:  # Pillow raises anything on damaged files
            sys.exit(f"{path}: cannot be read as an image: {error!r}")
        resized = resize(image, about["resize"])
        inputs = {
            "images": pad(resized, about["images"]["size_divisor"]),
            "image_sizes": np.array([resized.shape[:2]]),
            "original_sizes": np.array([image.size[::-1]]),
        }
        found = dict(zip(names, session.run(names, inputs), strict=True))
        print(path)
        for index in range(found["count"][0]):
            box, label, score = (found[name][0, index] for name in ("boxes", "labels", "scores"))
            corners = ", ".join(f"{value:.0f}" for value in box)
            print(f"  {about['class_names'][label - 1]} {score:.2f} at {corners}")


if __name__ == "__main__":
    main(*sys.argv[1:])
