"""Objects in image files: python examples/inference.py CHECKPOINT IMAGE...

The checkpoint is ours, torchvision's or detectron2's, or a name of torchvision's such as maskrcnn_resnet50_fpn_v2.
"""

import sys

import lightning_rcnn


def main(checkpoint: str, *images: str) -> None:
    """Print what is found in each image."""
    model = lightning_rcnn.load(checkpoint)
    for image, detections in zip(images, model.detect(list(images), threshold=0.5), strict=True):
        print(image)
        for box, label, score in zip(detections["boxes"], detections["labels"], detections["scores"], strict=True):
            corners = ", ".join(f"{value:.0f}" for value in box.tolist())
            print(f"  {model.class_names[label - 1]} {score:.2f} at {corners}")


if __name__ == "__main__":
    main(*sys.argv[1:])
