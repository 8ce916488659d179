import io

import numpy as np
import pytest
from PIL import Image

from lightning_rcnn.cli.commands.pack_options import PackOptions
from lightning_rcnn.data.decode import UndecodableImage
from lightning_rcnn.data.decoded_image import decode_with_damage
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.sound_jpeg import STRUCTURE, has_sound_structure, is_sound_jpeg, jpeg_check
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError
from tests.data.mutated_images import encode, mutate

NOISE = np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8)


def jpeg(mode="RGB", **options):
    data = io.BytesIO()
    Image.fromarray(NOISE).convert(mode).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "JPEG-L", "JPEG-progressive"])
def test_the_quick_check_notices_what_the_decoder_for_training_notices(kind):
    data = encode(kind)
    assert is_sound_jpeg(data)
    noticed = 0
    for seed in range(300):
        mutated = mutate(data, seed)
        try:
            _, damage = decode_with_damage(mutated, apply_exif=False)
        except UndecodableImage as error:
            damage = str(error)
        assert not (damage and is_sound_jpeg(mutated)), (seed, damage)
        noticed += bool(damage)
    assert noticed > 100


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "L"},
        {"progressive": True},
        {"restart_marker_blocks": 1},
        {"subsampling": 0, "quality": 100},
        {"comment": b"an end within a segment: \xff\xd9, and a scan: \xff\xda\x00\x00", "dpi": (72, 72)},
    ],
)
def test_sound_jpegs_have_a_sound_structure(options):
    assert has_sound_structure(jpeg(**options))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_a_jpeg_that_is_cut_off_anywhere_has_none(options):
    data = jpeg(**options)
    assert not any(has_sound_structure(data[:end]) for end in range(len(data)))
    assert not any(has_sound_structure(data[:end] + bytes(len(data) - end)) for end in range(2, len(data) - 1))


def test_another_file_within_the_pixels_is_noticed_and_a_changed_byte_is_not():
    data = jpeg()
    start, end = len(data) // 2, len(data) // 2 + 1000
    assert not has_sound_structure(data[:start] + np.random.default_rng(1).bytes(1000) + data[end:])
    assert not has_sound_structure(data[:start] + jpeg() + data[start:])
    assert has_sound_structure(data[:start] + b"\0" + data[start + 1 :])


def segments(data):
    """The kind, begin and end of each segment, by hand, up to the pixels."""
    found, position = [], 2
    while not found or found[-1][0] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        found.append((data[position + 1], position, end))
        position = end
    return found


@pytest.mark.parametrize("what", ["lossless", "arithmetic codes", "no tables", "no pixels"])
def test_what_decoders_may_not_know_or_lack_is_no_sound_structure(what):
    """Such as tiles of a TIFF, whose tables are elsewhere, and lossless JPEGs of scanners."""
    data = jpeg()
    frame = next(begin for kind, begin, _ in segments(data) if kind == 0xC0)
    tables = [(begin, end) for kind, begin, end in segments(data) if kind == 0xDB]
    changed = {
        "lossless": data[: frame + 1] + b"\xc3" + data[frame + 2 :],
        "arithmetic codes": data[: frame + 1] + b"\xc9" + data[frame + 2 :],
        "no tables": data[: tables[0][0]] + data[tables[-1][1] :],
        "no pixels": data[: segments(data)[-1][2]] + b"\xff\xd9",
    }[what]
    assert not has_sound_structure(changed)
    with jpeg_check(STRUCTURE):
        assert not is_sound_jpeg(changed)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n"])
def test_what_is_no_jpeg_has_no_sound_structure(data):
    assert not has_sound_structure(data)


def test_what_is_unusual_is_checked_to_the_last_pixel():
    data = jpeg() + b"a camera's own notes"
    assert not has_sound_structure(data)
    with jpeg_check(STRUCTURE):
        assert is_sound_jpeg(data)
        assert is_sound_jpeg(jpeg()[:-2] + b"\0\xff\xd9")
        assert not is_sound_jpeg(jpeg()[:-100])
    assert not is_sound_jpeg(jpeg()[:-100] + b"\xff\xd9")


def test_sound_sets_are_packed_alike_by_their_structure_and_others_but_for_the_damage_inside(make_coco, tmp_path):
    inside = bytearray(jpeg())
    del inside[len(inside) // 2 : len(inside) // 2 + 1000]
    sound = {"a.jpg": jpeg(), "b.jpg": jpeg(progressive=True)}
    images = {"cut.jpg": jpeg()[:-100], "inside.jpg": bytes(inside)}

    def pack(files, out, **options):
        entries = [{"id": number, "file_name": name} for number, name in enumerate(files, start=1)]
        boxes = [{"id": e["id"], "image_id": e["id"], "category_id": 1, "bbox": [1, 2, 10, 20]} for e in entries]
        folder, annotations = make_coco(files, entries, boxes)
        write_shards(coco_source(folder, annotations), tmp_path / out, max_loss=1, pixels=PixelOptions(**options))
        return {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}

    assert pack(sound, "full") == pack(sound, "structure", check=STRUCTURE)
    assert b'"truncated_image":2' in pack(sound | images, "both")["index.json"]
    index = pack(sound | images, "one", check=STRUCTURE)["index.json"]
    assert b'"truncated_image":1' in index
    assert b'"image_ids":[1,2,4]' in index


def test_options_that_read_the_pixels_anyway_are_refused_beside_it():
    with pytest.raises(InputError, match="--check structure: --max_edge reads the pixels all the same"):
        PackOptions(check=STRUCTURE, max_edge=100)
    with pytest.raises(InputError, match="--range percentile: reads all pixels"):
        PackOptions(check=STRUCTURE, range="percentile")
