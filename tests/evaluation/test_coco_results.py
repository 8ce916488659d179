import json

import pytest
import torch
from pycocotools import mask as coco_mask

from lightning_rcnn.evaluation.coco_results import coco_results, write_json
from lightning_rcnn.masks.paste import paste_densely
from lightning_rcnn.structures import Detections, ImageRecord

RECORD = ImageRecord(7, "a.jpg", height=70, width=80)


@pytest.fixture
def detections():
    """Two in the second of two images, and one slot of padding."""
    boxes = torch.tensor([[10.0, 20.0, 40.5, 60.25], [0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    scores, labels = torch.tensor([0.9, 0.25, 0.0]), torch.tensor([2, 1, -1])
    return Detections(*(torch.stack([torch.zeros_like(values), values]) for values in (boxes, scores, labels)))


def test_entries_are_as_coco_wants_them(detections):
    assert coco_results(detections, 1, RECORD, [18, 90], "exact") == [
        {"image_id": 7, "category_id": 90, "bbox": [10.0, 20.0, 30.5, 40.25], "score": 0.9},
        {"image_id": 7, "category_id": 18, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.25},
    ]
    assert coco_results(detections, 0, RECORD, [18, 90], "exact") == []


@pytest.mark.parametrize("rule", ["exact", "integer"])
def test_masks_are_run_lengths_of_the_whole_image(detections, rule):
    probabilities = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    entries = coco_results(detections._replace(masks=probabilities), 1, RECORD, [18, 90], rule)
    expected = paste_densely(probabilities[1, :2], detections.boxes[1, :2], 70, 80, rule)
    assert len(entries) == 2
    for entry, pixels in zip(json.loads(json.dumps(entries)), expected, strict=True):
        assert (coco_mask.decode(entry["segmentation"]) == pixels.numpy()).all()
        assert entry["bbox"][2:] in ([30.5, 40.25], [5.0, 5.0])


def test_a_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_json(path, [{"a": 1}])
    assert json.loads(path.read_text()) == [{"a": 1}]
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [{"a": 1}]
    assert list(path.parent.iterdir()) == [path]
