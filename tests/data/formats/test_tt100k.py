"""Tsinghua-Tencent 100K's JSON, as its tutorial shows it."""

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def sign(category, left, top, right, bottom, **more):
    return {"category": category, "bbox": {"xmin": left, "ymin": top, "xmax": right, "ymax": bottom}} | more


def tt100k(**objects):
    listed = {name: {"path": f"train/{name}.jpg", "id": name, "objects": each} for name, each in objects.items()}
    return {"types": ["p5", "i1", "w13"], "imgs": listed}


def test_tt100k(write_files, pack):
    content = tt100k(a=[sign("i1", *CAT[1:]), sign("p5", *DOG[1:], polygon=[[10, 10], [30, 10], [30, 40]])], b=[])
    content["imgs"]["c"] = {"path": "other/c.jpg", "id": "c", "objects": []}
    packed = pack(
        write_files({"data/annotations.json": content}, ["data/train/a.jpg", "data/train/b.jpg", "data/other/c.jpg"])
    )
    assert packed.title == (
        "found TT100K (data/annotations.json, 2 splits: train 2, other 1); outlines of signs, left out"
    )
    train = packed.splits["train"]
    assert train.objects == {"data/train/a.jpg": [("i1", *CAT[1:]), ("p5", *DOG[1:])], "data/train/b.jpg": []}
    assert train.classes == ["p5", "i1", "w13"], "the order of the file"


def test_bad_entries_of_tt100k_are_counted(write_files, pack):
    bad = [sign("pl80", 1, 2, 3, 4), {"category": "i1"}, sign("i1", 1, 2, None, 4), 3, sign("i1", 9, 9, 3, 4)]
    content = tt100k(a=[sign("i1", *CAT[1:]), *bad], lost=[])
    content["imgs"] |= {"x": {"objects": []}, "y": 3}
    packed = pack(write_files({"annotations.json": content}, ["train/a.jpg"])).splits["train"]
    assert packed.objects == {"train/a.jpg": [("i1", *CAT[1:])]}
    assert packed.report == {
        "unknown_class": 1,
        "malformed_object": 3,
        "inverted_box": 1,
        "missing_image": 1,
        "invalid_image_entry": 2,
    }


def test_it_is_taken_for_itself_alone(write_files, recognized):
    assert recognized(write_files({"annotations.json": tt100k(a=[sign("i1", *CAT[1:])])}, ["train/a.jpg"])) == [
        "tt100k"
    ]
