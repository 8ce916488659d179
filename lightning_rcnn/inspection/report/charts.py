"""The charts of an inspection."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from lightning_rcnn.inspection.inspecting import Inspection
from lightning_rcnn.pages.charts import BLUE, GRAY, GREEN, ORANGE, shortened, svg_chart

COLORS = (BLUE, ORANGE, GREEN, GRAY)
_PART = "inspection"
_MOST_POINTS = 1500
"""Points in a scatter chart: a chart of all objects of a large set would be megabytes."""
_SIZE = (6.0, 3.5)


def charts(inspection: Inspection) -> dict[str, str]:
    """Draw all charts, by the name of their place in the page."""
    return {
        "objects_chart": objects_chart(inspection),
        "images_chart": images_chart(inspection),
        "sizes_chart": sizes_chart(inspection),
        "shapes_chart": shapes_chart(inspection),
        "anchors_chart": anchors_chart(inspection),
    }


def objects_chart(inspection: Inspection) -> str:
    """Draw how many objects images have."""

    def draw(axes: Axes) -> None:
        counts = [one.num_objects for one in inspection.data.sets]
        most = max(int(one.max(initial=0)) for one in counts)
        edges = np.unique(np.linspace(0, most + 1, min(most + 2, 31)).astype(int)) - 0.5
        _histograms(axes, inspection, [np.asarray(one) for one in counts], edges)
        axes.set(xlabel="objects of an image", ylabel="share of images", title="Objects of an image")

    return svg_chart(_PART, draw, "Objects of an image", _SIZE)


def images_chart(inspection: Inspection) -> str:
    """Draw the sizes of images."""

    def draw(axes: Axes) -> None:
        for number, one in enumerate(inspection.data.sets):
            sizes, counts = np.unique(one.sizes, axis=0, return_counts=True)
            sizes, counts = _some(sizes), _some(counts)
            area = 18 + 160 * counts / counts.max()
            color = COLORS[number % len(COLORS)]
            axes.scatter(
                sizes[:, 1],
                sizes[:, 0],
                s=area,
                alpha=0.55,
                color=color,
                label=shortened(one.name),
                lw=0,
                clip_on=False,
            )
        axes.set(xlabel="width, pixels", ylabel="height, pixels", title="Sizes of images")
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        _legend(axes, inspection)

    return svg_chart(_PART, draw, "Sizes of images", _SIZE)


def sizes_chart(inspection: Inspection) -> str:
    """Draw the sizes of objects after resizing, and those of the anchors."""

    def draw(axes: Axes) -> None:
        sizes = [np.sqrt(np.maximum(frame.sides.prod(axis=1), 1e-3)) for frame in inspection.data.resized]
        anchors = _anchor_sizes(inspection)
        every = np.concatenate([*sizes, np.array(anchors, np.float32)]) if anchors else np.concatenate(sizes)
        if not len(every):
            return
        edges = np.geomspace(max(1.0, every.min() * 0.9), every.max() * 1.1, 40)
        _histograms(axes, inspection, sizes, edges)
        for number, anchor in enumerate(anchors):
            label = "anchors" if number == 0 else None
            axes.axvline(anchor, color=GREEN, linestyle="--", linewidth=1.2, label=label)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlabel="square root of the area, pixels", ylabel="share of objects", title="Sizes after resizing")
        _legend_below(axes)

    return svg_chart(_PART, draw, "Sizes of objects after resizing", (5.2, 3.5))


def shapes_chart(inspection: Inspection) -> str:
    """Draw the shapes of objects, and those of the anchors."""

    def draw(axes: Axes) -> None:
        shapes = [
            np.log2(np.maximum(frame.sides[:, 1], 1e-3) / np.maximum(frame.sides[:, 0], 1e-3)).clip(-4.2, 4.2)
            for frame in inspection.data.resized
        ]
        _histograms(axes, inspection, shapes, np.linspace(-4.25, 4.25, 35))
        rpn = inspection.data.recipe.rpn
        for number, ratio in enumerate(rpn.anchors.ratios if rpn else ()):
            label = "anchors" if number == 0 else None
            axes.axvline(float(np.log2(ratio)), color=GREEN, linestyle="--", linewidth=1.2, label=label)
        ticks = [-4, -3, -2, -1, 0, 1, 2, 3, 4]
        axes.set_xticks(ticks, [f"1:{2**-tick}" if tick < 0 else f"{2**tick}:1" for tick in ticks])
        axes.set(xlabel="height : width", ylabel="share of objects", title="Shapes")
        _legend_below(axes)

    return svg_chart(_PART, draw, "Shapes of objects", (5.2, 3.5))


def anchors_chart(inspection: Inspection) -> str:
    """Draw how many objects have an anchor of each IoU; nothing for a detector without anchors."""
    if inspection.data.anchor_iou is None:
        return ""
    all_iou = inspection.data.anchor_iou

    def draw(axes: Axes) -> None:
        at = np.linspace(0, 1, 101)
        for number, (one, iou) in enumerate(zip(inspection.data.sets, all_iou, strict=True)):
            shares = [float((iou >= threshold).mean()) if len(iou) else 0.0 for threshold in at]
            axes.plot(at, shares, color=COLORS[number % len(COLORS)], linewidth=2, label=shortened(one.name))
        rpn = inspection.data.recipe.rpn
        if rpn is not None:
            axes.axvline(rpn.positive_iou, color=GRAY, linestyle=":", label=f"positive, {rpn.positive_iou:g}")
            axes.axvline(rpn.negative_iou, color=GRAY, linestyle="--", label=f"negative, {rpn.negative_iou:g}")
        axes.set(xlabel="IoU with the best anchor", ylabel="share of objects", title="Recall of the anchors")
        axes.set(xlim=(0, 1), ylim=(0, 1.03))
        axes.legend(frameon=False, fontsize=8, loc="lower left")

    return svg_chart(_PART, draw, "Recall of the anchors", (5.2, 3.5))


def _histograms(axes: Axes, inspection: Inspection, values: list[np.ndarray], edges: np.ndarray) -> None:
    """Draw the histogram of each set: the first filled, others as lines."""
    for number, (one, own) in enumerate(zip(inspection.data.sets, values, strict=True)):
        counts, _ = np.histogram(own, edges)
        color = COLORS[number % len(COLORS)]
        axes.stairs(counts / max(1, counts.sum()), edges, color=color, linewidth=2, label=shortened(one.name))
        if number == 0:
            axes.stairs(counts / max(1, counts.sum()), edges, fill=True, color=color, alpha=0.35)
    _legend(axes, inspection)


def _legend(axes: Axes, inspection: Inspection) -> None:
    if len(inspection.data.sets) > 1:
        axes.legend(frameon=False, fontsize=8)


def _legend_below(axes: Axes) -> None:
    """Draw the legend under the axes: the lines of the anchors would cross it anywhere else."""
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _anchor_sizes(inspection: Inspection) -> tuple[float, ...]:
    rpn = inspection.data.recipe.rpn
    return () if rpn is None else rpn.anchors.sizes


def _some(values: np.ndarray) -> np.ndarray:
    """Return evenly chosen rows."""
    return values[:: max(1, len(values) // _MOST_POINTS)]
