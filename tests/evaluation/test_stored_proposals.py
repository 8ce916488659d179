import numpy as np
import pytest
from rich.console import Console

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.reader import RawSample
from lightning_rcnn.evaluation.stored_proposals import ProposalReport

A, B = (10, 10, 50, 50), (100, 100, 160, 160)
NEAR_A = (10, 10, 40, 50)  # IoU 3/4
FARTHER_FROM_A = (10, 10, 34, 50)  # IoU 3/5
NOWHERE = (0, 180, 9, 190)
CATEGORIES = [Category(1, "cat", 1), Category(2, "[dog]", 2)]


def sample(number, objects, proposals, **keys):
    annotations = [
        {"id": k, "bbox": list(box), "label": label, "iscrowd": 0, "difficult": 0, **keys}
        for k, (box, label) in enumerate(objects)
    ]
    content = {
        "image_id": number,
        "file_name": f"{number}.jpg",
        "width": 200,
        "height": 200,
        "annotations": annotations,
    }
    rows = [[*box, 1 / (rank + 1)] for rank, box in enumerate(proposals)]
    return RawSample(b"", content, f"key {number}", np.array(rows, np.float32).reshape(-1, 5))


@pytest.fixture
def printed():
    def show(report):
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(report.as_table())
        return captured.get()

    return show


def test_recall_by_hand(printed):
    report = ProposalReport(CATEGORIES)
    report.add(sample(1, [(A, 1), (B, 2)], [FARTHER_FROM_A, *[NOWHERE] * 150, B]))
    report.add(sample(2, [(A, 1)], [NEAR_A]))
    recall = report.recall
    assert [recall["all objects"][f"R50@{limit}"] for limit in (100, 300, 1000, 2000)] == pytest.approx(
        [2 / 3, 1, 1, 1]
    )
    assert [recall["all objects"][f"R70@{limit}"] for limit in (100, 300)] == pytest.approx([1 / 3, 2 / 3])
    assert (recall["cat"]["R50@100"], recall["cat"]["R70@100"]) == (1, 0.5)
    assert (recall["[dog]"]["R50@100"], recall["[dog]"]["R50@300"]) == (0, 1)
    text = printed(report)
    assert [line.split() for line in text.splitlines() if line.startswith("cat")] == [
        ["cat", "2", ".50", *["1.000"] * 4]
    ]
    assert "[dog]" in text
    assert "2 images with 76 proposals on average, 1 to 152" in " ".join(text.split())


def test_crowds_and_difficult_objects_do_not_count_and_are_told_of(printed):
    report = ProposalReport(CATEGORIES)
    report.add(sample(1, [(A, 1)], [A]))
    report.add(sample(2, [(B, 1)], [NOWHERE], iscrowd=1))
    report.add(sample(3, [(B, 1)], [NOWHERE], difficult=1))
    assert report.recall["all objects"]["R50@100"] == 1
    assert "2 crowds and difficult objects do not count" in printed(report)


def test_images_without_proposals_are_counted_and_named(printed):
    report = ProposalReport(CATEGORIES)
    report.add(sample(1, [(A, 1)], [A]))
    for number in range(2, 7):
        report.add(sample(number, [], []))
    report.add(sample(7, [(A, 1)], []))
    assert report.recall["all objects"]["R50@2000"] == 0.5
    assert "Without proposals: 6 images, 2.jpg, 3.jpg, 4.jpg and 3 more." in " ".join(printed(report).split())


def test_boxes_outside_the_image_are_counted_and_others_clipped(printed):
    report = ProposalReport(CATEGORIES)
    outside = [(-30, 0, 0, 20), (200, 0, 210, 9), (0, 300, 200, 310)]
    report.add(sample(1, [((150, 150, 200, 200), 1)], [*outside, (150, 150, 400, 400)]))
    assert report.recall["all objects"]["R70@100"] == 1
    assert "3 proposals lie outside their images" in printed(report)


def test_samples_that_cannot_be_read_are_named(printed):
    report = ProposalReport(CATEGORIES[:1])
    report.add_unreadable("shard-000000.tar, key 000000007: [cut]")
    text = " ".join(printed(report).split())
    assert "Unreadable: 1 sample, shard-000000.tar, key 000000007: [cut]." in text
    assert "0 images with 0 proposals" in text
