import pytest

from lightning_rcnn.cli import main
from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.lines import read_lines
from lightning_rcnn.data.pack.any_format import found_data
from lightning_rcnn.errors import InputError

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)


def test_widerface(write_files, pack):
    first, second = "5 6 10 20 0 0 0 0 0 0 ", "10 10 20 30 2 0 0 1 2 0 "
    text = f"0--Parade/a.jpg\n2\n{first}\n{second}\n0--Parade/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
    texts = {f"wider_face_split/wider_face_{split}_bbx_gt.txt": text for split in ("train", "val")}
    texts["wider_face_split/readme.txt"] = "Attached the mappings between attribute names and label values."
    images = [f"WIDER_{split}/images/0--Parade/{name}.jpg" for split in ("train", "val") for name in "ab"]
    packed = pack(write_files(texts, images), strict=True)
    assert packed.title.startswith("found WIDER FACE (")
    val = packed.splits["val"]
    assert val.objects == {images[2]: [("face", *CAT[1:]), ("face", *DOG[1:])], images[3]: []}
    assert [each["difficult"] for each in val.records[images[2]]["annotations"]] == [0, 1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.jpg\n2\n5 6 10 20\nb.jpg\n1\n5 6 10 20\n", 5),
        ("a.jpg\n1\n5 6 10 20\n5 6 10 20\nb.jpg\n1\n5 6 10 20\n", 4),
        ("a.jpg\n1\n5 6 10 20\nb.jpg\n", 4),
        ("a.jpg\n1\n5 6 10 20\nb.jpg\n2\n5 6 10 20\n", 4),
        ("a.jpg\n1\n5 6 10 20\nb.jpg\n-1\n", 4),
    ],
)
def test_a_number_of_lines_that_is_wrong_is_named(write_files, text, line):
    """What followed it was left out in silence."""
    root = write_files({"a.txt": text}, ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=rf"a\.txt, line {line}: '.*' is not followed by a number and so many lines"):
        read_lines(Layout(root), "image; count; x y w h")


def test_blank_lines_between_blocks_do_not_matter(write_files):
    root = write_files({"a.txt": "a.jpg\r\n1\r\n5 6 10 20\r\n\r\nb.jpg\r\n0\r\n\r\n"}, ["a.jpg", "b.jpg"])
    (split,) = read_lines(Layout(root), "image; count; x y w h").splits
    assert [(image.file_name, len(image.labels.objects)) for image in split.images] == [("a.jpg", 1), ("b.jpg", 0)]


def test_no_line_and_no_file_of_a_common_template_is_lost_in_silence(write_files, pack):
    """A line without its image, and a file of which no image is here."""
    root = write_files({"train.txt": "5 6 10 20 a.jpg\n5 6 10\n", "readme.txt": "Of cats and dogs"}, ["a.jpg"])

    def packed():
        return pack(root, found_data("lines", root, read_lines(Layout(root), "x y w h image")))

    assert packed().splits["train"].report == {"missing_image": 1}
    write_files({"val.txt": "5 6 10 20 lost.jpg\n"})
    with pytest.raises(InputError, match=r"set/val: no image is left to pack; .* \(first: lost\.jpg\)"):
        packed()


def test_deeppcb(write_files, pack):
    """The lists name images without their suffix; a template without defects is beside each image."""
    texts = {"trainval.txt": "g1/1/01.jpg g1/1_not/01.txt\n", "test.txt": "g1/1/02.jpg g1/1_not/02.txt\n"}
    texts |= {"g1/1_not/01.txt": "5 6 15 26 1\n10 10 30 40 6\n", "g1/1_not/02.txt": "5 6 15 26 3\n"}
    images = [f"g1/1/{number}_{kind}.jpg" for number in ("01", "02") for kind in ("test", "temp")]
    packed = pack(write_files(texts, images), strict=True)
    assert packed.title == "found DeepPCB (2 text files, 2 splits: trainval 1, test 1)"
    assert packed.splits["trainval"].objects == {"g1/1/01_test.jpg": [("open", *CAT[1:]), ("pin-hole", *DOG[1:])]}
    assert packed.splits["test"].objects == {"g1/1/02_test.jpg": [("mousebite", *CAT[1:])]}
    assert packed.splits["trainval"].classes == packed.splits["test"].classes


