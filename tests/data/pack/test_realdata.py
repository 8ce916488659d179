"""The oddities of real data sets, against the facts that were counted when they were collected."""

from pathlib import Path

import pytest

from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.write import write_shards

DATA = Path(__file__).parents[4] / "shared" / "data"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data sets in {DATA}"),
]


@pytest.mark.parametrize(("split", "images", "objects"), [("train", 205, 2804), ("val", 87, 1137)])
def test_bccd_has_one_zero_area_box_in_train_and_val(tmp_path, split, images, objects):
    index = write_shards(voc_source(DATA / "bccd" / "BCCD", split), tmp_path / "set")
    assert len(index) == images
    assert sum(sum(shard.objects) for shard in index.shards) == objects
    assert [category.name for category in index.categories] == ["Platelets", "RBC", "WBC"]
    assert index.report == {"one_based_box": objects, "zero_area_box": 1}


def test_nuclei_are_rgba_with_all_their_masks(tmp_path):
    source = coco_source(DATA / "nuclei" / "images", DATA / "nuclei" / "instances_val.json")
    index = write_shards(source, tmp_path / "set")
    assert sum(sum(shard.objects) for shard in index.shards) == 4081
    assert index.has_masks
    assert index.report == {"unlisted_file": 381, "alpha_channel": 95}


@pytest.mark.parametrize(
    ("year", "objects", "oddities"),
    [
        ("train2017", 470, {"empty_image": 1, "crowd": 5, "crossed_polygon": 2}),
        ("val2017", 382, {"empty_image": 2, "crowd": 5, "crossed_polygon": 2, "thin_mask": 1}),
    ],
)
def test_tiny_coco_has_gaps_in_its_ids_and_crowds(tmp_path, read_packed, year, objects, oddities):
    folder = DATA / "tiny_coco"
    write_shards(coco_source(folder / year, folder / "annotations" / f"instances_{year}.json"), tmp_path / "set")
    index, samples = read_packed(tmp_path / "set")
    packed = [annotation for sample in samples for annotation in sample.record["annotations"]]
    assert len(packed) == objects
    assert any(annotation["iscrowd"] for annotation in packed)
    assert index.has_masks
    assert (len(index.categories), index.categories[-1].id) == (80, 90)
    assert index.report == {**oddities, "category_ids": 1}
