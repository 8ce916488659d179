import io
import json

import pytest
from rich.console import Console

from lightning_rcnn.evaluation.report import metrics_tables, write_metrics

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
NAN = float("nan")


def printed(metrics, title=""):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(metrics_tables(metrics, title))
    return [line.split() for line in console.export_text().splitlines() if line.strip()]


def test_twelve_figures_fit_on_80_columns():
    values = [1.0, 0.0, 0.9996, 0.5, 0.25, 0.1, NAN, 0.5, 0.5, 0.5, 0.5, 1.0]
    figures = dict(zip(NAMES, values, strict=True))
    figures |= {"per_class": {}, "max_detections": 100, "rules": "COCO"}
    lines = printed({"bbox": figures, "segm": figures}, "after [epoch] 3")
    assert lines[0] == ["after", "[epoch]", "3"]
    assert lines[1] == NAMES
    for line, name in zip(lines[3:5], ("bbox", "segm"), strict=True):
        assert line == [name, "1.00", ".000", "1.00", ".500", ".250", ".100", "-", *[".500"] * 4, "1.00"]


def test_what_counts_more_detections_has_a_table_of_its_own():
    figures = {"AP": 0.5, "AR100": 0.5, "per_class": {}, "max_detections": 100, "rules": "COCO"}
    cells = {"AP": 0.25, "AR300": 0.25, "per_class": {}, "max_detections": 300, "rules": "COCO"}
    lines = printed({"bbox": figures, "segm": cells})
    rows = [["AP", "AR100"], ["bbox", ".500", ".500"], ["AP", "AR300"], ["segm", ".250", ".250"]]
    assert [line for line in lines if line in rows] == rows
    assert [line[:2] for line in lines if line[0] == "maxDets"] == [["maxDets", "100:"], ["maxDets", "300:"]]


def test_classes_are_read_down_the_columns():
    per_class = {f"kind[{number}]": number / 10 for number in range(7)} | {"none": NAN}
    lines = printed({"bbox": {"AP": 0.5, "per_class": per_class, "max_detections": 100, "rules": "COCO"}})
    assert lines[-3:] == [
        ["kind[0]", ".000", "kind[3]", ".300", "kind[6]", ".600"],
        ["kind[1]", ".100", "kind[4]", ".400", "none", "-"],
        ["kind[2]", ".200", "kind[5]", ".500"],
    ]


def test_vocs_figures_by_area_and_by_eleven_points():
    by_area = {f"baseball glove{number}": number / 10 for number in range(4)}
    by_points = {name: value + 0.05 for name, value in by_area.items()} | {"baseball glove3": NAN}
    figures = {"AP50": 0.5, "AP50_11_point": 0.48, "per_class": by_area, "per_class_11_point": by_points}
    coco = {"AP": 0.25, "per_class": {}, "max_detections": 100, "rules": "COCO"}
    lines = printed({"bbox": coco, "voc": figures, "proposals": {"AR@100": 0.75}})
    start = lines.index(["voc", "area", "11-point"])
    assert lines[start + 2] == ["AP50", ".500", ".480"]
    assert lines[start + 3] == ["voc", "AP50", "of", "area", "11-pt"] * 2
    assert lines[start + 5 : start + 7] == [
        ["baseball", "glove0", ".000", ".050", "baseball", "glove2", ".200", ".250"],
        ["baseball", "glove1", ".100", ".150", "baseball", "glove3", ".300", "-"],
    ]


def test_proposals_by_their_number():
    figures = {f"{name}@{limit}": limit / 1000 for limit in (100, 300) for name in ("AR", "R50")}
    lines = printed({"proposals": figures})
    assert lines[0] == ["proposals", "@100", "@300"]
    assert lines[-2:] == [["AR", ".100", ".300"], ["R50", ".100", ".300"]]


def test_json_has_null_for_what_has_no_value(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    write_metrics(path, {"bbox": {"AP": 0.5, "APs": NAN, "per_class": {"cat": NAN}}}, epoch=2, step=30)
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content == {"bbox": {"AP": 0.5, "APs": None, "per_class": {"cat": None}}, "epoch": 2, "step": 30}


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(path, {"bbox": {"AP": 0.5}}, epoch=1, step=1)
    with pytest.raises(TypeError):
        write_metrics(path, {"bbox": {"AP": object()}}, epoch=2, step=2)
    assert json.loads(path.read_text())["epoch"] == 1
