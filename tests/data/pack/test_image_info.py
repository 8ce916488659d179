"""Odd image files, each really written that way, packed as COCO sets of one image with one box."""

import io

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.frame import choose_frame
from lightning_rcnn.data.pack.image_info import RejectedImageError, inspect_image
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]}


@pytest.fixture
def pack_one(make_coco, read_packed, tmp_path):
    """Pack one file beside a sound one; returns the report and the file's sample, None if it was skipped."""

    def pack(data, name="odd.jpg", size=(64, 48)):
        sound = io.BytesIO()
        Image.new("RGB", (20, 30)).save(sound, "PNG")
        entries = [
            {"id": 1, "file_name": name, "width": size[0], "height": size[1]},
            {"id": 2, "file_name": "sound.png", "width": 20, "height": 30},
        ]
        boxes = [BOX, BOX | {"id": 2, "image_id": 2}]
        folder, annotations = make_coco({name: data, "sound.png": sound.getvalue()}, entries, boxes)
        index = write_shards(coco_source(folder, annotations), tmp_path / "out", max_loss=1)
        _, samples = read_packed(tmp_path / "out")
        odd = [sample for sample in samples if sample.record["image_id"] == 1]
        return index.report, odd[0] if odd else None

    return pack


def test_sound_image_is_packed_unchanged_and_reports_nothing(pack_one, encode_image):
    data = encode_image()
    report, sample = pack_one(data)
    assert report == {}
    assert sample.image == data
    assert sample.extension == "jpg"
    assert (sample.record["width"], sample.record["height"]) == (64, 48)
    assert sample.record["apply_exif"] is True
    assert sample.record["annotations"] == [
        {"id": 1, "bbox": [1, 2, 11, 22], "label": 1, "iscrowd": 0, "difficult": 0, "area": 200.0}
    ]


def test_png_named_jpg_gets_its_real_extension(pack_one, encode_image):
    report, sample = pack_one(encode_image(kind="PNG"))
    assert report == {"wrong_extension": 1}
    assert sample.extension == "png"
    assert sample.record["file_name"] == "odd.jpg"


@pytest.mark.parametrize("name", ["a.JPG", "a.jpeg", "a.jfif"])
def test_usual_names_of_jpeg_are_no_defect(pack_one, encode_image, name):
    assert pack_one(encode_image(), name)[0] == {}


