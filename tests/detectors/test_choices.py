from typing import Literal

import pytest

from lightning_rcnn.detectors.choices import check_choices
from lightning_rcnn.errors import InputError


class Parent:
    def __init__(self, order: Literal["rgb", "bgr"] = "rgb", size: int = 3) -> None:
        pass


class Child(Parent):
    def __init__(self, norm: Literal["batch", "group"] | None = None, **kwargs: object) -> None:
        pass


class Wider(Child):
    def __init__(self, order: Literal["rgb", "bgr"] | Literal["grey"] = "grey", **kwargs: object) -> None:
        pass


def test_a_childs_own_choice_rules():
    check_choices(Wider, {"order": "grey"})
    with pytest.raises(InputError, match="'BGR' is none of rgb, bgr, grey"):
        check_choices(Wider, {"order": "BGR"})


@pytest.mark.parametrize("given", [{}, {"order": "bgr", "size": 4}, {"norm": None}, {"norm": "group", "other": "word"}])
def test_known_words_pass(given):
    check_choices(Child, given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"order": "BGR"}, "model.order 'BGR' is none of rgb, bgr"),
        ({"norm": "layer"}, "model.norm 'layer' is none of batch, group"),
        ({"order": ["rgb"]}, r"model.order \['rgb'\] is none of rgb, bgr"),
    ],
)
def test_others_are_named(given, problem):
    with pytest.raises(InputError, match=problem):
        check_choices(Child, given)


@pytest.mark.parametrize("wrong", [{"channel_order": "BGR"}, {"anchor_rounding": "round"}, {"head_norm": "batch"}])
def test_detectors_check_theirs(make_detector, wrong):
    with pytest.raises(InputError, match=f"model.{next(iter(wrong))} .* is none of"):
        make_detector(**wrong)
