import random
from collections import Counter, defaultdict
from fractions import Fraction

import pytest

from lightning_rcnn.data.pack.division import MAX_DEVIATION, divide, is_shares, read_shares
from lightning_rcnn.errors import InputError

SHARES = [Fraction(8, 10), Fraction(1, 10), Fraction(1, 10)]


@pytest.mark.parametrize("text", ["0.8,0.1,0.1", " .7, .3", "0.1,0.2,0.7", "1/3,1/3,1/3"])
def test_shares(text):
    assert is_shares(text)
    assert sum(read_shares(text)) == 1


@pytest.mark.parametrize(
    "text", ["0.8,0.3", "80,10,10", "1.0", "0.9,0.1,0", "1.1,-0.1", "0.25,0.25,0.25,0.25", "a,b", "1/0,1"]
)
def test_other_shares_are_refused(text):
    with pytest.raises(InputError, match="--split") as caught:
        read_shares(text)
    assert "\n" not in str(caught.value)


def test_names_of_splits_are_no_shares():
    assert not any(map(is_shares, ["train", "2007", "val2", "a,b"]))


def random_set(rng):
    names = [f"g{group}" for group in range(rng.randint(12, 60)) for _ in range(rng.randint(1, 4))]
    return names, [set(rng.choices("abcd", [8, 4, 2, 1], k=rng.randint(0, 3))) for _ in names]


@pytest.mark.parametrize("number", range(30))
def test_groups_stay_whole_in_any_order_of_the_images(number):
    rng = random.Random(number)
    groups, classes = random_set(rng)
    splits = divide(groups, classes, SHARES, seed=number)
    by_group = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        by_group[group].add(split)
    assert all(len(listed) == 1 for listed in by_group.values())
    counts = Counter(splits)
    assert all(abs(counts[split] / len(groups) - share) <= MAX_DEVIATION for split, share in enumerate(SHARES))
    assert all(counts[split] for split in range(3))
    order = list(range(len(groups)))
    rng.shuffle(order)
    shuffled = divide([groups[index] for index in order], [classes[index] for index in order], SHARES, seed=number)
    assert shuffled == [splits[index] for index in order]


def test_single_images_give_exact_sizes_and_spread_classes():
    names = [f"{number}.jpg" for number in range(200)]
    classes = [{"rare"} if number < 20 else {"often"} if number < 180 else set() for number in range(200)]
    splits = divide(names, classes, SHARES, seed=0)
    assert Counter(splits) == {0: 160, 1: 20, 2: 20}
    assert Counter(splits[:20]) == {0: 16, 1: 2, 2: 2}
    assert Counter(splits[20:180]) == {0: 128, 1: 16, 2: 16}
    assert divide(names, classes, SHARES, seed=1) != splits


def test_the_division_is_the_same_on_any_machine():
    """Pinned: it must never change, or a model would be scored on images that it was trained with."""
    names = [f"{number}.jpg" for number in range(20)]
    splits = divide(names, [{"cat"} if number % 3 else {"dog"} for number in range(20)], SHARES, seed=7)
    assert "".join(map(str, splits)) == "00001020200010000000"


def test_small_sets():
    assert sorted(divide(["a", "b", "c"], [set()] * 3, SHARES, seed=0)) == [0, 1, 2]
    with pytest.raises(InputError, match="2 images in 2 groups are too few for 3 splits"):
        divide(["a", "b"], [set()] * 2, SHARES, seed=0)
    with pytest.raises(InputError, match="6 images in 2 groups are too few for 3 splits"):
        divide(["a", "b"] * 3, [set()] * 6, SHARES, seed=0)


def test_groups_that_do_not_allow_the_shares_are_refused():
    groups = ["large"] * 50 + ["other"] * 45 + ["small"] * 5
    with pytest.raises(InputError, match=r"train would have 50% of the images instead of 80%.* 3 groups .*large, 50"):
        divide(groups, [set()] * 100, SHARES, seed=0)
