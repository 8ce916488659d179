"""The page of an inspection: one HTML file with everything in it."""

from pathlib import Path
from typing import Any

from lightning_rcnn.data.defects import Defect
from lightning_rcnn.inspection.findings.finding import Case, Finding, Shot
from lightning_rcnn.inspection.inspecting import Inspection
from lightning_rcnn.inspection.pictures import MOST_CLASSES, draw_samples, draw_shot, file_names
from lightning_rcnn.inspection.report.charts import charts
from lightning_rcnn.inspection.report.overview import SetFigures, class_rows, figures_of
from lightning_rcnn.pages.page import build_page, escaped
from lightning_rcnn.pages.pictures import jpeg_address
from lightning_rcnn.pages.tables import number_column, table, text_column

MOST_CASES = 12
"""Cases of a finding with pictures."""
MOST_SHOTS = 3
"""Images of a case."""
_HERE = Path(__file__).parent


def inspection_page(inspection: Inspection) -> str:
    """Build the HTML of an inspection; all names are escaped."""
    data = inspection.data
    figures = figures_of(data)
    pictures = _Pictures(inspection)
    findings = [_finding(inspection, finding, pictures) for finding in inspection.findings]
    samples = draw_samples(data.sets[0])
    left_out = figures[0].classes - len(samples)
    content = {
        "headline": _headline(inspection, figures),
        "findings": findings,
        "tables": {
            "settings": _settings(inspection),
            "memory": _memory(inspection),
            "sets": _sets(figures),
            "classes": _classes(inspection),
            "packing": _packing(inspection),
        },
        "samples": [
            {"name": name, "objects": number, "images": [jpeg_address(jpeg) for jpeg in jpegs]}
            for name, number, jpegs in samples
        ],
        "samples_note": "Chosen at random, always the same."
        + (f" The first {MOST_CLASSES} classes; {left_out} more are not shown." if left_out else ""),
        "pictures": pictures.addresses,
    }
    names = " and ".join(one.name for one in data.sets)
    rule = data.recipe.rule
    subtitle = (
        f"{', '.join(one.index.name for one in data.sets)} · for {data.recipe.detector} by {data.recipe.name}, "
        f"min_size {rule.min_size}, max_size {rule.max_size}"
    )
    parts = {"recipe": escaped(data.recipe.name), "first": escaped(data.sets[0].name), **charts(inspection)}
    return build_page(_HERE, f"Inspection of {names}", subtitle, content, parts)


class _Pictures:
    """The pictures of findings, each once."""

    def __init__(self, inspection: Inspection) -> None:
        self._sets = inspection.data.sets
        self._numbers: dict[Shot, int | None] = {}
        self.addresses: list[str] = []

    def number_of(self, shot: Shot) -> int | None:
        """Return the number of a picture in `addresses`; None for an unreadable image."""
        if shot not in self._numbers:
            jpeg = draw_shot(self._sets[shot.of_set], shot)
            self._numbers[shot] = None if jpeg is None else len(self.addresses)
            self.addresses += [] if jpeg is None else [jpeg_address(jpeg)]
        return self._numbers[shot]


def _finding(inspection: Inspection, finding: Finding, pictures: _Pictures) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "title": finding.title,
        "advice": finding.advice,
        "rule": finding.rule,
        "count": finding.count,
        "cases": [_case(inspection, case, pictures) for case in finding.cases[:MOST_CASES]],
    }


def _case(inspection: Inspection, case: Case, pictures: _Pictures) -> dict[str, Any]:
    sets = inspection.data.sets
    images = [
        {
            "set": sets[shot.of_set].name,
            "name": file_names(sets[shot.of_set], [shot.image])[shot.image],
            "picture": pictures.number_of(shot),
        }
        for shot in case.shots[:MOST_SHOTS]
    ]
    more = len(case.shots) - len(images)
    return {"remark": case.remark + (f", and {more} more" if more else ""), "images": images}


