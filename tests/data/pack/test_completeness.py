import pytest

from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.voc import voc_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError

SOUND, CLICK = [1, 2, 10, 20], [1, 2, 0, 0]


@pytest.fixture
def pack(make_coco, encode_image, tmp_path):
    """Pack images of one object each: by its box, or of no file where it is None."""

    def pack(boxes, **options):
        entries = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in range(len(boxes))]
        objects = [{"id": n + 1, "image_id": n, "category_id": 1, "bbox": box or SOUND} for n, box in enumerate(boxes)]
        image = encode_image()
        files = {entry["file_name"]: image for entry, box in zip(entries, boxes, strict=True) if box}
        source = coco_source(*make_coco(files, entries, objects))
        try:
            return write_shards(source, tmp_path / "out", **options)
        except InputError:
            assert not (tmp_path / "out").exists()
            raise

    return pack


@pytest.mark.parametrize(
    ("boxes", "what"),
    [
        ([CLICK] * 2 + [SOUND] * 30, r"2 of 32 objects .* zero_area_box x 2 \(first: 0.jpg, object 1, id 1\)"),
        ([None] * 2 + [SOUND] * 30, r"2 of 32 images .* missing_image x 2 \(first: 0.jpg"),
        ([CLICK] * 2, "2 of 2 objects"),
    ],
)
def test_large_loss_is_refused_unless_it_is_accepted(pack, boxes, what):
    with pytest.raises(InputError, match=f"instances: {what}.*nothing was written.*--max_loss") as caught:
        pack(boxes)
    accepted = float(str(caught.value).rpartition(" ")[2])
    assert len(pack(boxes, max_loss=accepted)) == sum(box is not None for box in boxes)


def test_small_loss_is_not_refused(pack):
    assert len(pack([CLICK] + [SOUND] * 19)) == 20


def test_no_loss_at_all_can_be_asked_for(pack):
    with pytest.raises(InputError, match=r"1 of 21 objects would be left out, a share above --max_loss 0: "):
        pack([CLICK] + [SOUND] * 20, max_loss=0)


@pytest.mark.parametrize("max_loss", [-0.1, 1.5, float("nan")])
def test_share_is_from_0_to_1(pack, max_loss):
    with pytest.raises(InputError, match=r"--max_loss .* is not a share; give a number from 0 to 1"):
        pack([SOUND], max_loss=max_loss)


def test_objects_of_unlisted_images_are_lost_and_repeated_ones_are_not(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "a.jpg"}
    sound = {"id": 1, "image_id": 1, "category_id": 1, "bbox": SOUND}
    files = {"a.jpg": encode_image()}
    source = coco_source(*make_coco(files, [entry, entry], [sound, sound]))
    assert len(write_shards(source, tmp_path / "repeated")) == 1
    source = coco_source(*make_coco(files, [entry], [sound, sound | {"id": 2, "image_id": 9}]))
    with pytest.raises(InputError, match=r"1 of 2 objects would be left out.*unknown_image x 1"):
        write_shards(source, tmp_path / "out")


def test_set_without_objects_is_packed(make_coco, encode_image, tmp_path):
    source = coco_source(*make_coco({"a.jpg": encode_image()}, [{"id": 1, "file_name": "a.jpg"}]))
    assert len(write_shards(source, tmp_path / "out")) == 1


def test_classes_that_were_not_asked_for_are_no_loss_but_a_set_of_nothing_else_is(
    make_voc, voc_xml, encode_image, tmp_path
):
    xml = voc_xml(("cat", 1, 1, 9, 9), ("dog", 1, 1, 9, 9), ("dog", 1, 1, 9, 9))
    root = make_voc({"a.jpg": encode_image()}, {"a": xml}, ["a"])
    index = write_shards(voc_source(root, "train", classes=["cat"]), tmp_path / "cats", strict=True)
    assert index.shards[0].objects == [1]
    with pytest.raises(InputError, match=r"3 objects, none of the requested classes.*cat.*--classes"):
        write_shards(voc_source(root, "train", classes=["Cat"]), tmp_path / "none")
