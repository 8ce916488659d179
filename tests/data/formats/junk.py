"""Small sound data sets of every text format, and ways to damage their files."""

import json
import random

from tests.data.formats.test_annotation_tools import HOLE, META, holed, rectangle, supervisely
from tests.data.formats.test_bdd100k import CAT, DOG, frame, label
from tests.data.formats.test_deepfashion2 import item
from tests.data.formats.test_image_lines import lines, manifest
from tests.data.formats.test_json_lines import BOXES, CAT_ROW, DOG_ROW, HEADER, entry
from tests.data.formats.test_label_tools import RESULTS, annotation, createml, cvat, image, task
from tests.data.formats.test_labelme import labelme, shape
from tests.data.formats.test_masks import polygons
from tests.data.formats.test_masks import rectangle as rectangle_of
from tests.data.formats.test_older_tools import CAT_XML, DOG_XML
from tests.data.formats.test_older_tools import labelme as labelme_xml
from tests.data.formats.test_panoptic import panoptic, segment
from tests.data.formats.test_tt100k import sign
from tests.data.formats.test_ua_detrac import DETRAC, FRAME, target
from tests.data.formats.test_via import TWO, export, table
from tests.data.formats.test_voc_folders import xml

COCO = {
    "images": [
        {
            "id": 1,
            "file_name": "a.jpg",
            "width": 64,
            "height": 48,
            "not_exhaustive_category_ids": [],
            "neg_category_ids": [2],
        },
        {"id": 2, "file_name": "b.png", "width": 64, "height": 48},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 6, 10, 20], "area": 200, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [5, 6, 10, 20], "segmentation": [[5, 6, 15, 6, 15, 26]]},
        {
            "id": 3,
            "image_id": 2,
            "category_id": 2,
            "bbox": [5, 6, 10, 20],
            "segmentation": {"size": [48, 64], "counts": [9, 3063]},
        },
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "x"}, {"id": 2, "name": "dog"}],
}
BLUE = segment(40 + 90 * 256 + 200 * 65536, 17)
"""The color of the images of the tests."""
SIGN = sign("i1", *CAT[1:])
LINE = {"file_name": "a.jpg", "objects": BOXES}
YOLO_YAML = "path: .\ntrain: .\nval: .\nnc: 2\nnames: [cat, dog]\n"
SETS = {
    "coco": {"x.json": json.dumps(COCO)},
    "lvis": {"lvis_x.json": json.dumps(COCO)},
    "voc": {f"{name}.xml": xml(("cat", 1, 2, 30, 40), ("dog", 5, 6, 20, 30)) for name in "ab"},
    "yolo": {"data.yaml": YOLO_YAML, "a.txt": "0 .5 .5 .2 .2\n1 .1 .1 .4 .1 .4 .4\n", "b.txt": "1 .5 .5 .2 .2\n"},
    "labelme": {"a.json": json.dumps(labelme(shape())), "b.json": json.dumps(labelme(shape(), image="b.png"))},
    "via": {"via.json": json.dumps(export(*TWO))},
    "via csv": {"via.csv": table()},
    "csv": {
        "x.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,5,6,15,26\nb.png,64,48,dog,1,2,3,4\n"
    },
    "cvat": {"x.xml": cvat(image("a.jpg", '<box label="cat" xtl="5" ytl="6" xbr="15" ybr="26"></box>'))},
    "createml": {"x.json": json.dumps([createml("a.jpg", ("cat", 10, 16, 10, 20)), createml("b.png")])},
    "labelstudio": {"x.json": json.dumps([task("a.jpg", annotation(*RESULTS)), task("b.png", number=2)])},
    "widerface": {"wider_face_train_bbx_gt.txt": "a.jpg\n1\n5 6 10 20 0 0 0 0 0 0\nb.png\n0\n0 0 0 0 0 0 0 0 0 0\n"},
    "jsonl": {"metadata.jsonl": f"{json.dumps(LINE)}\n{json.dumps(LINE | {'file_name': 'b.png'})}\n"},
    "ndjson": {
        "x.ndjson": f"{json.dumps(HEADER)}\n{json.dumps(entry('a.jpg', 'train', {'boxes': [CAT_ROW, DOG_ROW]}))}\n"
    },
    "kitti": {f"{name}.txt": f"Car 0 0 0 5 6 15 26{' 0' * 7}\nDontCare 0 0 0 5 6 15 26{' 0' * 7}\n" for name in "ab"},
    "visdrone": {f"{name}.txt": "5,6,10,20,1,4,0,0\n10,10,20,30,1,1,0,0\n" for name in "ab"},
    "widerperson": {"a.jpg.txt": "1\n1 5 6 15 26\n", "b.png.txt": "2\n5 5 6 15 26\n4 5 6 15 26\n"},
    "bbgt": {f"{name}.txt": "% bbGt version=3\nCar 5 6 10 20 0 0 0 0 0 0 0\n" for name in "ab"},
    "supervisely": {
        "meta.json": json.dumps(META),
        **{f"{name}.json": json.dumps(supervisely(rectangle(), holed(interior=[HOLE]))) for name in ("a.jpg", "b.png")},
    },
    "bdd100k": {"x.json": json.dumps([frame("a.jpg", label("cat", CAT[1:])), frame("b.png", label("dog", DOG[1:]))])},
    "sagemaker": {"x.manifest": lines(manifest("a.jpg", 0), manifest("b.png", 0))},
    "crowdhuman": {"x.odgt": lines({"ID": "a", "gtboxes": [{"tag": "person", "fbox": [5, 6, 10, 20]}]})},
    "keras_yolo": {"x.txt": "a.jpg 5,6,15,26,0 10,10,30,40,1\nb.png 5,6,15,26,1\n", "classes.txt": "cat\ndog\n"},
    "labelme_xml": {"a.xml": labelme_xml(CAT_XML, DOG_XML), "b.xml": labelme_xml(DOG_XML).replace("a.jpg", "b.png")},
    "rle": {"x.csv": "ImageId,EncodedPixels\na.jpg,1 5 49 5\nb.png,\n"},
    "panoptic": {
        "x.json": json.dumps(
            panoptic("a") | {"annotations": [{"image_id": 1, "file_name": "b.png", "segments_info": [BLUE]}]}
        )
    },
    "masks polygons": {"a_gtFine_polygons.json": json.dumps(polygons(rectangle_of("car", 10, 5, 30, 30)))},
    "ua_detrac": {"x.xml": DETRAC.format(FRAME.format(1, target("car", *CAT[1:])))},
    "oidv4": {f"Label/{name}.txt": "Apple 5 6 15 26\nPolar bear 10 10 30 40\n" for name in "ab"},
    "nwpu": {f"{name}.txt": "(5,6),(15,26),1\n( 10,10),(30,40),10 \n" for name in "ab"},
    "tt100k": {"x.json": json.dumps({"types": ["i1"], "imgs": {"a": {"path": "a.jpg", "objects": [SIGN]}}})},
    "deepfashion2": {
        f"{name}.json": json.dumps({"source": "user", "pair_id": 1, "item1": item("vest", 5, CAT[1:])}) for name in "ab"
    },
    "deeppcb": {"train.txt": "a.jpg a.txt\n", "a.txt": "5 6 15 26 1\n10 10 30 40 6\n"},
}
"""Format -> the text files of a set with the images of `IMAGES`."""
IMAGES = {
    "deeppcb": ["a.jpg", "b.png", "a_test.jpg"],
    "masks polygons": ["a_leftImg8bit.png"],
    "ua_detrac": ["MVI_20011/img00001.jpg"],
}
"""Format -> its images; of others, a.jpg and b.png."""
_JUNK = (
    None,
    True,
    "",
    "x",
    "../a.jpg",
    -1,
    0,
    1e308,
    float("nan"),
    float("inf"),
    2**80,
    [],
    [[]],
    {},
    {"a": []},
    "\udcff",
    "\0",
)
_WORDS = ("", "nan", "-inf", "1e999", "-1", "9" * 30, "../../a.jpg", "é", "\0", "x" * 200, "[", "{}", "<", "&a;", '"')


