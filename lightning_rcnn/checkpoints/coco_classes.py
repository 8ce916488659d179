"""The classes of COCO: 80 of them, with ids from 1 to 90 of which ten were never used."""

from typing import Any

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

UNUSED = "N/A"
"""torchvision's name of an id without a class."""

NAMES_BY_ID: tuple[str, ...] = tuple(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""Name of each id; 0 is the background."""

ALL_IDS = list(range(1, len(NAMES_BY_ID)))
USED_IDS = [category_id for category_id in ALL_IDS if NAMES_BY_ID[category_id] != UNUSED]


def class_hyperparameters(number: int, coco_ids: list[int]) -> dict[str, Any]:
    """Return names and ids of the classes of a detector with a known number of classes.

    Args:
        number: number of foreground classes; the classes are COCO's if it is that of `coco_ids`.
        coco_ids: category ids of the source's COCO detectors, in order.
    """
    if number == len(coco_ids):
        return {"class_names": [NAMES_BY_ID[category_id] for category_id in coco_ids], "category_ids": coco_ids}
    return {"class_names": [f"class {label}" for label in range(1, number + 1)], "category_ids": None}
