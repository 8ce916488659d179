import json

import pytest
import torch

from lightning_rcnn.metrics.coco_results import coco_results, write_json


def test_entries_are_as_coco_wants_them():
    boxes = torch.tensor([[10.0, 20.0, 40.5, 60.25], [0.0, 0.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    entries = coco_results(7, boxes, torch.tensor([2, 1, -1]), torch.tensor([0.9, 0.25, 0.0]), [18, 90])
    assert entries == [
        {"image_id": 7, "category_id": 90, "bbox": [10.0, 20.0, 30.5, 40.25], "score": 0.9},
        {"image_id": 7, "category_id": 18, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.25},
    ]


def test_a_file_appears_only_when_whole(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_json(path, [{"a": 1}])
    assert json.loads(path.read_text()) == [{"a": 1}]
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [{"a": 1}]
    assert list(path.parent.iterdir()) == [path]
