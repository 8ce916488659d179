"""Image files as the examples open them, which have none of our code: the pixels of `detect`."""

import io
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.pixel_format import RGB

EXAMPLES = Path(__file__).parents[2] / "examples"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def saved(mode, format, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, format, **options)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return saved("RGB", "PNG", exif=exif)


FILES = {
    "gray": saved("L", "PNG"),
    "gray with alpha": saved("LA", "PNG"),
    "alpha": saved("RGBA", "PNG"),
    "palette": saved("P", "PNG", transparency=3),
    "1 bit": saved("1", "PNG"),
    "CMYK": saved("CMYK", "JPEG"),
    "turned": turned(),
    "16 bits of gray": cv2.imencode(".png", PIXELS[..., 0].astype(np.uint16) * 257)[1].tobytes(),
    "16 bits of gray in a TIFF": cv2.imencode(".tif", PIXELS[..., 0].astype(np.uint16) * 200)[1].tobytes(),
    "16 bits of color": cv2.imencode(".png", PIXELS.astype(np.uint16) * 257)[1].tobytes(),
}


@pytest.mark.parametrize("program", ["onnx_inference.py", "pt2_inference.py"])
@pytest.mark.parametrize("kind", FILES)
def test_examples_see_what_detect_sees(program, kind):
    pytest.importorskip("onnxruntime")
    open_image = runpy.run_path(str(EXAMPLES / program))["open_image"]
    expected = decode_in_format(FILES[kind], RGB, apply_exif=True).pixels.permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(open_image(io.BytesIO(FILES[kind]))), expected)
