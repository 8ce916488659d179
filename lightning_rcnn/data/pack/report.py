"""Print the report of a packing as a table."""

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_rcnn.data.defects import Action, DefectLog
from lightning_rcnn.data.index import ShardIndex
from lightning_rcnn.plural import plural

_STYLES = {Action.NOTED: "dim", Action.KEPT: "yellow", Action.REPAIRED: "green", Action.SKIPPED: "red"}


def print_report(
    console: Console, index: ShardIndex, log: DefectLog, label_counts: Counter[int], num_masks: int
) -> None:
    """Print the defects with their rules, and the contents: objects by label, and the number of masks.

    Args:
        console: console to print on.
        index: index of the packed set.
        log: defects of the data set.
        label_counts: label -> number of objects.
        num_masks: number of objects with a mask.
    """
    if log.counts:
        table = Table(title=escape(f"{index.name}: defects"), title_justify="left")
        for column in ("defect", "action", "count", "rule", "first"):
            table.add_column(column, justify="right" if column == "count" else "left", overflow="fold")
        for defect, count, location in log.rows():
            action = f"[{_STYLES[defect.action]}]{defect.action}"
            table.add_row(defect.label, action, f"{count:,}", escape(defect.rule), escape(location))
        console.print(table)
    counts = [f"{category.name} {count}" for category in index.categories if (count := label_counts[category.label])]
    if unseen := len(index.categories) - len(counts):
        counts.append(f"none of {plural(unseen, 'other class')}")
    masks = f"{num_masks:,} of them with masks" if num_masks else "none with a mask"
    objects = plural(label_counts.total(), "object")
    totals = f"{plural(len(index), 'image')} in {plural(len(index.shards), 'shard')}, {objects}, {masks}"
    console.print(escape(f"{index.name}: {totals}: {', '.join(counts)}"))
    if not index.pixels.is_rgb:
        console.print(escape(f"{index.name}: {index.pixels.describe()}"), highlight=False)
