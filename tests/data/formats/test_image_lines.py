"""JSON Lines of annotation tools and data sets, an image a line, packed by recognition."""

import json

import pytest

CAT, DOG = ("cat", 5, 6, 15, 26), ("dog", 10, 10, 30, 40)
POINTS = [{"x": x, "y": y} for x, y in ((10, 10), (30, 10), (30, 40), (10, 40))]
"""Of DOG."""


def lines(*contents):
    return "".join(f"{json.dumps(content)}\n" for content in contents)


@pytest.mark.parametrize("key", ["external_id", "global_key"])
def test_an_image_of_labelbox_beside_the_export(write_files, pack_one, key):
    row = {"external_id": "c1f0", "global_key": "d2", "row_data": "https://storage.labelbox.com/x"} | {key: "a.jpg"}
    objects = [{"name": "cat", "bounding_box": {"top": 6, "left": 5, "height": 20, "width": 10}}]
    content = {"data_row": row, "projects": {"p": {"labels": [{"annotations": {"objects": objects}}]}}}
    assert pack_one(write_files({"export.ndjson": lines(content)}, ["a.jpg"])).objects == {"a.jpg": [CAT]}


def test_crowdhuman(write_files, pack):
    person = {"tag": "person", "fbox": [5, 6, 10, 20], "vbox": [5, 6, 5, 5], "hbox": [5, 6, 2, 2], "extra": {"occ": 0}}
    ignored = {"tag": "mask", "fbox": [10, 10, 20, 30], "extra": {"ignore": 1}}
    content = {"ID": "273271,c9db", "gtboxes": [person, ignored]}
    texts = {f"annotation_{split}.odgt": lines(content | {"ID": split}) for split in ("train", "val")}
    packed = pack(write_files(texts, ["Images/train.jpg", "Images/val.jpg"]), strict=True)
    assert packed.title.endswith("2 splits: train 1, val 1); boxes of the whole body (fbox)")
    val = packed.splits["val"]
    assert val.objects == {"Images/val.jpg": [("person", *CAT[1:]), ("person", *DOG[1:])]}
    assert [each["iscrowd"] for each in val.records["Images/val.jpg"]["annotations"]] == [0, 1]


def manifest(name, *classes):
    boxes = [{"class_id": number, "left": 5, "top": 6, "width": 10, "height": 20} for number in classes]
    job = {"image_size": [{"width": 64, "height": 48, "depth": 3}], "annotations": boxes}
    metadata = {"class-map": {"0": "cat"}, "type": "groundtruth/object-detection"}
    return {"source-ref": f"s3://bucket/{name}", "job": job, "job-metadata": metadata}


def test_sagemaker(write_files, pack_one):
    """Images of one name in two folders are told apart by their addresses."""
    texts = {"output.manifest": lines(manifest("site/a.jpg", 0), manifest("a.jpg", 0, 1))}
    packed = pack_one(write_files(texts, ["site/a.jpg", "a.jpg"]))
    assert packed.objects == {"site/a.jpg": [CAT], "a.jpg": [CAT]}
    assert packed.report["unknown_class"] == 1


@pytest.mark.parametrize(
    ("file", "without", "content"),
    [
        ("x.manifest", {"source-ref": "s3://b/b.jpg", "job-metadata": {"failure-reason": "x"}}, manifest("a.jpg", 0)),
        ("x.odgt", {"ID": "b"}, {"ID": "a", "gtboxes": [{"tag": "cat", "fbox": [5, 6, 10, 20]}]}),
        (
            "x.jsonl",
            {"imageGcsUri": "gs://x/b.jpg"},
            {
                "imageGcsUri": "gs://x/a.jpg",
                "boundingBoxAnnotations": [
                    {"displayName": "cat", "xMin": 5 / 64, "yMin": 6 / 48, "xMax": 15 / 64, "yMax": 26 / 48}
                ],
            },
        ),
        (
            "x.ndjson",
            {"data_row": {"external_id": "b.jpg"}, "projects": {"p": {"labels": []}}},
            {
                "data_row": {"external_id": "a.jpg"},
                "projects": {
                    "p": {
                        "labels": [
                            {
                                "annotations": {
                                    "objects": [
                                        {
                                            "name": "cat",
                                            "bounding_box": {"top": 6, "left": 5, "height": 20, "width": 10},
                                        }
                                    ]
                                }
                            }
                        ]
                    }
                },
            },
        ),
    ],
)
def test_images_that_nobody_annotated_are_left_out_wherever_they_are(write_files, pack, file, without, content):
    """They became images without objects; a file that began with one was not read at all."""
    packed = pack(write_files({file: lines(without, content, without)}, ["a.jpg", "b.jpg"]))
    assert packed.title.endswith("; 2 lines without annotations, left out")
    assert packed.splits[""].objects == {"a.jpg": [CAT]}


def test_a_manifest_of_two_jobs_is_refused(write_files, refusal):
    twice = manifest("a.jpg", 0) | {"other": {"annotations": []}}
    root = write_files({"output.manifest": lines(manifest("site/a.jpg", 0), twice)}, ["site/a.jpg", "a.jpg"])
    assert "has boxes of several jobs: job, other" in refusal(root)


def test_vertex(write_files, pack):
    box = {"displayName": "cat", "xMin": 0.25, "yMin": 0.25, "xMax": 0.5, "yMax": 0.5}
    content = {"imageGcsUri": "gs://bucket/a.jpg", "boundingBoxAnnotations": [box, {"displayName": "cat"}]}
    usage = {"aiplatform.googleapis.com/ml_use": "test"}
    root = write_files({"x.jsonl": lines(content | {"dataItemResourceLabels": usage})}, ["imgs/a.jpg"])
    packed = pack(root).splits["test"]
    assert packed.objects == {"imgs/a.jpg": [("cat", 16, 12, 32, 24)]}
    assert packed.report["malformed_object"] == 1


def test_labelbox(write_files, pack_one):
    box = {"name": "cat", "bounding_box": {"top": 6, "left": 5, "height": 20, "width": 10}}
    mask = {"name": "cat", "annotation_kind": "ImageSegmentationMask", "mask": {"url": "https://api.labelbox.com/x"}}
    labels = [{"annotations": {"objects": [box, {"name": "dog", "polygon": POINTS}, mask]}}, {"annotations": {}}]
    content = {
        "data_row": {"id": "c1", "external_id": "a.jpg", "row_data": "https://storage.labelbox.com/x?token=1"},
        "media_attributes": {"width": 64, "height": 48},
        "projects": {"p": {"labels": labels}},
    }
    packed = pack_one(write_files({"export.ndjson": lines(content)}, ["images/a.jpg"]))
    assert packed.objects == {"images/a.jpg": [CAT, DOG]}
    assert packed.report["several_annotations"] == packed.report["unsupported_shape"] == 1
