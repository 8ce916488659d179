import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lightning_rcnn.data.pack.shapes import (
    CLASS_NAMES,
    MAX_OBJECTS,
    MAX_SIDE,
    MIN_SIDE,
    generate_scene,
    read_scene,
    shapes_source,
)
from lightning_rcnn.errors import InputError

SCENES = 60


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(3, index) for index in range(SCENES)]


def test_sizes_vary_in_both_orientations(scenes):
    sizes = np.array([scene.image.shape[:2] for scene in scenes])
    assert sizes.min() >= MIN_SIDE
    assert sizes.max() <= MAX_SIDE
    assert 0.2 < (sizes[:, 0] > sizes[:, 1]).mean() < 0.8
    assert all(scene.image.dtype == np.uint8 and scene.image.shape[2] == 3 for scene in scenes)


def test_boxes_are_tight_around_masks_that_exclude_each_other(scenes):
    for scene in scenes:
        assert len(scene.boxes) == len(scene.labels) == len(scene.masks) <= MAX_OBJECTS
        assert scene.masks.sum(axis=0).max(initial=0) <= 1
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            x, y, width, height = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))
            assert box.tolist() == [x, y, x + width, y + height]


def test_all_classes_overlaps_and_empty_scenes_occur(scenes):
    labels = np.concatenate([scene.labels for scene in scenes])
    assert set(labels) == set(range(1, len(CLASS_NAMES) + 1))
    assert any(len(scene.labels) == 0 for scene in scenes)

    def overlap(first, second):
        corners = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
        return corners.min() > 0

    pairs = [
        overlap(scene.boxes[i], scene.boxes[j]) for scene in scenes for i in range(len(scene.boxes)) for j in range(i)
    ]
    assert sum(pairs) > SCENES / 4


def test_objects_stand_out_from_what_surrounds_them(scenes):
    """Within its box, an object's mean color differs from the rest."""
    distances = []
    for scene in scenes:
        for box, mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            window = np.s_[box[1] : box[3], box[0] : box[2]]
            inside = mask[window]
            if 20 < inside.sum() < inside.size - 20:
                pixels = scene.image[window].astype(float)
                distances.append(np.linalg.norm(pixels[inside].mean(axis=0) - pixels[~inside].mean(axis=0)))
    assert np.median(distances) > 70


def test_scene_depends_on_seed_and_index_alone(scenes):
    again = generate_scene(3, 5)
    assert all(np.array_equal(first, second) for first, second in zip(again, scenes[5], strict=True))
    assert not np.array_equal(generate_scene(4, 5).image.shape, scenes[5].image.shape)


def test_sample_holds_the_scene(scenes):
    sample, findings, num_objects = read_scene(5, seed=3)
    assert num_objects == len(sample.record["annotations"])
    record = sample.record
    assert findings == []
    assert (record["height"], record["width"]) == scenes[5].image.shape[:2]
    assert [annotation["bbox"] for annotation in record["annotations"]] == scenes[5].boxes.tolist()
    for annotation, mask in zip(record["annotations"], scenes[5].masks, strict=True):
        rle = annotation["segmentation"]
        assert np.array_equal(coco_mask.decode({**rle, "counts": rle["counts"].encode()}), mask)
        assert annotation["area"] == mask.sum()


@pytest.mark.parametrize(("num", "seed"), [(0, 0), (-1, 0), (5, -1)])
def test_impossible_sets_are_refused(num, seed):
    with pytest.raises(InputError, match=f"num {num}, seed {seed}"):
        shapes_source(num, seed)


def test_keypoints_are_packed_on_request_and_change_nothing_else():
    plain, with_keypoints = read_scene(5, seed=3), read_scene(5, seed=3, keypoints=True)
    assert plain.sample.image == with_keypoints.sample.image
    given = [each.pop("keypoints", None) for each in with_keypoints.sample.record["annotations"]]
    assert any(given)
    assert with_keypoints.sample.record == plain.sample.record
    assert shapes_source(1).skeleton is None
    assert shapes_source(1, keypoints=True).skeleton is not None
