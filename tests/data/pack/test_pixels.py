"""`pack` keeps channels and types, and chooses the range of values by the stated rules."""

import io
import json

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from lightning_rcnn import pack_samples
from lightning_rcnn.cli import main
from lightning_rcnn.data.index import INDEX_NAME, ShardIndex
from lightning_rcnn.data.pack import pixel_survey
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.pixel_survey import PixelSummary, PixelSurvey
from lightning_rcnn.data.pack.smaller import _resized_values
from lightning_rcnn.data.pixel_format import RGB, PixelFormat
from lightning_rcnn.data.shards import read_index
from lightning_rcnn.data.stored_layout import StoredLayout
from lightning_rcnn.data.stored_pixels import read_stored
from lightning_rcnn.errors import InputError

HEIGHT, WIDTH = 24, 32


def random(dtype, channels, low=0, high=1, seed=0):
    drawn = np.random.default_rng(seed).uniform(low, high, (HEIGHT, WIDTH, channels)).astype(dtype)
    drawn[0, 0], drawn[-1, -1] = low, high  # the limits occur
    return drawn


def packed(tmp_path, *images, **options):
    samples = [{"image": image, "boxes": [[4, 4, 20, 20]], "labels": ["thing"]} for image in images]
    return pack_samples(samples, tmp_path / "set", name="set", **options)


def tiff(array):
    data = io.BytesIO()
    tifffile.imwrite(data, array, photometric="minisblack", planarconfig="contig" if array.ndim == 3 else None)
    return data.getvalue()


@pytest.mark.parametrize(
    ("images", "options", "expected"),
    [
        ([random("uint8", 3)], {}, RGB),
        ([random("uint8", 1, 0, 255)[..., 0], random("uint8", 3, 0, 255)], {}, RGB),
        ([random("uint8", 4, 0, 255)], {}, RGB),  # a PNG's fourth channel is transparency
        ([random("uint8", 4, 0, 255)], {"channels": "4"}, PixelFormat(4)),
        ([random("uint8", 1, 0, 255)[..., 0]], {"channels": "1"}, PixelFormat(1)),
        ([random("uint8", 5, 0, 255)], {"bands": "5,1,2"}, PixelFormat(5, bands=(5, 1, 2))),
        ([random("uint16", 1, 0, 4095)[..., 0]], {}, PixelFormat(1, "uint16", (0.0,), (4095.0,))),
        ([random("uint16", 1, 0, 200)[..., 0]], {}, PixelFormat(1, "uint16", (0.0,), (255.0,))),
        ([random("uint16", 1, 0, 4095)[..., 0]], {"channels": "rgb"}, RGB),
        (
            [random("uint16", 1, 0, 4095)[..., 0]],
            {"channels": "3", "value_range": "full"},
            PixelFormat(3, "uint16", (0.0,), (65535.0,)),
        ),
        ([random("int16", 2, -1024, 3071)], {}, PixelFormat(2, "int16", (-1024.0,) * 2, (3071.0,) * 2)),
        ([random("int16", 2, -9, 9)], {"value_range": "-1000,3000"}, PixelFormat(2, "int16", (-1000.0,), (3000.0,))),
        ([random("float32", 12)], {}, PixelFormat(12, "float32", (0.0,), (1.0,))),
        ([random("float64", 1, 0, 0.5)[..., 0]], {"value_range": "full"}, PixelFormat(1, "float32", (0.0,), (1.0,))),
        (
            [random("float32", 2, 0, 2), random("float32", 2, -4, 1)],
            {},
            PixelFormat(2, "float32", (-4.0, -4.0), (2.0, 2.0)),
        ),
        ([np.zeros((HEIGHT, WIDTH, 2), np.int16) - 5], {}, PixelFormat(2, "int16", (-5.0,) * 2, (-4.0,) * 2)),
    ],
)
def test_channels_type_and_range(tmp_path, images, options, expected):
    assert packed(tmp_path, *images, **options).pixels == expected
    assert read_index(str(tmp_path / "set")).pixels == expected
    content = json.loads((tmp_path / "set" / INDEX_NAME).read_text())
    assert ("pixels" in content) == (expected != RGB)


