"""Data sets made on the spot, and shards read back by the standard library's tarfile alone."""

import io
import json
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.data.index import ShardIndex


@pytest.fixture
def encode_image():
    """`encode_image(width, height, kind="JPEG", mode="RGB", **options)`: the bytes of an image file."""

    def encode(width=64, height=48, kind="JPEG", mode="RGB", **options):
        rows, columns = np.mgrid[0:height, 0:width]
        pixels = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
        data = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(data, kind, **options)
        return data.getvalue()

    return encode


@pytest.fixture
def make_coco(tmp_path):
    """`make_coco(files, images, annotations, categories)` writes a COCO data set; returns its folder and JSON file."""

    def make(files, images, annotations=(), categories=({"id": 1, "name": "thing"},)):
        folder = tmp_path / "images"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        path = tmp_path / "instances.json"
        content = {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
        path.write_text(json.dumps(content))
        return folder, path

    return make


@pytest.fixture
def make_voc(tmp_path):
    """`make_voc(images, xmls, split_lines)` writes a Pascal VOC data set with the split "train"; returns its root."""

    def make(images, xmls, split_lines):
        root = tmp_path / "VOC2007"
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / folder).mkdir(parents=True)
        for name, data in images.items():
            (root / "JPEGImages" / name).write_bytes(data)
        for name, text in xmls.items():
            (root / "Annotations" / f"{name}.xml").write_text(text)
        (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(split_lines) + "\n")
        return root

    return make


@pytest.fixture
def voc_xml():
    """`voc_xml(*objects, size=(64, 48))`: the text of an XML file; an object is (name, xmin, ymin, xmax, ymax)."""

    def write(*objects, size=(64, 48)):
        parts = [f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"]
        for name, *box in objects:
            tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            edges = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
            parts.append(f"<object><name>{name}</name><difficult>0</difficult><bndbox>{edges}</bndbox></object>")
        return f"<annotation>{''.join(parts)}</annotation>"

    return write


@pytest.fixture
def read_packed():
    """`read_packed(folder)`: the index, and per sample its key, extension, image bytes and record."""

    def read(folder):
        index = ShardIndex.from_json((folder / "index.json").read_text(), str(folder))
        samples = []
        for shard in index.shards:
            with tarfile.open(folder / shard.name) as archive:
                members = archive.getmembers()
                contents = {member.name: archive.extractfile(member).read() for member in members}
            for name in contents:
                key, extension = name.split(".")
                if extension != "json":
                    record = json.loads(contents[f"{key}.json"])
                    samples.append(SimpleNamespace(key=key, extension=extension, image=contents[name], record=record))
        return index, samples

    return read
