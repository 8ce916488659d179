"""The report on a terminal: findings first, then figures and settings."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from lightning_rcnn.inspection.findings.finding import Finding, Level
from lightning_rcnn.inspection.inspecting import Inspection
from lightning_rcnn.inspection.pictures import file_names
from lightning_rcnn.inspection.report.overview import SetFigures, class_rows, figures_of

MOST_CLASSES = 30
"""Classes in the table."""
_COLORS = {Level.WRONG: "red", Level.DOUBTFUL: "yellow", Level.NOTE: "cyan"}


def print_report(inspection: Inspection, console: Console) -> None:
    """Print the report of an inspection."""
    console.print(_findings(inspection))
    if not inspection.findings:
        console.print("Nothing doubtful was found.")
    console.print(_sets(figures_of(inspection.data)))
    console.print(_classes(inspection))
    if inspection.suggestions:
        console.print(_settings(inspection))
    if inspection.batch_sizes:
        sizes = ", ".join(
            f"{one.memory_gb:g} GB: {one.in_16_bits} ({one.in_32_bits})" for one in inspection.batch_sizes
        )
        line = f"Estimated images of a training step (within a third) in 16 bits (and in 32), by memory: {sizes}."
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(*headers: str) -> Table:
    columns = [Column(name, justify="left" if number == 0 else "right") for number, name in enumerate(headers)]
    return Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _findings(inspection: Inspection) -> Table:
    table = Table("", "finding", "first", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for finding in inspection.findings:
        level = Text(finding.level, style=_COLORS[finding.level])
        table.add_row(level, Text(finding.title), Text(_first(inspection, finding)))
    return table


def _first(inspection: Inspection, finding: Finding) -> str:
    """Name the first case of a finding."""
    if not finding.cases:
        return ""
    case = finding.cases[0]
    sets = inspection.data.sets
    names = [
        f"{sets[shot.of_set].name}: {file_names(sets[shot.of_set], [shot.image])[shot.image]}"
        for shot in case.shots[:2]
    ]
    return " = ".join(names) + (f" ({case.remark})" if case.remark else "")


def _sets(figures: list[SetFigures]) -> Table:
    table = _table("", *(one.name for one in figures))
    has_anchors = any(one.anchor_recall for one in figures)
    rows = {
        "images": [f"{one.images}" for one in figures],
        "without objects": [f"{one.without_objects}" for one in figures],
        "objects": [f"{one.objects}" for one in figures],
        "crowds": [f"{one.crowds}" for one in figures],
        "objects an image, mean (max)": [
            f"{one.objects_per_image[0]:.1f} ({one.objects_per_image[3]})" for one in figures
        ],
        "classes with objects": [f"{one.classes}" for one in figures],
        "width, least to largest": [f"{one.widths[0]} to {one.widths[2]}" for one in figures],
        "height, least to largest": [f"{one.heights[0]} to {one.heights[2]}" for one in figures],
        "objects that touch others": [f"{one.touching:.1%}" for one in figures],
        "shorter edge resized, 5% 50% 95%": [" ".join(f"{edge:.0f}" for edge in one.edges) for one in figures],
    }
    if has_anchors:
        rows["best anchor's IoU 0.5 or more"] = [f"{one.anchor_recall.get('0.5', 0):.1%}" for one in figures]
        rows["anchor positive only as the best"] = [f"{one.best_only:.1%}" for one in figures]
    for name, cells in rows.items():
        if name != "crowds" or any(one.crowds for one in figures):
            table.add_row(name, *cells)
    return table


def _classes(inspection: Inspection) -> Table:
    sets = inspection.data.sets
    table = _table(
        "class", *(one.name for one in sets), f"images of {sets[0].name}", "width\nresized", "height\nresized"
    )
    rows = class_rows(inspection.data)
    for row in rows[:MOST_CLASSES]:
        name, *numbers = row[: 2 + len(sets)]
        sides = ["-" if side is None else f"{side:.0f}" for side in row[2 + len(sets) : 4 + len(sets)]]
        table.add_row(Text(str(name)), *map(str, numbers), *sides)
    if len(rows) > MOST_CLASSES:
        table.add_row(f"and {len(rows) - MOST_CLASSES} more")
    return table


def _settings(inspection: Inspection) -> Table:
    table = Table("setting", "now", "suggested", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.title = Text(f"Settings of {inspection.data.recipe.name}, {inspection.data.recipe.detector}")
    table.title_justify = "left"
    for one in inspection.suggestions:
        table.add_row(Text(one.key), Text(one.now), Text(one.verdict))
    return table
