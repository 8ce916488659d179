CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)
CORNERS = [[10, 10], [30, 10], [30, 40], [10, 40]]
"""Of DOG."""


def frame(name, *labels, **further):
    return {"name": name, "labels": list(labels), **further}


def label(category, edges=None, **further):
    """Scalabel's boxes include their last pixel."""
    last = edges and (*edges[:2], edges[2] - 1, edges[3] - 1)
    box = {} if edges is None else {"box2d": dict(zip(("x1", "y1", "x2", "y2"), last, strict=True))}
    return {"id": "0", "category": category, **box, **further}


def test_bdd100k(write_files, pack):
    """Lanes and drivable areas lie beside the boxes of 2018; in the files of 2020 an image may have no labels."""
    lane = label("lane/road curb", poly2d=[{"vertices": CORNERS, "types": "LLCC", "closed": False}])
    group = label("dog", DOG[1:], attributes={"crowd": True})
    texts = {
        "labels/det_20/det_train.json": [{"name": "0.jpg"}, frame("a.jpg", label(*[CAT[0], CAT[1:]]), lane, group)],
        "labels/det_20/det_val.json": {"frames": [frame("a.jpg", label("dog", DOG[1:]))], "config": None},
    }
    images = [f"images/100k/{name}.jpg" for name in ("train/0", "train/a", "val/a")]
    packed = pack(write_files(texts, images), max_loss=0)
    train = packed.splits["train"]
    assert train.objects == {images[0]: [], images[1]: [CAT, DOG]}
    assert [each["iscrowd"] for each in train.records[images[1]]["annotations"]] == [0, 1]
    assert train.report == {"empty_image": 1, "no_class": 1, "crowd": 1}
    assert packed.splits["val"].objects == {images[2]: [DOG]}


def test_instances_of_bdd100k(write_files, pack_one):
    polygon = {"vertices": CORNERS, "types": "LLLL", "closed": True}
    curve = polygon | {"types": "LCCL"}
    content = [frame("a.jpg", label("dog", poly2d=[polygon]), label("cat", poly2d=[curve]))]
    packed = pack_one(write_files({"ins_seg.json": content}, ["a.jpg"]))
    assert packed.has_masks
    assert packed.objects == {"a.jpg": [DOG]}
    assert packed.report == {"unsupported_shape": 1}
