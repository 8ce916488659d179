import pytest
import torch

from lightning_rcnn.structures import Detections, ImageRecord, Proposals


@pytest.fixture
def make_record():
    """An image of 200 x 200 with objects (x1, y1, x2, y2, label) and further keys for all of them."""

    def make(image_id, *objects, **keys):
        annotations = [
            {
                "id": number,
                "bbox": [x1, y1, x2, y2],
                "label": label,
                "iscrowd": 0,
                "difficult": 0,
                "area": (x2 - x1) * (y2 - y1),
                **keys,
            }
            for number, (x1, y1, x2, y2, label) in enumerate(objects)
        ]
        return ImageRecord(image_id, f"{image_id}.jpg", 200, 200, annotations)

    return make


@pytest.fixture
def make_detections():
    """Detections of several images, lists of (x1, y1, x2, y2, label, score), padded to one length."""

    def make(*images):
        longest = max(map(len, images), default=0) + 1
        rows = [[*image, *[(0, 0, 0, 0, -1, 0)] * (longest - len(image))] for image in images]
        table = torch.tensor(rows, dtype=torch.float32)
        return Detections(table[..., :4], table[..., 5], table[..., 4].long())

    return make


@pytest.fixture
def make_proposals():
    """Proposals of several images, lists of boxes, best first, padded to one length."""

    def make(*images):
        longest = max(map(len, images), default=0) + 1
        rows = [[*image, *[(0, 0, 200, 200)] * (longest - len(image))] for image in images]
        is_valid = torch.tensor([[place < len(image) for place in range(longest)] for image in images])
        return Proposals(torch.tensor(rows, dtype=torch.float32), torch.zeros(is_valid.shape), is_valid)

    return make
