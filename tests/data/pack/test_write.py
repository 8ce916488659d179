import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from webdataset import WebDataset
from webdataset.tariterators import tar_file_expander

from lightning_rcnn.data.defects import Defect, DefectLog, Finding
from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.pack import side_by_side
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.parallel import map_in_order
from lightning_rcnn.data.pack.pixel_options import PixelOptions
from lightning_rcnn.data.pack.report import print_report
from lightning_rcnn.data.pack.shapes import shapes_source
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_index_describes_the_shards(tmp_path, read_packed):
    returned = write_shards(shapes_source(7), tmp_path / "set", shard_size=3, name="toy")
    index, samples = read_packed(tmp_path / "set")
    assert index == returned
    assert index.name == "toy"
    assert [len(shard) for shard in index.shards] == [3, 3, 1]
    assert [shard.first for shard in index.shards] == [0, 3, 6]
    assert [sample.key for sample in samples] == [f"{number:09d}" for number in range(7)]
    assert index.has_masks
    by_shard = iter(samples)
    for shard in index.shards:
        data = (tmp_path / "set" / shard.name).read_bytes()
        assert shard.sha256 == hashlib.sha256(data).hexdigest()
        records = [next(by_shard).record for _ in range(len(shard))]
        assert shard.image_ids == [record["image_id"] for record in records]
        assert shard.widths == [record["width"] for record in records]
        assert shard.heights == [record["height"] for record in records]
        assert shard.objects == [len(record["annotations"]) for record in records]
        labels = [{entry["label"] for entry in record["annotations"]} for record in records]
        assert shard.classes == [sorted(distinct) for distinct in labels]


def test_byte_range_of_a_sample_is_a_tar_of_its_own(tmp_path):
    index = write_shards(shapes_source(5), tmp_path / "set", shard_size=5)
    (shard,) = index.shards
    data = (tmp_path / "set" / shard.name).read_bytes()
    assert len(shard.offsets) == 6
    for number in range(5):
        piece = io.BytesIO(data[shard.offsets[number] : shard.offsets[number + 1]])
        members = tar_file_expander([{"url": "", "stream": piece}], eof_value=None)
        names = [member["fname"] for member in members]
        assert names == [f"{number:09d}.jpg", f"{number:09d}.json"]