def damage(text, seed):
    """Damage a file: a value of its JSON, a word, a line, or its bytes, in turn."""
    rng = random.Random(seed)
    if text[:1] in "[{" and seed % 2:
        lines = text.splitlines()
        number = rng.randrange(len(lines)) if len(lines) > 1 else 0  # JSON Lines, or JSON in one line
        content = json.loads(lines[number])
        for _ in range(rng.randint(1, 3)):
            content = _replace(content, rng)
        return "\n".join([*lines[:number], json.dumps(content), *lines[number + 1 :]]).encode("utf-8", "surrogatepass")
    data = text.encode()
    match seed % 5:
        case 0:
            return data[: rng.randrange(len(data))]
        case 1:
            return bytes(rng.randrange(256) if rng.random() < 0.02 else byte for byte in data)
        case 2:
            lines = text.splitlines()
            return "\n".join(rng.choices(lines, k=len(lines) + 1)).encode()
        case 3:
            return data.decode().encode("utf-16")[: rng.randint(10, 2 * len(data))]
        case _:
            words = text.split(" ")
            for _ in range(rng.randint(1, 4)):
                words[rng.randrange(len(words))] = rng.choice(_WORDS)
            return " ".join(words).encode("utf-8", "surrogatepass")


def _replace(content, rng):
    """Replace one value at any depth, or drop or repeat it."""
    keys = (
        list(content) if isinstance(content, dict) else list(range(len(content))) if isinstance(content, list) else []
    )
    if not keys or rng.random() < 0.1:
        return rng.choice(_JUNK)
    key = rng.choice(keys)
    changed = dict(content) if isinstance(content, dict) else list(content)
    if rng.random() < 0.15:
        del changed[key]
    else:
        changed[key] = _replace(content[key], rng)
    return changed
