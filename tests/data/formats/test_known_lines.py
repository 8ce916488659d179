"""Public data sets of text files, in the form in which they are published, packed by recognition."""

import pytest

from lightning_rcnn.errors import InputError

CAR = "Car 0.00 0 -1.57 5.00 6.00 15.00 26.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
PERSON = "Pedestrian 0.00 0 -1.57 10.00 10.00 30.00 40.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
NO_OBJECT = "DontCare -1 -1 -10 50.00 0.00 60.00 9.00 -1 -1 -1 -1000 -1000 -1000 -10\n"
TAO = "traffic_light 0 0 0 5.00 6.00 15.00 26.00 0 0 0 0 0 0 0\n"


def test_kitti(write_files, pack):
    """Regions that nobody annotated are no objects, and no loss; lists of splits count if all their images are here."""
    texts = {"training/label_2/000000.txt": CAR + PERSON + NO_OBJECT, "training/label_2/000001.txt": 9 * NO_OBJECT}
    texts |= {f"training/calib/00000{number}.txt": "P0: 7.2e+02 0 6.0e+02 0\n" for number in (0, 1)}
    images = [f"training/image_2/00000{number}.png" for number in (0, 1)]
    root = write_files(texts, images)
    packed = pack(root, max_loss=0, strict=True)
    assert packed.title == "found KITTI (2 text files, train 2 images); the text files in calib are no annotations"
    train = packed.splits["train"]
    assert train.objects == {images[0]: [("Car", 5, 6, 15, 26), ("Pedestrian", 10, 10, 30, 40)], images[1]: []}
    assert train.report == {"no_class": 10, "empty_image": 1}
    lists = {"ImageSets/train.txt": "000000\n", "ImageSets/val.txt": "000001\n", "ImageSets/test.txt": "007500\n"}
    divided = pack(write_files(lists), max_loss=0, strict=True)
    assert [list(split.objects) for split in divided.splits.values()] == [[images[0]], [images[1]]]
    overlapping = pack(write_files({"ImageSets/trainval.txt": "000000\n000001\n"}), max_loss=0, strict=True)
    assert list(overlapping.splits) == ["train"], "lists that contradict each other do not count"


def test_kittis_images_without_labels_have_the_names_of_others(write_files, pack):
    images = ["training/image_2/000000.png", "testing/image_2/000000.png", "testing/image_2/000001.png"]
    train = pack(write_files({"training/label_2/000000.txt": CAR}, images), max_loss=0, strict=True).splits["train"]
    assert train.objects == {images[0]: [("Car", 5, 6, 15, 26)]}
    assert train.report == {"unlisted_file": 2}


def test_tao_and_the_folder_of_labels_alone(write_files, pack_one):
    root = write_files({"labels/a.txt": TAO}, ["images/a.jpg"])
    assert pack_one(root, strict=True).objects == {"images/a.jpg": [("traffic_light", 5, 6, 15, 26)]}
    assert pack_one(root / "labels", strict=True).objects == {"images/a.jpg": [("traffic_light", 5, 6, 15, 26)]}


def test_visdrone(write_files, pack):
    text = "5,6,10,20,1,4,0,0\n10,10,20,30,1,1,0,0,\n50,0,10,9,0,0,0,0\n0,0,5,5,1,11,0,0\n"
    texts = {f"VisDrone2019-DET-{split}/annotations/a_{split}.txt": text for split in ("train", "val")}
    images = [f"VisDrone2019-DET-{split}/images/a_{split}.jpg" for split in ("train", "val")]
    packed = pack(write_files(texts, images), max_loss=0, strict=True)
    assert packed.title == "found VisDrone (2 text files, 2 splits: train 1, val 1)"
    assert packed.splits["val"].objects == {images[1]: [("car", 5, 6, 15, 26), ("pedestrian", 10, 10, 30, 40)]}
    assert packed.splits["val"].report == {"no_class": 2}
    assert packed.splits["val"].classes[:4] == ["pedestrian", "people", "bicycle", "car"]


