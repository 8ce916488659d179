"""The classes of COCO: 80 of them, with ids from 1 to 90 of which ten were never used."""

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

UNUSED = "N/A"
"""How torchvision calls an id without a class."""

NAMES_BY_ID: tuple[str, ...] = tuple(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""The name of each id; 0 is the background."""

ALL_IDS = list(range(1, len(NAMES_BY_ID)))
USED_IDS = [category_id for category_id in ALL_IDS if NAMES_BY_ID[category_id] != UNUSED]


def names_of(ids: list[int]) -> list[str]:
    """Names of category ids."""
    return [NAMES_BY_ID[category_id] for category_id in ids]
