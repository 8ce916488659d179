"""Arrays written by tifffile, OpenCV, Pillow and numpy come back as they are, or are refused in one line."""

import builtins
import io

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lightning_rcnn.data.decode import TruncatedImage, UndecodableImage, UnsupportedImage
from lightning_rcnn.data.decode_in_format import decode_in_format
from lightning_rcnn.data.decoded_image import decode_image
from lightning_rcnn.data.pixel_format import PixelFormat
from lightning_rcnn.data.stored_pixels import read_stored, stored_layout
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 20, 30


def values(dtype, *shape, seed=0):
    random = np.random.default_rng(seed)
    shape = shape or (HEIGHT, WIDTH)
    if np.dtype(dtype).kind == "f":
        return random.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def tiff(array, **options):
    data = io.BytesIO()
    tifffile.imwrite(data, array, **options)
    return data.getvalue()


def npy(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def pillow(array, kind="PNG", **options):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind, **options)
    return data.getvalue()


def deep_png(array):
    return cv2.imencode(".png", array if array.ndim == 2 else array[..., [2, 1, 0, 3][: array.shape[2]]])[1].tobytes()


BANDS = {"planarconfig": "contig", "photometric": "minisblack"}
PLANES = {"planarconfig": "separate", "photometric": "minisblack"}


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("channels", [2, 4, 12, 16])
def test_tiffs_of_any_type_and_number_of_channels(dtype, channels):
    array = values(dtype, HEIGHT, WIDTH, channels)
    kind = "float32" if np.dtype(dtype).kind == "f" else dtype
    for data in (tiff(array, **BANDS), tiff(np.moveaxis(array, -1, 0), **PLANES), tiff(array, **BANDS, bigtiff=True)):
        layout = stored_layout(data)
        assert (layout.extension, layout.channels, layout.kind) == ("tif", channels, kind)
        assert np.array_equal(read_stored(data, apply_exif=False), array.astype(kind))
    single = stored_layout(tiff(array[..., 0]))
    assert (single.channels, single.kind) == (1, kind)
    assert np.array_equal(read_stored(tiff(array[..., 0]), apply_exif=False)[..., 0], array[..., 0].astype(kind))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 3)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:1:1"}])
def test_the_channels_of_a_jpeg(mode, channels, options):
    data = io.BytesIO()
    Image.new(mode, (16, 16)).save(data, "JPEG", **options)
    assert stored_layout(data.getvalue())[:4] == ("jpg", channels, "uint8", False)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", "jpeg2000"])
