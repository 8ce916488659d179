"""Objects in image files with torch, torchvision and Pillow alone: python examples/pt2_inference.py FILE.pt2 IMAGE...

The file is one of `lightning-rcnn export`; it says itself how images are resized. Fast R-CNN would also take proposals.
"""

import json
import logging
import sys

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torchvision.transforms.functional import (
    pil_to_tensor,
)  # torchvision also has RoIAlign and NMS, which the file calls


def open_image(source: str) -> Image.Image:
    """Open an image file as a viewer shows it; RGB."""
    image = ImageOps.exif_transpose(Image.open(source))
    if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would cut off at 255
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGB")


def resize(picture: Image.Image, rule: dict) -> torch.Tensor:
    """Resize by the rule of the file; [3, height, width]."""
    image = pil_to_tensor(picture)
    height, width = image.shape[1:]
    if rule["method"] == "bilinear":
        scale = min(rule["min_size"] / min(height, width), rule["max_size"] / max(height, width))
        size = [max(1, int(side * scale)) for side in (height, width)]
        return F.interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    scale = rule["min_size"] / min(height, width)
    scale *= min(1, rule["max_size"] / (max(height, width) * scale))
    size = [max(1, int(side * scale + 0.5)) for side in (height, width)]
    if rule["method"] == "pillow":
        return pil_to_tensor(picture.resize(size[::-1], Image.Resampling.BILINEAR))
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def pad(image: torch.Tensor, divisor: int) -> torch.Tensor:
    """Pad on the right and at the bottom; [1, 3, height, width]."""
    height, width = (side + -side % divisor for side in image.shape[1:])
    return F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]))[None]


def open_file(file: str) -> tuple[torch.nn.Module, dict]:
    """Open an exported file; return what runs it, and what it says about itself."""
    extra = {"lightning_rcnn.json": ""}
    logging.getLogger("torch.export").setLevel(logging.CRITICAL)  # what is wrong with a file is raised
    try:
        detect = torch.export.load(file, extra_files=extra).module()
        about = json.loads(extra["lightning_rcnn.json"])
    except Exception as error:  # torch raises anything on damaged files
        sys.exit(f"{file}: is not a .pt2 file of `lightning-rcnn export`: {error!r}")
    if "proposals" in about["inputs"] or "pixels" in about["images"]:
        sys.exit(f"{file}: needs {about['inputs']} of {about['images']['layout']}; this program has RGB images only")
    if about["resize"]["method"] == "opencv":
        sys.exit(f"{file}: its images are resized by cv2.resize, which this program does not have")
    return detect, about


@torch.inference_mode()
def main(file: str, *images: str) -> None:
    """Print what is found in each image."""
    detect, about = open_file(file)
    for path in images:
        try:
            image = open_image(path)
        except Exception as error:  # Pillow raises anything on damaged files
            sys.exit(f"{path}: cannot be read as an image: {error!r}")
        resized = resize(image, about["resize"])
        padded = pad(resized, about["images"]["size_divisor"])
        found = detect(padded, torch.tensor([resized.shape[1:]]), torch.tensor([image.size[::-1]]))
        print(path)
        for index in range(int(found["count"])):
            box, label, score = (found[name][0, index].tolist() for name in ("boxes", "labels", "scores"))
            corners = ", ".join(f"{value:.0f}" for value in box)
            print(f"  {about['class_names'][label - 1]} {score:.2f} at {corners}")


if __name__ == "__main__":
    main(*sys.argv[1:])
