"""Visualization: boxes, masks or keypoints with names and scores, ground truth beside detections, contact sheets."""

from lightning_rcnn.visualization.drawing import Objects, draw_objects
from lightning_rcnn.visualization.instances import label_map
from lightning_rcnn.visualization.palette import class_color
from lightning_rcnn.visualization.sheets import (
    compare,
    contact_sheet,
    save_image,
    side_by_side,
    titled_sheet,
)
from lightning_rcnn.visualization.skeletons import ShownKeypoints

__all__ = [
    "Objects",
    "ShownKeypoints",
    "class_color",
    "compare",
    "contact_sheet",
    "draw_objects",
    "label_map",
    "save_image",
    "side_by_side",
    "titled_sheet",
]