def test_range_of_each_channel_of_floats(tmp_path):
    image = np.concatenate([random("float32", 1, 200, 300), random("float32", 1, -1, 1)], axis=2)
    image[3, 3] = [np.nan, np.inf]
    index = packed(tmp_path, image)
    assert index.pixels == PixelFormat(2, "float32", (200.0, -1.0), (300.0, 1.0))
    assert index.report["non_finite_pixels"] == 1


def test_percentiles_of_each_channel(tmp_path):
    images = [random("float32", 3, -3, 10, seed) ** 2 for seed in range(3)]
    images[1][5, 5] = 1e9
    pixels = packed(tmp_path, *images, value_range="percentile").pixels
    expected = np.percentile(np.concatenate([image.reshape(-1, 3) for image in images]), [0.5, 99.5], axis=0)
    assert np.allclose([pixels.low, pixels.high], expected, rtol=1e-6)


def test_images_become_rgb_only_if_they_differ(tmp_path):
    sixteen, eight = random("uint16", 1, 0, 60000)[..., 0], random("uint8", 3, 0, 255)
    index = packed(tmp_path, sixteen, eight)
    assert index.pixels == RGB
    assert index.report["sixteen_bit_image"] == 1


def test_what_is_kept_is_no_defect(tmp_path):
    image = random("uint16", 1, 0, 4095)[..., 0]
    assert packed(tmp_path, image, strict=True).report == {}
    with pytest.raises(InputError, match="dark_sixteen_bit_image"):
        packed(tmp_path / "rgb", image, strict=True, channels="rgb")


