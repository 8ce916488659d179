"""What is said of data sets in formats that are not read: the file, and the way out."""

import numpy as np
import pytest

SETS = {
    "a table of other columns": (
        {"train.csv": "patientId,x,y,width,height,Target\na,5,6,10,20,1\n"},
        "train.csv has the columns patientId, x, y, width, height, Target; if a line is a box, name them",
    ),
    "unknown JSON": (
        {"x.json": {"types": ["cat"], "imgs": {"1": {"path": "a.jpg"}}}},
        "x.json is JSON with the keys types, imgs; export it as COCO JSON, or yield the samples",
    ),
    "DOTA": (
        {"labelTxt/a.txt": "imagesource:GoogleEarth\ngsd:0.14\n5.0 6.0 15.0 8.0 14.0 26.0 4.0 24.0 plane 0\n"},
        "labelTxt/a.txt has oriented boxes, as of DOTA",
    ),
    "TensorFlow's records": ({"x.record-00000-of-00010": "", "x.pbtxt": ""}, "00010 is TensorFlow's records; yield"),
    "Roboflow's records": ({"train/Animals.tfrecord": ""}, "train/Animals.tfrecord is TensorFlow's records; yield"),
    "Hugging Face's Arrow": ({"train/data-00000-of-00001.arrow": ""}, "00001.arrow is an Arrow table; yield"),
    "unknown XML": (
        {"a.xml": "<?xml version='1.0'?><film name='a'><frame num='1'/></film>"},
        "a.xml is XML with the root <film>; export it as COCO JSON, or yield",
    ),
    "PaliGemma": (
        {"_annotations.train.jsonl": '{"image": "a.jpg", "prefix": "detect cat", "suffix": "<loc0128> cat"}'},
        "_annotations.train.jsonl has prompts and answers, as PaliGemma; export it as COCO",
    ),
    "ADE20K's challenge": (
        {
            "annotations/training/a.png": np.full((48, 64), 3, np.uint8),
            "objectInfo150.txt": "Idx\tRatio\tTrain\tName\n1\t0.1576\t11664\t1172\twall\n",
        },
        "annotations/training/a.png seems to be a mask of classes, as for semantic segmentation, which does not",
    ),
    "lines of an image's text": (
        {"labels/a.txt": "cat dog 5 6 15 26\n"},
        "labels/a.txt has lines such as 'cat dog 5 6 15 26'; if a line is an object, say what is in it",
    ),
    "lines with names of images": (
        {"boxes.txt": "5 6 15 26 in images/a.jpg\n"},
        "boxes.txt has lines such as '5 6 15 26 in images/a.jpg'; if a line is an object, say what is in it",
    ),
    "no annotations": ({"README.txt": "1 2 3 4 are photos of 2024."}, "known are YOLO, Pascal VOC, COCO, LVIS"),
}


@pytest.mark.parametrize("name", SETS)
def test_the_file_and_the_way_out_are_named(write_files, refusal, name):
    texts, words = SETS[name]
    root = write_files(texts, ["images/a.jpg"])
    message = refusal(root)
    assert message.startswith(f"{root}: no annotations of a known format; ")
    assert words.format(root=root) in message


def test_oriented_boxes_of_roboflow_are_named(write_files, refusal):
    """Its YAML file is YOLO's, and its text files are DOTA's."""
    texts = {"data.yaml": "train: ../train/images\nnames: [cat]\n"}
    texts["train/labelTxt/a.txt"] = "5.0 6.0 15.0 8.0 14.0 26.0 4.0 24.0 cat 0\n"
    root = write_files(texts, ["train/images/a.jpg"])
    assert refusal(root).startswith(f"{root}/train/labelTxt/a.txt: oriented boxes (DOTA)")


@pytest.mark.parametrize(
    "cell",
    [
        "\"[{'x': 1, 'y': 2, 'width': 30, 'height': 9}, {'x': 4, 'y': 2, 'width': 3, 'height': 9}]\"",
        "1 2 31 11;4.5 2 7 11",
        '"[[1, 2, 30, 9], [4, 2, 3, 9]]"',
    ],
)
def test_a_line_with_all_boxes_of_an_image_is_told_apart(write_files, refusal, cell):
    """As in Kaggle's Great Barrier Reef and Global Wheat (2021)."""
    root = write_files({"train.csv": f"image_id,boxes_of\na,\nb,{cell}\n"}, ["a.jpg", "b.jpg"])
    assert "train.csv has several boxes in a cell of boxes_of; write a line for each box, or yield" in refusal(root)


def test_run_lengths_are_no_boxes(write_files, refusal):
    root = write_files({"train.csv": "picture,runs\na,1 5 20 5 39 5 58 5\n"}, ["a.jpg"])
    assert "train.csv has the columns picture, runs" in refusal(root)
