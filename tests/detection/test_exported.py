"""What is no exported file of ours is refused in one line; that ours work is tested where they are written."""

import json

import numpy as np
import pytest

from lightning_rcnn.detection.exported import ExportedDetector
from lightning_rcnn.errors import InputError


def test_files_of_another_origin_are_refused(tmp_path, capfd):
    helper = pytest.importorskip("onnx").helper
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", values[:1], values[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    about = model.metadata_props.add()
    about.key = "lightning_rcnn"
    sound = {
        "inputs": [],
        "class_names": ["cat"],
        "category_ids": [1],
        "mask_paste": None,
        "suppression": {"iou": 0.5, "across_classes": False},
        "images": {"size_divisor": 32},
        "resize": {"method": "antialiased", "min_size": 8, "max_size": 8},
    }
    of_a_later_version = json.dumps(sound | {"resize": sound["resize"] | {"method": "lanczos"}})
    other_classes = json.dumps(sound | {"category_ids": [1, 2]})
    about.value = json.dumps(sound)
    (tmp_path / "sound.onnx").write_bytes(model.SerializeToString())
    assert ExportedDetector(tmp_path / "sound.onnx").class_names == ["cat"]
    damaged = ["no json", "[]", "3", "{}", '{"inputs": []}', of_a_later_version, other_classes]
    for number, about.value in enumerate(damaged):
        (tmp_path / f"damaged{number}.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    np.savez(tmp_path / "array.npz", a=np.zeros(3))
    (tmp_path / "array.npz").rename(tmp_path / "array.pt2")
    for name, line in (
        ("other.onnx", "is not a file of `lightning-rcnn export`"),
        *((f"damaged{number}.onnx", "its description of classes and preprocessing is damaged") for number in range(7)),
        ("broken.onnx", r"cannot be opened as \.onnx \("),
        ("array.pt2", r"cannot be opened as \.pt2 \("),
        ("none.onnx", "no such file"),
    ):
        with pytest.raises(InputError, match=rf"{name}: {line}") as caught:
            ExportedDetector(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert not "".join(capfd.readouterr())
