"""Data sets as label tools write them, made on the spot, packed by recognition and read back by tarfile alone."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.data.formats.layout import Layout
from lightning_rcnn.data.formats.recognition import recognize
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.data.pack.any_format import find_data
from lightning_rcnn.data.pack.write_splits import write_splits
from lightning_rcnn.errors import InputError

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def write_files(tmp_path):
    """`write_files({"a/b.jpg": None, "c.txt": "text"}, images=["x.jpg"])`: a data set's folder with these files."""

    def write(texts, images=(), size=(WIDTH, HEIGHT)):
        root = tmp_path / "set"
        root.mkdir(exist_ok=True)
        for name, content in texts.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, np.ndarray):
                Image.fromarray(content).save(path)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        for name in images:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(image_bytes("PNG" if name.lower().endswith("png") else "JPEG", size))
        return root

    return write


def image_bytes(kind="JPEG", size=(WIDTH, HEIGHT)):
    data = io.BytesIO()
    Image.new("RGB", size, (40, 90, 200)).save(data, kind)
    return data.getvalue()


@pytest.fixture
def pack(tmp_path):
    """`pack(root, found=None)` packs by recognition, or what was found by name; returns split -> packed set."""

    def run(root, found=None, max_loss=1.0, strict=False, classes=None):
        found = found or find_data(root, classes)
        out = tmp_path / "out"
        write_splits(found.sources, out, max_loss=max_loss, strict=strict, overwrite=True)
        return SimpleNamespace(
            title=found.title, splits={split: _read(out / split if split else out) for split in found.sources}
        )

    return run


def _read(folder: Path):
    index = ShardIndex.from_json((folder / "index.json").read_text(), str(folder))
    images = {}
    for shard in index.shards:
        with tarfile.open(folder / shard.name) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    record = json.load(archive.extractfile(member))
                    images[record["file_name"]] = record
    names = {category.label: category.name for category in index.categories}
    objects = {
        name: [(names[each["label"]], *(round(value, 3) for value in each["bbox"])) for each in record["annotations"]]
        for name, record in images.items()
    }
    return SimpleNamespace(
        classes=[category.name for category in index.categories],
        report=index.report,
        has_masks=index.has_masks,
        records=images,
        objects=objects,
    )


@pytest.fixture
def pack_one(pack):
    """Pack a set that is not split; returns the packed set."""
    return lambda *args, **options: pack(*args, **options).splits[""]


@pytest.fixture
def refusal(pack, tmp_path):
    """`refusal(root)`: the one line with which packing is refused, by default limits; nothing was written."""

    def refuse(root, **options):
        with pytest.raises(InputError) as caught:
            pack(root, max_loss=0.05, **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    return refuse


@pytest.fixture
def recognized():
    """`recognized(path)`: names of the formats that a path may have."""
    return lambda path: [candidate.name for candidate in recognize(Layout(path))]


@pytest.fixture
def read_set():
    """`read_set(folder)`: a packed set."""
    return _read