def test_webdataset_reads_the_shards(tmp_path):
    index = write_shards(shapes_source(5), tmp_path / "set", shard_size=3)
    urls = [str(tmp_path / "set" / shard.name) for shard in index.shards]
    samples = list(WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{number:09d}" for number in range(5)]
    assert all({"jpg", "json"} <= sample.keys() for sample in samples)


@pytest.mark.end_to_end
def test_bytes_are_the_same_for_any_number_of_processes(tmp_path):
    for workers in (1, 2):
        write_shards(shapes_source(40), tmp_path / str(workers), shard_size=16, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.fixture
def coco_files(make_coco, encode_image):
    """Images of several sizes with boxes, some damaged, as arguments of `coco_source`."""
    files = {f"{n:02d}.jpg": b"" if n % 7 == 3 else encode_image(20 + n, 16) for n in range(30)}
    images = [{"id": n, "file_name": name, "width": 20 + n, "height": 16} for n, name in enumerate(files)]
    boxes = [{"id": n + 1, "image_id": n, "category_id": 1, "bbox": [1, 1, 5 + n, 9]} for n in range(30)]
    return make_coco(files, images, boxes)


def test_bytes_are_the_same_for_any_number_of_threads(coco_files, tmp_path):
    for workers in (1, 2, 3, None):
        write_shards(coco_source(*coco_files), tmp_path / str(workers), shard_size=8, workers=workers, max_loss=1)
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "1")


@pytest.mark.end_to_end
def test_processes_read_a_large_set_where_there_are_many_cores(coco_files, tmp_path, monkeypatch):
    write_shards(coco_source(*coco_files), tmp_path / "threads", shard_size=8, workers=2, max_loss=1)
    monkeypatch.setattr(side_by_side, "MAX_THREADS", 1)
    monkeypatch.setattr(side_by_side, "ENOUGH_FOR_PROCESSES", 30)
    monkeypatch.setattr(side_by_side, "map_in_threads", None)
    write_shards(coco_source(*coco_files), tmp_path / "processes", shard_size=8, workers=2, max_loss=1)
    assert contents(tmp_path / "threads") == contents(tmp_path / "processes")


def test_a_limit_of_pixels_holds_in_all_threads(make_coco, encode_image, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    files = {f"{n:02d}.png": encode_image(kind="PNG") for n in range(40)}
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(files)]
    source = coco_source(*make_coco(files, images))
    with pytest.raises(InputError, match="unsupported_image"):
        write_shards(source, tmp_path / "refused", workers=4)
    index = write_shards(source, tmp_path / "taken", workers=4, pixels=PixelOptions(max_pixels=64 * 48))
    assert len(index) == 40
    assert Image.MAX_IMAGE_PIXELS == 500


def test_another_seed_gives_another_fingerprint(tmp_path):
    first, second = (write_shards(shapes_source(3, seed), tmp_path / str(seed)) for seed in (0, 1))
    assert first.fingerprint != second.fingerprint


def test_skipped_images_leave_no_gap_in_the_numbering(make_coco, encode_image, read_packed, tmp_path):
    files = {f"{number}.jpg": b"" if number % 2 else encode_image() for number in range(8)}
    images = [{"id": number, "file_name": name, "width": 64, "height": 48} for number, name in enumerate(files)]
    write_shards(coco_source(*make_coco(files, images)), tmp_path / "set", shard_size=3, max_loss=1)
    index, samples = read_packed(tmp_path / "set")
    assert [len(shard) for shard in index.shards] == [3, 1]
    assert [(sample.key, sample.record["image_id"]) for sample in samples] == [
        ("000000000", 0),
        ("000000001", 2),
        ("000000002", 4),
        ("000000003", 6),
    ]


def test_strict_refuses_defects_by_name_and_writes_nothing(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "a.png", "width": 64, "height": 48}
    boxes = [{"id": number, "image_id": 1, "category_id": 1, "bbox": [0, 0, number - 1, 9]} for number in (1, 2)]
    source = coco_source(*make_coco({"a.png": encode_image(kind="PNG", mode="RGBA")}, [entry], boxes))
    with pytest.raises(InputError, match=r"--strict.*zero_area_box x 1 \(first: a.png, object 1, id 1\)$"):
        write_shards(source, tmp_path / "set", strict=True)
    assert not (tmp_path / "set").exists()


def test_strict_lets_pass_what_is_only_noted(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "a.png", "width": 64, "height": 48}
    source = coco_source(*make_coco({"a.png": encode_image(kind="PNG", mode="RGBA")}, [entry]))
    index = write_shards(source, tmp_path / "set", strict=True)
    assert index.report == {"empty_image": 1, "alpha_channel": 1}


def test_report_names_defect_action_count_rule_and_first_place(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "[odd] name.jpg", "width": 0, "height": 0}
    source = coco_source(*make_coco({"[odd] name.jpg": encode_image()}, [entry]))
    printed = io.StringIO()
    write_shards(source, tmp_path / "set", console=Console(file=printed, width=200))
    row = next(line for line in printed.getvalue().splitlines() if "size_missing" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "size_missing",
        "repaired",
        "1",
        "no image size or 0 x 0 in the annotation: the file's size is used",
        "[odd] name.jpg",
    ]
    assert "1 image in 1 shard, 0 objects" in printed.getvalue()


def test_report_counts_objects_and_those_with_masks(make_coco, encode_image, tmp_path):
    entry = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
    mask = [[2.0, 3.0, 11.0, 3.0, 11.0, 21.0]]
    objects = [{"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "iscrowd": n == 1} for n in (1, 2, 3)]
    for number, with_masks in enumerate((objects[:2], [])):
        entries = [{**one, "segmentation": mask} if one in with_masks else one for one in objects]
        printed = io.StringIO()
        source = coco_source(*make_coco({"a.jpg": encode_image()}, [entry], entries))
        write_shards(source, tmp_path / f"set {number}", console=Console(file=printed, width=200))
        masks = "2 of them with masks" if with_masks else "none with a mask"
        assert f"3 objects, {masks}: thing 3" in printed.getvalue()


def test_large_numbers_are_written_alike():
    printed = io.StringIO()
    log = DefectLog()
    log.add([Finding(Defect.CROWD, "a.jpg")] * 2000)
    index = ShardIndex("set", [Category(1, "thing", 1)], True, [], {})
    print_report(Console(file=printed, width=200), index, log, Counter({1: 3000}), 2999)
    assert "3,000 objects, 2,999 of them with masks" in printed.getvalue()
    assert "2,000" in printed.getvalue()


def test_packing_is_silent_by_default(tmp_path, capfd):
    write_shards(shapes_source(3), tmp_path / "set")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{"shard_size": 0}, {"workers": 0}])
def test_impossible_numbers_are_refused(tmp_path, options):
    with pytest.raises(InputError, match="at least 1"):
        write_shards(shapes_source(3), tmp_path / "set", **options)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the packing processes in /proc")
@pytest.mark.end_to_end
def test_killed_run_leaves_no_set_no_process_and_its_rest_goes_at_the_next(tmp_path):
    script = tmp_path / "pack.py"
    script.write_text(
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    from lightning_rcnn.data.pack.shapes import shapes_source\n"
        "    from lightning_rcnn.data.pack.write import write_shards\n"
        f"    write_shards(shapes_source(100_000), Path({str(tmp_path / 'set')!r}), shard_size=4, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)])
    wait_until(lambda: list(tmp_path.glob(".set.*/shard-000001.tar")))
    children = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= 2
    wait_until(lambda: not any(is_running(child) for child in children))
    assert not (tmp_path / "set").exists()
    assert len(list(tmp_path.glob(".set.*"))) == 1

    write_shards(shapes_source(3), tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack.py", "set"]


@pytest.mark.end_to_end
def test_process_that_dies_is_one_line(tmp_path):
    source = replace(shapes_source(40), read=os._exit, name_of="scene {}".format)
    with pytest.raises(InputError, match=r"^scene \d+: the last sample of a worker process that ended with status \d"):
        write_shards(source, tmp_path / "set", workers=2)
    assert list(tmp_path.iterdir()) == []


def kill_at_20(number):
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.end_to_end
def test_the_item_at_which_a_process_is_killed_is_named():
    with pytest.raises(InputError, match=r"^20: the last .* was killed by SIGKILL, .* lower --workers$"):
        list(map_in_order(kill_at_20, range(40), 2, items_per_task=1))


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
