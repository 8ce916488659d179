"""Every kind of file against Pillow's or numpy's idea of it."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lightning_rcnn.data.decode import UndecodableImage, decode_image

HEIGHT, WIDTH = 24, 36


@pytest.fixture
def pixels():
    """A smooth colour image [h, w, 3], in which no two orientations look alike."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 10, columns * 7, rows * 3 + columns * 4], axis=-1).astype(np.uint8)


def encode(image, kind, **options):
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def encode_png16(samples):
    """A PNG of 16 bits a channel, [h, w, c]; Pillow writes none in colour."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = samples.shape
    colour_type = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoded(data, apply_exif=True):
    image = decode_image(data, apply_exif=apply_exif)
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_keep_every_pixel(pixels, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decoded(encode(Image.fromarray(pixels), kind, **options)), pixels)


def test_jpeg_is_what_pillow_reads(pixels):
    data = encode(Image.fromarray(pixels), "JPEG", quality=90)
    assert np.array_equal(decoded(data), np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_becomes_three_equal_channels(pixels, kind):
    image = decoded(encode(Image.fromarray(pixels[..., 0]), kind))
    assert np.ptp(image, axis=-1).max() == 0
    assert np.abs(image[..., 0].astype(int) - pixels[..., 0]).max() <= (3 if kind == "JPEG" else 0)


def test_black_and_white_becomes_0_and_255(pixels):
    image = decoded(encode(Image.fromarray(pixels[..., 0] > 100), "PNG"))
    assert np.array_equal(image[..., 0], np.where(pixels[..., 0] > 100, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_dropped_and_hidden_colours_stay(pixels, kind):
    transparent = np.dstack([pixels, np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert np.array_equal(decoded(encode(Image.fromarray(transparent), kind)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry_keeps_its_colours(pixels, kind):
    image = Image.fromarray(pixels).quantize(16)
    data = encode(image, kind, transparency=image.getpixel((0, 0)))
    assert np.array_equal(decoded(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_png_keeps_the_upper_byte(channels):
    values = np.linspace(0, 65535, HEIGHT * WIDTH * channels).astype(np.uint16).reshape(HEIGHT, WIDTH, channels)
    expected = np.broadcast_to((values // 256)[..., :3], (HEIGHT, WIDTH, 3))
    assert np.array_equal(decoded(encode_png16(values)), expected)


def test_sixteen_bit_tiff_keeps_the_upper_byte():
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    image = decoded(encode(Image.fromarray(values), "TIFF"))
    assert np.array_equal(image, np.repeat((values // 256)[..., None], 3, axis=-1))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(pixels, kind):
    image = decoded(encode(Image.fromarray(pixels).convert("CMYK"), kind))
    assert np.abs(image.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_only_when_asked(pixels, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(pixels), kind, exif=exif)
    stored = Image.open(BytesIO(data))
    assert np.array_equal(decoded(data, apply_exif=False), np.asarray(stored.convert("RGB")))
    assert np.array_equal(decoded(data), np.asarray(ImageOps.exif_transpose(stored).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_first_frame_of_several(pixels, kind):
    first, second = Image.fromarray(pixels).quantize(16).convert("RGB"), Image.new("RGB", (WIDTH, HEIGHT))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=[second], **options)
    assert np.array_equal(decoded(data), np.asarray(first))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_truncated_file_is_named_undecodable(kind):
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(UndecodableImage, match=r"\w"):
        decode_image(data[: len(data) // 2], apply_exif=True)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"no image at all", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_image_is_named_undecodable(data):
    with pytest.raises(UndecodableImage):
        decode_image(data, apply_exif=True)


def test_floating_point_pixels_are_refused():
    data = encode(Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)), "TIFF")
    with pytest.raises(UndecodableImage, match="floating-point"):
        decode_image(data, apply_exif=True)


def test_reason_is_one_line_without_torchvision_sources():
    data = encode(Image.fromarray(np.zeros((64, 64, 3), np.uint8)), "JPEG")
    with pytest.raises(UndecodableImage) as caught:
        decode_image(data[:-30], apply_exif=True)
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)
