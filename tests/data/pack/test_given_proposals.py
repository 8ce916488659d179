import json

import numpy as np
import pytest

from lightning_rcnn.data.pack.given_proposals import GivenProposals
from lightning_rcnn.data.reader import RawSample
from lightning_rcnn.data.shards import read_shards
from lightning_rcnn.errors import InputError

GOOD = {"image_id": 1001, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.fixture
def index(make_set, tmp_path):
    return read_shards(str(make_set(tmp_path / "set", (3,)))).index  # image ids 1000 to 1002


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "boxes.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def of_image(given, image_id):
    return given(RawSample(b"", {"image_id": image_id}, ""))


def test_the_best_boxes_of_each_image_in_order(index, write):
    scores = [0.1, 0.9, 0.5, 0.9]
    entries = [{"image_id": 1000, "bbox": [k, 0, 2, 3], "score": score} for k, score in enumerate(scores)]
    given = GivenProposals(write([*entries, {**GOOD, "category_id": 3}]), index, limit=3)
    expected = np.array([[1, 0, 3, 3, 0.9], [3, 0, 5, 3, 0.9], [2, 0, 4, 3, 0.5]], np.float32)
    assert np.array_equal(of_image(given, 1000), expected)
    assert of_image(given, 1001).tolist() == [[1, 2, 4, 6, 0.5]]
    assert of_image(given, 1002).shape == (0, 5)


def test_other_contents_are_another_method(index, write):
    first = GivenProposals(write([GOOD]), index, 10).method
    assert first.startswith("boxes of boxes.json (")
    assert GivenProposals(write([]), index, 10).method != first


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "malformed JSON"),
        ({}, "a list of boxes"),
        ([GOOD, {**GOOD, "image_id": 7}], "box 1 has the image id 7, which set does not have.*of this data set"),
        ([{"image_id": 1001, "bbox": [1, 2, 3, 4]}], "box 0 lacks.*score"),
        ([{**GOOD, "bbox": [1, 2, 3]}], "box 0 lacks"),
        ([{**GOOD, "bbox": None}], "box 0 lacks"),
        ([{**GOOD, "bbox": [1, 2, 0, 4]}], "box 0: .* is empty or not finite"),
        ([{**GOOD, "bbox": [1, 2, 3, float("inf")]}], "box 0: .* is empty or not finite"),
        ([{**GOOD, "score": float("nan")}], "box 0: .* is empty or not finite"),
        ([[1, 2]], "box 0 lacks"),
        ([{**GOOD, "image_id": [1001]}], "box 0 lacks"),
        ([{**GOOD, "bbox": [1, 2, "three", 4]}], "box 0 lacks"),
        ([{**GOOD, "bbox": [10**400, 2, 3, 4]}], "box 0: .* is empty or not finite"),
        (
            [{**GOOD, "bbox": [1, 2, 1e39, 4]}],
            "box 0: .* is empty or not finite",
        ),  # infinite in float32
        ([{**GOOD, "score": 1e39}], "box 0: .* is empty or not finite"),
    ],
)
def test_what_is_no_file_of_boxes_is_one_line(index, write, content, words):
    with pytest.raises(InputError, match=words) as caught:
        GivenProposals(write(content), index, 10)
    assert "boxes.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(index, tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        GivenProposals(tmp_path / "none.json", index, 10)
