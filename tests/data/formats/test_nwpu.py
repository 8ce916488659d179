"""NWPU VHR-10, in the form in which it is published."""

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def test_nwpu(write_files, pack):
    """Images without objects have the names of those with objects."""
    texts = {"ground truth/001.txt": "(5,6),(15,26),1\n( 10,10),(30,40),10 \n\n", "readme.txt": "NWPU VHR-10\n"}
    images = ["positive image set/001.jpg", "negative image set/001.jpg"]
    packed = pack(write_files(texts, images), max_loss=0, strict=True)
    assert packed.title == "found NWPU VHR-10 (1 text file, 2 images); 1 image without objects"
    one = packed.splits[""]
    assert one.objects == {images[0]: [("airplane", *CAT[1:]), ("vehicle", *DOG[1:])], images[1]: []}
    assert len(one.classes) == 10


def test_bad_lines_of_nwpu_are_counted(write_files, pack_one):
    text = "(5,6),(15,26),1\n(5,6),(15,26),11\n(5,6),(15,26),0\n(5,6),(15,26)\n(5,x),(15,26),1\n(90,6),(99,26),1\n"
    packed = pack_one(write_files({"gt/a.txt": text, "gt/lost.txt": text}, ["a.jpg", "b.jpg"]))
    assert packed.objects == {"a.jpg": [("airplane", *CAT[1:])]}
    report = {"unknown_class": 2, "malformed_object": 2, "box_outside": 1, "missing_image": 1, "unlisted_file": 1}
    assert packed.report == report


def test_it_is_taken_for_itself_alone(write_files, recognized):
    assert recognized(write_files({"ground truth/001.txt": "(5,6),(15,26),1\n"}, ["positive image set/001.jpg"])) == [
        "nwpu"
    ]
