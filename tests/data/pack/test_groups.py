import pytest

from lightning_rcnn.data.pack.groups import group_names
from lightning_rcnn.errors import InputError


def groups(names, group_by=None, columns=None, class_names=()):
    return group_names(names, columns or [""] * len(names), group_by, class_names)[1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["scan07_0012.png", "scan07_0013.png", "scan08_0001.png"], [0, 0, 1]),
        (["IMG_0001.jpg", "IMG_0002.jpg", "IMG_0003.jpg"], [0, 1, 2]),
        (["film_a_1.jpg", "film_a_2.jpg", "film_b_1.jpg"], [0, 0, 1]),
        (["images/p1/1.jpg", "images/p1/2.jpg", "images/p2/1.jpg"], [0, 0, 1]),
        (["p1\\1.jpg", "p1/2.jpg", "p2/1.jpg"], [0, 0, 1]),
        (["000001.jpg", "000002.jpg", "a.b.jpg"], [0, 1, 2]),
        # copies of one photo, as Roboflow names them
        (["IMG_1_jpg.rf.3fa.jpg", "IMG_1_jpg.rf.77b.jpg", "IMG_2_jpg.rf.9c1.jpg"], [0, 0, 1]),
        (["cafe\u0301_1.jpg", "caf\u00e9_2.jpg", "tee_1.jpg"], [0, 0, 1]),
    ],
)
def test_beginnings_of_names(names, expected):
    found = groups(names)
    assert [list(dict.fromkeys(found)).index(group) for group in found] == expected


def test_a_class_in_the_name_is_no_group():
    names = ["cat_1.jpg", "cat_2.jpg", "traffic_light_1.jpg", "traffic_light_2.jpg", "film_1.jpg", "film_2.jpg"]
    found = groups(names, class_names=["Cat", "traffic light"])
    assert len(set(found[:4])) == 4
    assert found[4] == found[5]


def test_other_ways_to_group():
    names = ["a/x_1.jpg", "a/y_1.jpg", "b/x_2.jpg"]
    assert groups(names, "folder") == ["a", "a", "b"]
    assert groups(names, "none") == names
    assert groups(names, r"(\w)_\d") == ["x", "y", "x"]
    assert groups(names, r"[xy]_") == ["x_", "y_", "x_"]
    by_column = groups(names, None, ["Ann", "", "Ann"])
    assert by_column[0] == by_column[2] != by_column[1]


@pytest.mark.parametrize(
    ("group_by", "words"),
    [
        ("column", "the annotations state no groups"),
        ("(", "nor a regular expression"),
        ("z", "does not fit the name a/x_1.jpg"),
    ],
)
def test_groups_that_are_not_there_are_refused(group_by, words):
    with pytest.raises(InputError, match=words):
        groups(["a/x_1.jpg"], group_by)