@pytest.mark.parametrize(
    ("template", "text", "options"),
    [
        ("x1 y1 x2 y2 class", "5 6 15 26 cat\n10 10 30 40 dog 0.9\n", []),
        ("class,x,y,w,h", "1, 5, 6, 10, 20\n2, 10, 10, 20, 30\n", ["--class_names", "1=cat,2=dog"]),
        ("image cx cy w h _ class", "a.jpg 10 16 10 20 x cat\na.jpg 20 25 20 30 x dog\n", []),
        ("image; count; x y w h class", "a.jpg\n2\n5 6 10 20 cat\n10 10 20 30 dog\n", []),
    ],
)
def test_templates(write_files, pack, monkeypatch, template, text, options):
    root = write_files({"a.txt": text, "readme.txt": "Boxes of cats and dogs."}, ["a.jpg"])
    seen = []
    monkeypatch.setattr("lightning_rcnn.cli.commands.packing.pack_found", lambda found, *_: seen.extend(found))
    assert main(["pack", "lines", str(root), "--template", template, *options]) == 0
    assert pack(root, seen[0]).splits[""].objects == {"a.jpg": [CAT, DOG]}


def test_bad_lines_and_templates(write_files, capsys, tmp_path):
    texts = {"a.txt": "5 6 15 26 1\n5 6 15 26\nx 6 15 26 1\n5 6 15 26 9\n", "lost.txt": "5 6 15 26 1\n"}
    root = write_files(texts, ["a.jpg"])
    command = ["pack", "lines", str(root), "--class_names", "1=cat", "--out", str(tmp_path / "out")]
    assert main([*command, "--template", "x1 y1 x2 y2 class"]) == 1
    error = capsys.readouterr().err
    assert (
        "malformed_object x 2 (first: a.jpg, a.txt, line 2: 4 columns where 5 are due)" in error
        or "1 of 2 images" in error
    )
    assert main([*command, "--template", "x1 y1 x2 y2 class", "--max_loss", "1"]) == 0
    output = capsys.readouterr().out
    assert "cat 1" in output
    assert "malformed_object" in output
    assert main([*command, "--template", "x1 y1 kind"]) == 1
    assert "--template 'x1 y1 kind': give the columns of a line" in capsys.readouterr().err
    assert main([*command, "--template", "image x y w h"]) == 1
    assert "no text file with lines as in the template" in capsys.readouterr().err


KITTI = "class _ _ _ x1 y1 x2 y2"
KITTI_FILES = {
    "training/label_2/000000.txt": "cat 0.00 0 -1.57 5.00 6.00 15.00 26.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n",
    "training/calib/000000.txt": "P0: 7.2e+02 0.0 6.1e+02 0.0 0.0 7.2e+02 1.7e+02 0.0 0.0 0.0 1.0 0.0\n",
    "testing/calib/000001.txt": "P0: 7.2e+02 0.0 6.1e+02 0.0 0.0 7.2e+02 1.7e+02 0.0 0.0 0.0 1.0 0.0\n",
}
KITTI_IMAGES = ["training/image_2/000000.png", "training/image_3/000000.png", "testing/image_2/000001.png"]


@pytest.mark.parametrize("folder", ["", "training", "training/label_2"])
@pytest.mark.parametrize("cameras", [1, 2])
def test_kitti_has_calibrations_beside_labels_and_two_cameras(write_files, read_set, tmp_path, capsys, folder, cameras):
    root = write_files(KITTI_FILES, KITTI_IMAGES if cameras == 2 else KITTI_IMAGES[::2])
    out = tmp_path / "out"
    assert main(["pack", "lines", str(root / folder), "--template", KITTI, "--out", str(out)]) == 0
    packed = read_set(out if folder else out / "train")
    assert packed.objects == {KITTI_IMAGES[0].removeprefix("" if not folder else "training/"): [CAT]}
    num_others = cameras - 1 + (folder == "")  # the right camera's image, and the one to test
    assert packed.report == ({"unlisted_file": num_others} if num_others else {})
    printed = capsys.readouterr().out
    assert ("the text files in calib are no annotations" in printed) == (folder != "training/label_2")


def test_labels_without_images_are_not_lost(write_files, capsys, tmp_path):
    texts = {f"labels/{name}.txt": "cat 5 6 15 26\n" for name in "ab"}
    root = write_files(texts)
    command = ["pack", "lines", str(root / "labels"), "--template", "class x1 y1 x2 y2", "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "labels: no images in it or beside it; give the folder that holds images and" in capsys.readouterr().err
    write_files({}, ["a.jpg"])
    assert main(command) == 1
    assert "1 of 2 images" in capsys.readouterr().err