def test_compressed_tiffs_and_their_cut_off_ends(compression):
    array = values("uint16", 64, 48, 6)
    data = tiff(array, compression=compression, **BANDS)
    assert np.array_equal(read_stored(data, apply_exif=False), array)
    for length in (len(data) - 300, len(data) // 2):
        with pytest.raises(TruncatedImage):
            read_stored(data[:length], apply_exif=False)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (values("float32", 12, HEIGHT, WIDTH), {}),
        (values("uint16", 3, HEIGHT, WIDTH), {"compression": "lzw"}),
        (values("uint16", 4, HEIGHT, WIDTH), {"imagej": True, "metadata": {"axes": "CYX"}}),
        (values("uint16", 2, HEIGHT, WIDTH), {"ome": True, "metadata": {"axes": "CYX"}}),
    ],
)
def test_pages_that_are_channels(array, options):
    data = tiff(array, **options)
    assert np.array_equal(read_stored(data, apply_exif=False), np.moveaxis(array, 0, -1))
    assert stored_layout(data).channels == len(array)
    if "ome" not in options:  # its description is at the end, so what is left is a file of its own
        with pytest.raises(TruncatedImage):
            read_stored(data[: len(data) // 2], apply_exif=False)


def test_an_array_that_tifffile_writes_as_rows_of_pages():
    array = values("float32", HEIGHT, WIDTH, 12)
    assert np.array_equal(read_stored(tiff(array), apply_exif=False), array)


def test_of_a_stack_the_first_page_is_read():
    array = values("uint16", 5, 2, HEIGHT, WIDTH)
    assert np.array_equal(
        read_stored(tiff(array, imagej=True, metadata={"axes": "ZCYX"}), apply_exif=False), np.moveaxis(array[0], 0, -1)
    )
    stack = tiff(array[:, 0], imagej=True, metadata={"axes": "ZYX"})
    assert np.array_equal(read_stored(stack, apply_exif=False)[..., 0], array[0, 0])
    assert stored_layout(stack).has_more


def test_transparency_is_the_last_channel():
    array = values("uint8", HEIGHT, WIDTH, 4)
    for data in (pillow(array), tiff(array, photometric="rgb", extrasamples=["unassalpha"])):
        assert stored_layout(data)[1:4] == (3, "uint8", True)
        assert np.array_equal(read_stored(data, apply_exif=False), array)
    unspecified = stored_layout(tiff(array, photometric="rgb", extrasamples=["unspecified"]))
    assert unspecified[1:4] == (4, "uint8", False)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_bits_of_a_png(channels):
    array = values("uint16", HEIGHT, WIDTH, channels)
    data = deep_png(array[..., 0] if channels == 1 else array)
    assert stored_layout(data)[1:4] == (min(channels, 3), "uint16", channels == 4)
    assert np.array_equal(read_stored(data, apply_exif=False), array)
    with pytest.raises(UndecodableImage):
        read_stored(data[: len(data) // 2], apply_exif=False)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", ">f4"])
def test_arrays(dtype, order):
    array = values(np.dtype(dtype).newbyteorder("=").name, HEIGHT, WIDTH, 5).astype(dtype)
    for given in (array, np.moveaxis(array, -1, 0)):
        read = read_stored(npy(np.asarray(given, order=order)), apply_exif=False)
        assert np.array_equal(read, array.astype(read.dtype))
    assert np.array_equal(read_stored(npy(array[..., 0]), apply_exif=False)[..., 0], array[..., 0].astype(read.dtype))
    with pytest.raises(TruncatedImage):
        read_stored(npy(array)[:-1], apply_exif=False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.zeros((4, 4), np.complex64)), "pixels of complex64; store them as one of uint8, .*, float32"),
        (npy(np.zeros(4, np.uint8)), r"an array \[4\] of uint8; store \[height, width, channels\]"),
        (npy(np.zeros((4, 4), bool)), "pixels of bool"),
        (tiff(np.zeros((4, 4), np.complex64)), "a TIFF of 1 channels of several types"),
        (b"\x93NUMPY\x01\x00broken", "the header of the npy file is damaged or cut off"),
        (b"II*\0" + b"\xff" * 40, "the header of the TIFF file is damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(data, message):
    with pytest.raises(UndecodableImage, match=f"^{message}") as caught:
        read_stored(data, apply_exif=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("package", "data"),
    [
        ("tifffile", tiff(values("float32", HEIGHT, WIDTH, 12), **BANDS)),
        ("tifffile", tiff(values("float32", 12, HEIGHT, WIDTH))),
        ("imagecodecs", tiff(values("uint16", HEIGHT, WIDTH, 6), compression="lzw", **BANDS)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package, data):
    imported = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return imported(name, *rest)

    if package == "imagecodecs":
        monkeypatch.setattr(tifffile.TiffPage, "decode", property(_no_codec))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedImage, match=f"for which {package} is missing; .*'lightning-rcnn\\[tiff\\]'"):
        read_stored(data, apply_exif=False)


def _no_codec(page):
    raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")


def test_orientation_of_a_tiff_is_applied():
    array = values("uint16", HEIGHT, WIDTH, 5)
    data = tiff(array, **BANDS, extratags=[(274, 3, 1, 6, True)])  # 6: turn clockwise
    assert np.array_equal(read_stored(data, apply_exif=False), np.rot90(array, -1))


def test_range_becomes_black_to_white():
    array = np.array([[-1000.0, 0, 500, 1000, 5000, np.nan, np.inf]], np.float32)
    decoded = decode_in_format(npy(array), PixelFormat(1, "float32", (0.0,), (1000.0,)), apply_exif=True).pixels
    assert decoded.tolist() == [[[0, 0, 127.5, 255, 255, 0, 0]]]
    two = np.stack([array[:, :4], array[:, :4] / 10], axis=-1).repeat(4, axis=0)
    decoded = decode_in_format(npy(two), PixelFormat(2, "float32", (0.0, 0.0), (1000.0, 100.0)), apply_exif=True).pixels
    assert torch.allclose(decoded[0], decoded[1])


def test_eight_bits_stay_eight_bits():
    array = values("uint8", HEIGHT, WIDTH, 4)
    decoded = decode_in_format(pillow(array), PixelFormat(4), apply_exif=True).pixels
    assert decoded.dtype == torch.uint8
    assert np.array_equal(decoded.permute(1, 2, 0), array)
    gray = decode_in_format(pillow(array[..., 0], "JPEG"), PixelFormat(1), apply_exif=True).pixels
    assert torch.equal(gray, decode_image(pillow(array[..., 0], "JPEG"), apply_exif=True)[:1])
    assert torch.equal(
        decode_in_format(pillow(array), PixelFormat(), apply_exif=True).pixels,
        decode_image(pillow(array), apply_exif=True),
    )


def test_exif_orientation_of_sixteen_bits():
    array = values("uint16", HEIGHT, WIDTH)
    exif = Image.Exif()
    exif[274] = 6
    data = pillow(array, exif=exif)
    format_ = PixelFormat(1, "uint16", (0.0,), (65535.0,))
    turned = decode_in_format(data, format_, apply_exif=True).pixels
    stored = decode_in_format(data, format_, apply_exif=False).pixels
    assert torch.equal(turned[0], torch.rot90(stored[0], -1))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (PixelFormat(12, "float32", (0.0,), (1.0,)), "4 channels, but 12 in the data set; give images of 12 channels"),
        (PixelFormat(4, "uint16", (0.0,), (1.0,)), "values of uint8, but uint16 in the data set"),
    ],
)
def test_another_layout_than_that_of_the_set_is_refused(pixels, message):
    with pytest.raises(UnsupportedImage, match=message):
        decode_in_format(tiff(values("uint8", HEIGHT, WIDTH, 4), **BANDS), pixels, apply_exif=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4, "low": (0.0, 1.0)}, "low has 2 and high 1 numbers for 4 channels"),
        ({"low": (5.0,), "high": (5.0,)}, r"the range from \[5.0\] to \[5.0\] is none"),
        ({"low": (float("nan"),)}, "the range from"),
        ({"bands": (1, 2)}, r"bands \[1, 2\]: give one or three of the channels 1 to 3"),
        ({"bands": (4,)}, r"bands \[4\]"),
        ({"kind": "complex64"}, "kind"),
    ],
)
def test_formats_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PixelFormat(**options)
