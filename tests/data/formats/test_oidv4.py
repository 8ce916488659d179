"""Folders of OIDv4 ToolKit, which downloads classes of Open Images."""

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def test_oidv4(write_files, pack):
    """A class is called Train, another one has a space, and an image is in the folders of two classes."""
    texts = {
        "train/Polar bear/Label/0a.txt": "Polar bear 5.0 6.0 15.0 26.0\nPolar bear 10.0 10.0 30.0 40.0\n",
        "validation/Train/Label/0b.txt": "Train 5.0 6.0 15.0 26.0\n",
        "validation/Apple/Label/0b.txt": "Apple 10.0 10.0 30.0 40.0\n",
    }
    images = ["train/Polar bear/0a.jpg", "validation/Train/0b.jpg", "validation/Apple/0b.jpg"]
    packed = pack(
        write_files(
            {f"OID/Dataset/{key}": text for key, text in texts.items()}, [f"OID/Dataset/{each}" for each in images]
        )
    )
    assert packed.title == (
        "found OIDv4 ToolKit (3 label files, 2 splits: train 1, val 1); "
        "1 image in the folders of several classes, joined"
    )
    bears = [("Polar bear", *CAT[1:]), ("Polar bear", *DOG[1:])]
    assert packed.splits["train"].objects == {f"OID/Dataset/{images[0]}": bears}
    assert packed.splits["val"].objects == {f"OID/Dataset/{images[2]}": [("Apple", *DOG[1:]), ("Train", *CAT[1:])]}


def test_bad_lines_of_oidv4_are_counted(write_files, pack_one):
    text = "Apple 5.0 6.0 15.0 26.0\nApple 1 2 3\n1 2 3 4\nApple 1 2 x 4\nApple 90 90 99 99\n"
    root = write_files({"Apple/Label/a.txt": text, "Apple/Label/lost.txt": text}, ["Apple/a.jpg", "Apple/more.jpg"])
    packed = pack_one(root)
    assert packed.objects == {"Apple/a.jpg": [("Apple", *CAT[1:])]}
    assert packed.report == {"malformed_object": 3, "box_outside": 1, "missing_image": 1, "unlisted_file": 1}


def test_it_is_taken_for_itself_alone(write_files, recognized):
    assert recognized(write_files({"Apple/Label/a.txt": "Apple 5 6 15 26\n"}, ["Apple/a.jpg"])) == ["oidv4"]