def _headline(inspection: Inspection, figures: list[SetFigures]) -> list[tuple[str, str]]:
    levels = [finding.level.value for finding in inspection.findings]
    pairs = [("findings: wrong", str(levels.count("wrong"))), ("findings: doubtful", str(levels.count("doubtful")))]
    for one in figures:
        pairs += [(f"images of {one.name}", f"{one.images:,}"), (f"objects of {one.name}", f"{one.objects:,}")]
    pairs.append((f"classes in {figures[0].name}", f"{figures[0].classes:,}"))
    if "0.5" in figures[0].anchor_recall:
        pairs.append(("objects with an anchor of IoU 0.5", f"{100 * figures[0].anchor_recall['0.5']:.1f}%"))
    return pairs


def _settings(inspection: Inspection) -> dict[str, Any]:
    columns = [text_column("setting"), text_column("now"), text_column("suggested"), text_column("because")]
    return table(columns, [[one.key, one.now, one.verdict, one.reason] for one in inspection.suggestions])


def _memory(inspection: Inspection) -> dict[str, Any]:
    columns = [number_column("memory, GB"), number_column("images, 16 bits"), number_column("images, 32 bits")]
    return table(columns, [list(one) for one in inspection.batch_sizes])


def _sets(figures: list[SetFigures]) -> dict[str, Any]:
    has_crowds = any(one.crowds for one in figures)
    columns = [
        text_column("set"),
        number_column("images"),
        number_column("without objects"),
        number_column("objects"),
        *([number_column("crowds")] if has_crowds else []),
        number_column("mean per image", 1, "Mean number of objects of an image"),
        number_column("max per image", 0, "Largest number of objects of an image"),
        text_column("widths", "Least, median and largest, pixels"),
        text_column("heights", "Least, median and largest, pixels"),
        number_column("touch others, %", 1, "Objects whose box meets that of another"),
        text_column("shorter edges", "5%, half and 95% of the objects, pixels after resizing"),
        number_column("anchor of IoU 0.5, %", 1, "Objects whose best anchor has an IoU of 0.5 or more"),
        number_column("best only, %", 1, "Objects whose best anchor is positive only because it is the best"),
    ]
    rows: list[list[Any]] = [
        [
            one.name,
            one.images,
            one.without_objects,
            one.objects,
            *([one.crowds] if has_crowds else []),
            one.objects_per_image[0],
            one.objects_per_image[3],
            _range(one.widths),
            _range(one.heights),
            100 * one.touching,
            " · ".join(f"{edge:.0f}" for edge in one.edges),
            100 * one.anchor_recall["0.5"] if one.anchor_recall else None,
            100 * one.best_only if one.anchor_recall else None,
        ]
        for one in figures
    ]
    return table(columns, rows)


def _range(values: tuple[int, int, int]) -> str:
    return str(values[0]) if values[0] == values[2] else " · ".join(map(str, values))


def _classes(inspection: Inspection) -> dict[str, Any]:
    sets = inspection.data.sets
    columns = [
        text_column("class"),
        *(number_column(f"objects of {one.name}") for one in sets),
        number_column(f"images of {sets[0].name}"),
        number_column("width", 0, "Median after resizing, pixels"),
        number_column("height", 0, "Median after resizing, pixels"),
        number_column("anchor of IoU 0.5, %", 1, "Objects whose best anchor has an IoU of 0.5 or more"),
    ]
    rows = [[*row[:-1], None if row[-1] is None else 100 * row[-1]] for row in class_rows(inspection.data)]
    return table(columns, rows)


def _packing(inspection: Inspection) -> dict[str, Any]:
    columns = [text_column("set"), text_column("defect"), number_column("count"), text_column("action")]
    columns.append(text_column("rule"))
    known = {defect.label: defect for defect in Defect}
    rows: list[list[Any]] = []
    for one in inspection.data.sets:
        for label, count in one.index.report.items():
            defect = known.get(label)
            action, rule = ("", "") if defect is None else (defect.action.value, defect.rule)
            rows.append([one.name, label, count, action, rule])
    return table(columns, rows)