def test_two_images_in_one_jpeg_as_phones_write_them_are_a_jpeg(pack_one):
    data = io.BytesIO()
    Image.new("RGB", (64, 48)).save(data, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert Image.open(data).format == "MPO"
    report, sample = pack_one(data.getvalue())
    assert report == {}
    assert sample.extension == "jpg"


@pytest.mark.parametrize(
    ("mode", "kind", "options", "noted"),
    [
        ("L", "JPEG", {}, {"gray_image"}),
        ("1", "PNG", {}, {"gray_image"}),
        ("I;16", "PNG", {}, {"gray_image", "sixteen_bit_image"}),
        ("LA", "PNG", {}, {"gray_image", "alpha_channel"}),
        ("RGBA", "PNG", {}, {"alpha_channel"}),
        ("P", "PNG", {}, {"palette_image"}),
        ("P", "PNG", {"transparency": 0}, {"palette_image", "alpha_channel"}),
        ("CMYK", "JPEG", {}, {"cmyk_image"}),
    ],
)
def test_unusual_pixels_are_noted_and_kept(pack_one, encode_image, mode, kind, options, noted):
    data = encode_image(kind=kind, mode=mode, **options)
    report, sample = pack_one(data, f"odd.{kind.lower()}")
    assert report == dict.fromkeys(noted, 1)
    assert sample.image == data


def test_animation_is_noted(pack_one):
    data = io.BytesIO()
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    report, sample = pack_one(data.getvalue(), "odd.gif")
    assert report == {"palette_image": 1, "several_frames": 1}
    assert sample.extension == "gif"


@pytest.mark.parametrize("name", ["a.b.c.jpg", "two words.jpg", "folder/x.y/a b.jpg"])
def test_dots_and_spaces_stay_in_the_name_and_out_of_the_key(pack_one, encode_image, name):
    report, sample = pack_one(encode_image(), name)
    assert report == {"unusual_name": 1}
    assert sample.key == "000000000"
    assert sample.record["file_name"] == name


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_applies_to_the_size_as_shown(pack_one, encode_image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = (64, 48) if orientation < 5 else (48, 64)
    report, sample = pack_one(encode_image(exif=exif), size=shown)
    assert report == {"exif_applied": 1}
    assert sample.record["apply_exif"] is True
    assert (sample.record["width"], sample.record["height"]) == shown


@pytest.mark.parametrize("orientation", range(5, 9))
def test_exif_orientation_is_ignored_where_only_the_stored_size_fits(pack_one, encode_image, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    report, sample = pack_one(encode_image(exif=exif), size=(64, 48))
    assert report == {"exif_ignored": 1}
    assert sample.record["apply_exif"] is False
    assert (sample.record["width"], sample.record["height"]) == (64, 48)


@pytest.mark.parametrize(
    ("kind", "defect"),
    [
        ("JPEG", "truncated_image"),
        ("PNG", "truncated_image"),
        ("BMP", "truncated_image"),
        ("GIF", "truncated_image"),
        ("TIFF", "truncated_image"),
        ("JPEG2000", "damaged_image"),  # its decoder does not say what is missing
        ("AVIF", "unreadable_image"),  # Pillow reads it and WebP as a whole already for the header
        ("WEBP", "unreadable_image"),
    ],
)
def test_truncated_image_is_skipped(pack_one, encode_image, kind, defect):
    data = encode_image(256, 192, kind=kind)
    assert pack_one(data[: len(data) * 2 // 3], f"odd.{kind.lower()}") == ({defect: 1}, None)


def test_truncated_jpeg_with_an_end_marker_is_found_although_it_decodes(pack_one, encode_image, capfd):
    noise = np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG")
    cut = data.getvalue()[: len(data.getvalue()) // 2] + b"\xff\xd9"
    assert Image.open(io.BytesIO(cut)).convert("RGB").size == (64, 48), "Pillow does not complain"
    report, sample = pack_one(cut)
    assert report == {"truncated_image": 1}
    assert sample is None
    assert "JPEG" not in capfd.readouterr().err


def test_damaged_jpeg_with_all_its_pixels_is_kept_and_counted(pack_one):
    noise = np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG")
    report, sample = pack_one(data.getvalue()[:-2] + b"some forty bytes that belong to no picture" + b"\xff\xd9")
    assert report == {"corrupt_jpeg": 1}
    assert sample is not None


def flipped_png(encode_image):
    data = bytearray(encode_image(kind="PNG"))
    data[len(data) // 2] ^= 1
    return bytes(data)


def photoshop(encode_image):
    return b"8BPS" + bytes(40)


@pytest.mark.parametrize(
    ("make", "defect", "message"),
    [
        (flipped_png, "damaged_image", r"^broken PNG file"),
        (photoshop, "unsupported_image", r"^a Photoshop document, which is not supported; convert it to JPEG or PNG"),
    ],
)
def test_an_image_that_cannot_be_used_is_called_by_its_name(encode_image, make, defect, message, pack_one):
    data = make(encode_image)
    assert pack_one(data) == ({defect: 1}, None)
    with pytest.raises(RejectedImageError, match=message):
        inspect_image(data, "odd.jpg")


def test_twelve_bits_in_sixteen_are_told():
    values = np.linspace(0, 4095, 48 * 64).astype(np.uint16).reshape(48, 64)
    data = io.BytesIO()
    Image.fromarray(values).save(data, "TIFF")
    defects = inspect_image(data.getvalue(), "odd.tif").defects
    assert [defect.label for defect in defects] == ["gray_image", "sixteen_bit_image", "dark_sixteen_bit_image"]


@pytest.mark.parametrize("data", [b"", b"<html>404</html>"])
def test_unreadable_image_is_skipped(pack_one, data):
    assert pack_one(data) == ({"unreadable_image": 1}, None)


@pytest.mark.parametrize("size", [(0, 0), (None, None)])
def test_missing_size_is_taken_from_the_file(pack_one, encode_image, size):
    report, sample = pack_one(encode_image(), size=size)
    assert report == {"size_missing": 1}
    assert (sample.record["width"], sample.record["height"]) == (64, 48)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((640, 480), [0.1, 0.2, 1.1, 2.2]),
        ((32, 24), [2, 4, 22, 44]),
        ((1281, 960), [64 / 1281, 0.1, 11 * 64 / 1281, 1.1]),  # times a twentieth: 64.05 x 48
        ((128, 95), [0.5, 2 * 48 / 95, 5.5, 22 * 48 / 95]),
    ],
)
def test_box_annotated_at_another_size_is_scaled(pack_one, encode_image, size, box):
    report, sample = pack_one(encode_image(), size=size)
    assert report == {"size_scaled": 1}
    assert (sample.record["width"], sample.record["height"]) == (64, 48)
    assert sample.record["annotations"][0]["bbox"] == pytest.approx(box)


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (640, 440), (80, 48), (8, 6)])
def test_image_of_another_shape_or_too_large_boxes_for_its_stated_size_is_left_out(pack_one, encode_image, size):
    assert pack_one(encode_image(), size=size) == ({"size_mismatch": 1}, None)


def test_swapped_width_and_height_are_asked_about(encode_image):
    picture = inspect_image(encode_image(), "a.jpg")
    with pytest.raises(RejectedImageError, match=r"48 x 64, the file has 64 x 48; are width and height swapped\?"):
        choose_frame(picture, (48, 64), [])
    with pytest.raises(RejectedImageError, match=r"has 64 x 48$"):
        choose_frame(picture, (47, 64), [])


@pytest.mark.parametrize("size", [(128, 96), (96, 128)])
def test_scaled_size_decides_on_the_exif_orientation(pack_one, encode_image, size):
    exif = Image.Exif()
    exif[0x0112] = 6
    report, sample = pack_one(encode_image(exif=exif), size=size)
    is_turned = size == (96, 128)
    assert report == {"size_scaled": 1, "exif_applied" if is_turned else "exif_ignored": 1}
    assert (sample.record["width"], sample.record["height"]) == ((48, 64) if is_turned else (64, 48))
    assert sample.record["annotations"][0]["bbox"] == [0.5, 1, 5.5, 11]


def test_without_any_readable_image_the_set_is_refused(make_coco, tmp_path):
    folder, annotations = make_coco({"a.jpg": b""}, [{"id": 1, "file_name": "a.jpg"}])
    with pytest.raises(InputError, match=r"no image is left to pack; correct: unreadable_image x 1 \(first: a.jpg"):
        write_shards(coco_source(folder, annotations), tmp_path / "out", max_loss=1)
    assert not (tmp_path / "out").exists()
