import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.cli.commands.bench_packing import pack
from lightning_rcnn.errors import InputError


@pytest.fixture
def photos(tmp_path):
    """Folder and JSON file of three JPEGs with a box each."""
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8)
    entries = []
    for number in (1, 2, 3):
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "JPEG")
        (tmp_path / "images" / f"{number}.jpg").write_bytes(data.getvalue())
        entries.append({"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48})
    boxes = [{"id": e["id"], "image_id": e["id"], "category_id": 1, "bbox": [1, 2, 10, 20]} for e in entries]
    content = {"images": entries, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "images", tmp_path / "boxes.json"


def test_all_write_the_same_number_of_images_and_leave_nothing(photos, tmp_path, capsys):
    out = tmp_path / "disk"
    out.mkdir()
    pack(*photos, out, number=7, repeats=2, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["images"] == 7
    runs = report["runs"]
    assert list(runs) == ["copied, headers read", "copied and checked", "packed, --check structure", "packed"]
    assert all(len(run["seconds"]) == 2 and min(run["seconds"]) > 0 for run in runs.values())
    assert os.listdir(out) == []
    assert "1.00" in capsys.readouterr().out


def test_a_missing_folder_and_a_damaged_image_are_named(photos, tmp_path):
    with pytest.raises(InputError, match=r"--out .*nowhere: no such folder"):
        pack(*photos, tmp_path / "nowhere")
    image = photos[0] / "2.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"000000000002\.jpg: not a sound JPEG"):
        pack(*photos, tmp_path, number=3, repeats=1)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "boxes.json"}