def test_widerperson(write_files, pack):
    """The text files have the names of images with their suffix; the test set has none. A crowd is a group."""
    texts = {"train.txt": "000040\n", "val.txt": "000041\n", "test.txt": "000049\n"}
    texts |= {"Annotations/000040.jpg.txt": "3\n1 5 6 15 26\n5 10 10 30 40\n4 0 0 9 9\n"}
    texts |= {"Annotations/000041.jpg.txt": "1\n3 5 6 15 26\n"}
    packed = pack(write_files(texts, [f"Images/0000{number}.jpg" for number in (40, 41, 49)]), max_loss=0, strict=True)
    assert packed.title == "found WiderPerson (2 text files, 2 splits: train 1, val 1)"
    train = packed.splits["train"]
    assert train.objects == {"Images/000040.jpg": [("pedestrian", 5, 6, 15, 26), ("pedestrian", 10, 10, 30, 40)]}
    assert [each["iscrowd"] for each in train.records["Images/000040.jpg"]["annotations"]] == [0, 1]
    assert train.report["no_class"] == 1
    assert packed.splits["val"].objects == {"Images/000041.jpg": [("partially-visible person", 5, 6, 15, 26)]}


def test_piotrs_toolbox(write_files, pack_one):
    text = "% bbGt version=3\nBicycle 5 6 10 20 0 0 0 0 0 0 0\nBicycle 10 10 20 30 0 0 0 0 0 1 0\n"
    root = write_files({"Annno/Bicycle/2015_1.jpg.txt": text}, ["Images/Bicycle/2015_1.jpg"])
    packed = pack_one(root, strict=True)
    assert packed.objects == {"Images/Bicycle/2015_1.jpg": [("Bicycle", 5, 6, 15, 26), ("Bicycle", 10, 10, 30, 40)]}
    assert [each["difficult"] for each in packed.records["Images/Bicycle/2015_1.jpg"]["annotations"]] == [0, 1]


def test_mot(write_files, pack):
    """Pixels count from 1; what does not count is no object; a frame without persons is an image without objects."""
    text = "1,1,6,7,10,20,1,1,1\n1,2,11,11,20,30,1,3,0.5\n1,9,1,1,5,5,0,8,1\n2,1,6,7,10,20,1,1,1\n2,1,6\n"
    texts = {f"train/MOT17-{name}/gt/gt.txt": text for name in ("02", "04")}
    texts |= {f"train/MOT17-{name}/det/det.txt": "1,-1,1,1,9,9,0.9\n" for name in ("02", "04")}
    images = [f"train/MOT17-{name}/img1/00000{number}.jpg" for name in ("02", "04") for number in (1, 2, 3)]
    packed = pack(write_files(texts, [*images, "test/MOT17-01/img1/000001.jpg"]))
    assert packed.title == "found MOTChallenge (2 sequences, train 6 images)"
    train = packed.splits["train"]
    assert [train.objects[image] for image in images[:3]] == [
        [("pedestrian", 5, 6, 15, 26), ("car", 10, 10, 30, 40)],
        [("pedestrian", 5, 6, 15, 26)],
        [],
    ]
    assert train.report == {"empty_image": 2, "malformed_object": 2, "no_class": 2, "unlisted_file": 1}


def test_mot_as_cvat_exports_it(write_files, pack_one):
    """It counts frames in names and pixels from 0, and names the classes."""
    texts = {"gt/gt.txt": "1,1,5,6,10,20,1,2,1.0\n", "gt/labels.txt": "dog\ncat\n"}
    packed = pack_one(write_files(texts, ["img1/frame_000000.PNG"]), strict=True)
    assert packed.objects == {"img1/frame_000000.PNG": [("cat", 5, 6, 15, 26)]}


@pytest.mark.parametrize(
    "text",
    ["Car 1 2 3 4\n", "5,6,10,20,1,4,0\n", "3\n6 5 6 15 26\n", "1,1,5,6,10,20,1,1,0.9\n", "Car " + "x " * 14],
)
def test_lines_of_others_are_none_of_them(write_files, recognized, text):
    assert not recognized(write_files({"a.txt": text}, ["a.jpg"]))


def test_two_frames_of_one_number_in_mot_are_refused(write_files, refusal):
    root = write_files({"a/gt/gt.txt": "1,1,1,2,9,9,1,1,1\n"}, ["a/img1/000001.jpg", "a/img1/1.png"])
    assert "a/gt/gt.txt: a/img1/000001.jpg and a/img1/1.png are both frame 1 of the sequence; remove one" in refusal(
        root
    )


def test_a_line_of_mot_without_a_frame_is_not_lost_in_silence(write_files, pack):
    text = "1,1,6,7,10,20,1,1,1\nx,2,11,11,20,30,1,3,0.5\n\n"
    root = write_files({"train/A/gt/gt.txt": text}, ["train/A/img1/000001.jpg"])
    with pytest.raises(InputError, match=r"gt\.txt, line 2: 'x' is no number of a frame; correct or remove the line"):
        pack(root)
