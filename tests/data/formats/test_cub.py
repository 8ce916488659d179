"""Tables of CUB-200-2011, also as NABirds has them."""

CUB = {
    "images.txt": "1 001.Cat/a.jpg\n2 001.Cat/b.jpg\n3 002.Big dog/c.jpg\n",
    "bounding_boxes.txt": "1 5.0 6.0 10.0 20.0\n2 0.0 0.0 30.0 40.0\n3 10.0 10.0 20.0 30.0\n",
    "image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "classes.txt": "1 001.Cat\n2 002.Big dog\n3 003.Never seen\n",
    "train_test_split.txt": "1 1\n2 0\n3 1\n",
    "parts/parts.txt": "1 back\n",
}
IMAGES = ["images/001.Cat/a.jpg", "images/001.Cat/b.jpg", "images/002.Big dog/c.jpg"]


def test_cub(write_files, pack, recognized):
    root = write_files({f"CUB/{name}": text for name, text in CUB.items()}, [f"CUB/{image}" for image in IMAGES])
    packed = pack(root)
    assert packed.title == "found CUB-200-2011 (CUB/bounding_boxes.txt, 2 splits: train 2, test 1)"
    assert packed.splits["train"].objects == {
        f"CUB/{IMAGES[0]}": [("001.Cat", 5, 6, 15, 26)],
        f"CUB/{IMAGES[2]}": [("002.Big dog", 10, 10, 30, 40)],
    }
    assert packed.splits["test"].objects == {f"CUB/{IMAGES[1]}": [("001.Cat", 0, 0, 30, 40)]}
    assert packed.splits["test"].classes == ["001.Cat", "002.Big dog"], (
        "those of the tree that NABirds lists, too, are left out"
    )
    assert recognized(root) == ["cub"]


def test_bad_lines_of_cub_are_counted(write_files, pack_one):
    """An image has two boxes, one has none, one has no class, and one is not in the list."""
    texts = {name: CUB[name] for name in ("images.txt", "classes.txt")}
    texts["bounding_boxes.txt"] = "1 5 6 10 20\n1 5 6 10\n1 0 0 30 40\n\n3 10 10 20 30\n9 1 1 2 2\n"
    texts["image_class_labels.txt"] = "1 1\n2 1\n3 77\n"
    packed = pack_one(write_files(texts, IMAGES))
    assert packed.objects == {IMAGES[0]: [("001.Cat", 5, 6, 15, 26), ("001.Cat", 0, 0, 30, 40)], IMAGES[2]: []}
    assert packed.report["malformed_object"] == 1
    assert packed.report["image_without_annotation"] == 1
    assert packed.report["unknown_image"] == 1


def test_tables_that_cannot_be_are_refused(write_files, refusal):
    texts = CUB | {"images.txt": "1 001.Cat/a.jpg\n1 001.Cat/b.jpg\n"}
    assert "images.txt: line 2, '1 001.Cat/b.jpg': an id alone, or twice" in refusal(write_files(texts, IMAGES))
    assert "no line is of an image" in refusal(write_files(CUB | {"images.txt": "7 001.Cat/a.jpg\n"}, IMAGES))
