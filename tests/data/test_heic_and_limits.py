"""HEIC with its plug-in and without, AVIF, and images above Pillow's limit."""

import builtins
import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from lightning_rcnn import DetectionDataModule, pack_samples
from lightning_rcnn.cli import main
from lightning_rcnn.data.decode import UnsupportedImage, at_least_pixels, pixel_limit
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.resize import ResizeRule
from lightning_rcnn.data.shards import read_index
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 48, 64


def smooth():
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 5, columns * 3, 255 - rows * 5], axis=-1).astype(np.uint8)


def heic(pixels, **options):
    data = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(data, quality=-1, **options)
    return data.getvalue()


def encoded(kind, **options):
    data = io.BytesIO()
    Image.fromarray(smooth()).save(data, kind, **options)
    return data.getvalue()


def test_heic_and_avif_are_decoded_and_packed(tmp_path):
    files = {"a.heic": heic(smooth()), "b.avif": encoded("AVIF", quality=100)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        difference = np.abs(decode_image(data, apply_exif=True).permute(1, 2, 0).numpy().astype(int) - smooth())
        assert difference.mean() < 3
    lines = ["image,xmin,ymin,xmax,ymax,class", *(f"{name},4,4,30,30,thing" for name in files)]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    assert main(["pack", "csv", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert len(read_index(str(tmp_path / "out"))) == 2


def test_damaged_heic_is_refused():
    data = heic(smooth())
    for cut in (data[: len(data) // 2], data[:40]):
        with pytest.raises(ValueError, match=r".+"):
            decode_image(cut, apply_exif=True)


def test_without_the_plug_in_the_extra_is_named(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        if name == "pillow_heif":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedImage, match=r"^a HEIC image, .*: pip install 'lightning-rcnn\[heic\]'$"):
        decode_image(b"\0\0\0\x18ftypheic" + bytes(40), apply_exif=True)


@pytest.fixture
def low_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # twice as many are refused


def test_a_limit_holds_only_inside(low_limit):
    data = encoded("PNG")
    with pixel_limit(HEIGHT * WIDTH):
        assert decode_image(data, apply_exif=True).shape == (3, HEIGHT, WIDTH)
    for number in (None, HEIGHT * WIDTH - 2):
        with pixel_limit(number), pytest.raises(UnsupportedImage, match="--max_pixels"):
            decode_image(data, apply_exif=True)


def test_a_limit_below_pillows_holds_too():
    data = encoded("PNG")
    with pixel_limit(HEIGHT * WIDTH - 2):
        with pytest.raises(UnsupportedImage, match=f"limit of {HEIGHT * WIDTH - 2}; give --max_pixels"):
            decode_image(data, apply_exif=True)
        with at_least_pixels(HEIGHT * WIDTH), pixel_limit(HEIGHT * WIDTH):
            assert decode_image(data, apply_exif=True).shape == (3, HEIGHT, WIDTH)
        with at_least_pixels(1), pytest.raises(UnsupportedImage):
            decode_image(data, apply_exif=True)


def test_max_pixels_of_pack_below_pillows_limit(tmp_path):
    samples = [{"image": smooth(), "boxes": [[4, 4, 30, 30]], "labels": ["thing"]}]
    with pytest.raises(InputError, match=f"limit of {HEIGHT * WIDTH - 2}; give --max_pixels"):
        pack_samples(samples, tmp_path / "set", max_pixels=HEIGHT * WIDTH - 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_max_pixels_packs_is_trained_on(tmp_path, low_limit, dtype):
    image = smooth() if dtype == "uint8" else smooth()[..., 0].astype(np.uint16) * 16
    samples = [{"image": image, "boxes": [[4, 4, 30, 30]], "labels": ["thing"]}]
    with pytest.raises(InputError, match=r"limit of 2000; give --max_pixels|unsupported_image"):
        pack_samples(samples, tmp_path / "set")
    pack_samples(samples, tmp_path / "set", max_pixels=HEIGHT * WIDTH)
    data = DetectionDataModule(val=str(tmp_path / "set"), num_workers=0)
    data.resize_rule = ResizeRule(HEIGHT, WIDTH)
    data.setup("validate")
    (batch,) = data.val_dataloader()
    assert not batch.records[0].problem
    assert float(batch.images[0, :, :HEIGHT, :WIDTH].float().max()) > 100
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_limit_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="--max_pixels 0: give a number of pixels above 0"):
        pack_samples([], tmp_path / "set", max_pixels=0)