def test_sixteen_bits_of_gray_and_color_have_three_channels(tmp_path):
    color = random("uint16", 3, 0, 9000)
    png = cv2.imencode(".png", color)[1].tobytes()
    index = packed(tmp_path, random("uint16", 1, 0, 4095)[..., 0], png)
    assert index.pixels == PixelFormat(3, "uint16", (0.0,), (16383.0,))


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([random("float32", 12), random("float32", 4)], {}, r"12 x float32 \(first: .*1.npy\), 4 x float32 \(first:"),
        ([random("float32", 1)[..., 0], random("uint8", 3)], {}, "1 x float32 .*, 3 x uint8 .*; pack them apart"),
        ([random("uint16", 1, 0, 9)[..., 0], random("uint8", 3)], {"value_range": "0,9"}, "--range needs images of"),
        (
            [random("uint8", 3)],
            {"channels": "4"},
            "--channels 4, but 000000001.png has 3; leave it out, or pack such images apart",
        ),
        ([random("float32", 12)], {"channels": "3"}, "--channels 3, but 000000001.npy has 12"),
        ([random("float32", 2, 0, 5)], {"value_range": "full"}, "--range full of floats is 0 to 1, and .* 0 to 5"),
        ([random("float32", 2)], {"bands": "1,2,3"}, "--bands 1,2,3: the images have 2 channels"),
        ([random("float32", 2)], {"bands": "1,2"}, "--bands 1,2: give one or three channels"),
        ([random("float32", 2)], {"value_range": "5,5"}, "--range 5,5: give auto, full, percentile, or"),
        ([random("float32", 2)], {"channels": "many"}, "--channels many: give auto, rgb, or a number"),
        ([random("uint8", 3)], {"channels": "rgb", "value_range": "0,9"}, "--channels rgb: makes 8 bits"),
        ([np.zeros((4, 4), np.complex64)], {}, "pixels of complex64"),
    ],
)
def test_what_has_no_format_is_refused_in_one_line(tmp_path, images, options, message):
    with pytest.raises(InputError, match=message) as caught:
        packed(tmp_path, *images, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_files_stay_as_they_are_and_splits_get_one_range(tmp_path, capsys, read_packed):
    folder = tmp_path / "photos"
    folder.mkdir()
    files = {f"{split}{number}": tiff(random("float32", 12, 0, 2 + number)) for split in "ab" for number in range(3)}
    lines = ["image,xmin,ymin,xmax,ymax,class"]
    for name, data in files.items():
        (folder / f"{name}.tif").write_bytes(data)
        lines.append(f"{name}.tif,2,3,20,21,thing")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    arguments = ["--split", "0.5,0.5", "--group_by", "none", "--bands", "4,3,2"]
    main(["pack", "auto", str(folder), "--out", str(out), *arguments])
    assert "12 channels of float32 from 0 to" in capsys.readouterr().out
    formats = {split: read_index(str(out / split)).pixels for split in ("train", "val")}
    assert formats["train"] == formats["val"] == PixelFormat(12, "float32", (0.0,) * 12, (4.0,) * 12, (4, 3, 2))
    for split in formats:
        for sample in read_packed(out / split)[1]:
            assert sample.image == files[sample.record["file_name"].removesuffix(".tif")]


def test_the_range_is_part_of_the_fingerprint_and_the_bands_are_not(tmp_path):
    index = packed(tmp_path, random("float32", 12))
    fingerprints = {
        ShardIndex(**{**vars(index), "pixels": PixelFormat(12, "float32", (0.0,), (high,), bands)}).fingerprint
        for high, bands in ((1.0, ()), (2.0, ()), (2.0, (1,)))
    }
    assert len(fingerprints) == 2


def test_an_array_that_a_table_names(tmp_path, read_packed):
    np.save(tmp_path / "a.npy", random("float32", 5))
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\x00 damaged")
    Image.fromarray(random("uint8", 3)).save(tmp_path / "c.png")
    (tmp_path / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.npy,2,3,20,21,thing\n")
    main(["pack", "csv", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out")])
    _, (sample,) = read_packed(tmp_path / "out")
    assert sample.extension == "npy"
    assert sample.image == (tmp_path / "a.npy").read_bytes()
    assert (sample.record["width"], sample.record["height"]) == (WIDTH, HEIGHT)


def test_a_smaller_image_keeps_channels_type_and_limits(tmp_path, read_packed):
    bands = random("float32", 12)
    bands[..., 3] = 0.25
    sixteen = random("uint16", 1, 100, 4000)[..., 0]
    for number, (image, extension) in enumerate([(bands, "npy"), (sixteen, "png")]):
        packed(tmp_path / str(number), image, max_edge=16)
        _, (sample,) = read_packed(tmp_path / str(number) / "set")
        small = read_stored(sample.image, apply_exif=True)
        assert (sample.extension, small.dtype) == (extension, image.dtype)
        assert small.shape == (12, 16, 1 if image.ndim == 2 else 12)
        assert small.min() >= image.min()
        assert small.max() <= image.max()
        expected = cv2.resize(image, (16, 12), interpolation=cv2.INTER_AREA).reshape(small.shape)
        assert np.corrcoef(small.ravel(), expected.ravel())[0, 1] > 0.85
        if extension == "npy":
            assert np.allclose(small[..., 3], 0.25)


def test_pixels_without_a_measurement_stay_where_they_are_in_a_smaller_image():
    values = random(np.float32, 2, 1, 9)
    values[4:8, 4:8, 1] = np.nan
    smaller = _resized_values(values, (WIDTH // 2, HEIGHT // 2))
    whole = _resized_values(random(np.float32, 2, 1, 9), (WIDTH // 2, HEIGHT // 2))
    assert np.argwhere(np.isnan(smaller)).tolist() == [[y, x, 1] for y in (2, 3) for x in (2, 3)]
    assert np.array_equal(smaller[..., 0], whole[..., 0])
    assert np.nanmin(smaller) >= 1
    assert np.nanmax(smaller) <= 9
    values[:] = np.nan
    assert np.isnan(_resized_values(values, (4, 4))).all()


def test_percentiles_are_those_of_all_pixels_however_many_and_in_which_order(monkeypatch):
    monkeypatch.setattr(pixel_survey, "_MAX_PIXELS", 256)
    survey = PixelSurvey(PixelOptions(value_range="percentile"))
    layout = StoredLayout("npy", 1, "float32", becomes_rgb=False)
    for number in range(1000):
        values = np.arange(16, dtype=np.float32)[:, None] + 16 * number
        survey.add(PixelSummary(layout, values.min(0), values.max(0), values), "a.npy")
    pixels = survey.decide("set")
    assert np.allclose([*pixels.low, *pixels.high], [0.005 * 16000, 0.995 * 16000], atol=200)
