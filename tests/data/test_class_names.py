import pytest
from torch.utils.data import Dataset

from lightning_rcnn.data.class_names import require_same_classes
from lightning_rcnn.data.index import Category
from lightning_rcnn.errors import InputError

DATA = [Category(1, "car", 3), Category(2, "traffic light", 10)]


@pytest.mark.parametrize(
    ("names", "ids", "line"),
    [
        (
            ["traffic light", "car", "bus"],
            None,
            "class_names has 3 entries, but set has 2 classes; pack it with --classes 'traffic light,car,bus'",
        ),
        (["car", "N/A", "bus"], None, "class_names has 3 entries, .*; convert --only_used_classes leaves out those"),
        (["car", *map(str, range(79))], None, r"; pack it with --classes car,.*,8,\.\.\. \(all 80\)$"),
        (None, [3], "category_ids has 1 entry, but set has 2 classes; leave them out, and those of the data count$"),
        (
            ["traffic light", "car"],
            None,
            "class_names: class 1 is 'traffic light' for the model, but 'car' in set; "
            "pack it with --classes 'traffic light,car'$",
        ),
        (["bus"], None, "set has 2 classes; it has none of the model's classes; leave model.class_names out"),
        (
            ["Car", "bus"],
            None,
            "class 1 is 'Car' for the model, but 'car' in set; it has none of the model's classes; leave "
            "model.class_names out to train for its own, or give its annotations the model's names and pack it again$",
        ),
        (
            None,
            [3, 7],
            "category_ids: class 2 has the id 7 for the model, but 10 in set; "
            r"set model.category_ids to those of the data, \[3, 10\]$",
        ),
    ],
)
def test_other_classes_are_refused_with_a_way_out(names, ids, line):
    with pytest.raises(InputError, match=line):
        require_same_classes(names, ids, DATA, "set")


def test_a_torch_data_set_is_not_to_be_packed():
    class Photos(Dataset):
        pass

    expected = (
        "class 1 is 'traffic light' for the model, but 'car' in Photos; give its `classes` these names, or leave "
        "model.class_names out: 'traffic light,car'$"
    )
    with pytest.raises(InputError, match=expected):
        require_same_classes(["traffic light", "car"], None, DATA, Photos())


def test_the_same_classes_or_none_are_taken():
    require_same_classes(["car", "traffic light"], [3, 10], DATA, "set")
    require_same_classes(None, None, DATA, "set")
