"""What a report holds, without a browser."""

import json

from lightning_rcnn.evaluation.analysis.analyzing import analyze
from lightning_rcnn.evaluation.report_page.page import write_report
from lightning_rcnn.pages.charts import shortened


def test_a_page_needs_nothing_else(page_of):
    text = page_of({1: ([], [])}, ["cell"])
    assert "$" not in text.partition("<script")[0].partition("</style>")[2]
    outside = text.replace("http://www.w3.org/", "")
    assert "http:" not in outside
    assert "https:" not in outside
    assert "@import" not in text


def test_a_page_stays_small_with_many_classes_images_and_masks(large_page):
    assert len(large_page) < 4e6
    assert "Listed are 500 of 700 images with errors." in large_page


def test_a_report_and_its_numbers(tmp_path):
    analysis = analyze({}, ["cell"], "bbox")
    assert write_report(tmp_path / "report", "\u00e9", [analysis]) == tmp_path / "report" / "index.html"
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["analysis.json", "index.html"]
    assert (tmp_path / "report" / "index.html").read_bytes() == "\u00e9".encode()
    assert json.loads((tmp_path / "report" / "analysis.json").read_text()) == {"bbox": analysis.as_dict()}


def test_long_names_leave_room_for_a_plot():
    assert shortened("x" * 200) == "x" * 21 + "…"
    assert shortened("x" * 22) == "x" * 22
