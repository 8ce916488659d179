"""Every kind of file against what Pillow, numpy or torchvision make of it."""

import json
import struct
import subprocess
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageOps

from lightning_rcnn.data.decode import TruncatedImage, UndecodableImage, UnsupportedImage
from lightning_rcnn.data.decoded_image import decode_image, decode_with_damage

HEIGHT, WIDTH = 24, 36


@pytest.fixture
def pixels():
    """A smooth color image [h, w, 3], in which no two orientations look alike."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 10, columns * 7, rows * 3 + columns * 4], axis=-1).astype(np.uint8)


def encode(image, kind, **options):
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def encode_png16(samples):
    """A PNG of 16 bits per channel, [h, w, c]; Pillow writes none in color."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = samples.shape
    color_type = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoded(data, apply_exif=True):
    image = decode_image(data, apply_exif=apply_exif)
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(pixels, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decoded(encode(Image.fromarray(pixels), kind, **options)), pixels)


def test_jpeg_is_what_pillow_reads(pixels):
    data = encode(Image.fromarray(pixels), "JPEG", quality=90)
    assert np.array_equal(decoded(data), np.asarray(Image.open(BytesIO(data))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_gray_becomes_three_equal_channels(pixels, kind):
    image = decoded(encode(Image.fromarray(pixels[..., 0]), kind))
    assert np.ptp(image, axis=-1).max() == 0
    assert np.abs(image[..., 0].astype(int) - pixels[..., 0]).max() <= (3 if kind == "JPEG" else 0)


def test_black_and_white_becomes_0_and_255(pixels):
    image = decoded(encode(Image.fromarray(pixels[..., 0] > 100), "PNG"))
    assert np.array_equal(image[..., 0], np.where(pixels[..., 0] > 100, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_dropped_and_hidden_colors_stay(pixels, kind):
    transparent = np.dstack([pixels, np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert np.array_equal(decoded(encode(Image.fromarray(transparent), kind)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry_keeps_its_colors(pixels, kind):
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
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


JPEGS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "4:1:1": {"subsampling": "4:1:1"},
    "RGB": {"keep_rgb": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "gray": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "YCCK": {"mode": "CMYK"},
    "turned": {"exif": 6},
}


@pytest.mark.parametrize("size", [(48, 64), (33, 57), (7, 3), (1, 1)])
@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_is_what_torchvision_reads(kind, size):
    """Until torchvision drops its decoders: pixels are those of every training before."""
    options = dict(JPEGS[kind])
    noise = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    if orientation := options.pop("exif", None):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    data = bytearray(encode(Image.fromarray(noise).convert(options.pop("mode", "RGB")), "JPEG", **options))
    if kind == "YCCK":
        data[data.index(b"Adobe") + 11] = 2  # says that the colors are stored as YCC, as Photoshop does
    assert torch.equal(decode_image(bytes(data), apply_exif=True), torchvision_decoded(data))


def torchvision_decoded(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = torch.frombuffer(data, dtype=torch.uint8)
        return torchvision.io.decode_image(encoded, mode="RGB", apply_exif_orientation=True)


@pytest.mark.parametrize("sampling", ["31", "24", "14"])
def test_jpeg_with_an_unusual_subsampling_is_what_torchvision_reads(sampling):
    """Of one color all over and cut to half its height: whatever its division into blocks, there are data enough."""
    data = bytearray(encode(Image.new("RGB", (48, 64), (200, 30, 90)), "JPEG", subsampling=0))
    header = data.index(b"\xff\xc0")
    data[header + 6], data[header + 11] = 32, int(sampling, 16)
    assert torch.equal(decode_image(bytes(data), apply_exif=True), torchvision_decoded(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM"])
def test_truncated_file_is_named_undecodable(kind):
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(UndecodableImage, match=r"cut off|damaged"):
        decode_image(data[: len(data) // 2], apply_exif=True)


def test_jpeg_that_is_cut_is_refused_although_it_ends_with_a_marker():
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), "JPEG")
    for cut in (data[:-2], data[: len(data) * 2 // 3] + b"\xff\xd9"):
        with pytest.raises(TruncatedImage, match="cut off: the data end before the last pixel"):
            decode_image(cut, apply_exif=True)


def test_jpeg_with_a_harmless_damage_keeps_its_pixels_and_tells(pixels):
    data = encode(Image.fromarray(pixels), "JPEG")
    sound, damaged = (
        decode_with_damage(file, apply_exif=True) for file in (data, data[:-2] + b"twenty foreign bytes" + data[-2:])
    )
    assert torch.equal(sound.pixels, damaged.pixels)
    assert (sound.damage, "extraneous bytes" in damaged.damage) == ("", True)


def test_png_with_one_flipped_bit_is_refused_wherever_it_is(pixels):
    data = encode(Image.fromarray(pixels), "PNG")
    first = data.index(b"IDAT") + 4
    for position in range(first, data.index(b"IEND") - 8, 97):
        flipped = bytearray(data)
        flipped[position] ^= 4
        with pytest.raises(UndecodableImage, match=r"PNG|damaged"):
            decode_image(bytes(flipped), apply_exif=True)


KINDS = [
    *("JPEG", "JPEG-progressive", "JPEG-CMYK", "PNG", "PNG-P", "PNG-LA", "WEBP", "GIF", "AVIF", "JPEG2000"),
    *("BMP", "PPM", "TIFF", "TIFF-tiff_lzw", "TIFF-jpeg"),
]


@pytest.mark.end_to_end
@pytest.mark.parametrize("kinds", [KINDS[:8], KINDS[8:]], ids=["some", "others"])
def test_no_mutated_file_ends_the_process_or_takes_much_memory(kinds):
    program = [sys.executable, str(Path(__file__).with_name("mutated_images.py")), "200"]
    run = subprocess.run([*program, *kinds], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert [outcome["kind"] for outcome in outcomes] == kinds
    for outcome in outcomes:
        assert outcome["decoded"] + outcome["refused"] == 200
        assert outcome["refused"] >= 20  # a fifth is cut
        assert outcome["MiB"] < 700  # the most pixels that are read, three bytes each, are 512 MiB


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"no image at all", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_image_is_named_undecodable(data):
    with pytest.raises(UndecodableImage):
        decode_image(data, apply_exif=True)


@pytest.mark.parametrize("low", [-1, 0])
def test_integers_beyond_16_bits_are_refused(low):
    values = np.full((HEIGHT, WIDTH), 0x10000 if low == 0 else 5, np.int32)
    values[0, 0] = low
    with pytest.raises(UnsupportedImage, match=rf"^pixels from {low} to \d+, whose range is unknown; store them as"):
        decode_image(encode(Image.fromarray(values), "TIFF"), apply_exif=True)


def test_floating_point_pixels_are_refused():
    data = encode(Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)), "TIFF")
    with pytest.raises(UnsupportedImage, match="floating-point pixels, whose range is unknown; store them as"):
        decode_image(data, apply_exif=True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_too_many_pixels_are_refused_before_they_take_memory(kind, monkeypatch):
    data = encode(Image.new("L", (50, 50)), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1250)
    assert decode_image(data, apply_exif=True).shape == (3, 50, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1249)
    with pytest.raises(UnsupportedImage, match=r"^more pixels than the limit of 2498; give --max_pixels, or cut it"):
        decode_image(data, apply_exif=True)


def test_exif_data_behind_other_segments_are_found(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif)
    foreign = b"\xff\xed\x40\0" + bytes(0x3FFE)
    assert decode_image(data[:2] + 3 * foreign + data[2:], apply_exif=True).shape == (3, WIDTH, HEIGHT)


def test_damaged_exif_data_turn_nothing(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(pixels), "JPEG", exif=exif)
    data = data.replace(b"Exif\0\0", b"Exif\0\0XX")  # neither byte order
    assert decode_image(data, apply_exif=True).shape == (3, HEIGHT, WIDTH)


def test_reason_is_one_line_without_the_name_of_a_function():
    data = encode(Image.fromarray(np.zeros((64, 64, 3), np.uint8)), "JPEG").replace(b"\xff\xdb", b"\xff\xfe")
    with pytest.raises(UndecodableImage) as caught:
        decode_image(data, apply_exif=True)
    assert "\n" not in str(caught.value)
    assert "()" not in str(caught.value)
