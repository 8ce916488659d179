"""Charts of an error analysis in W&B, drawn by presets of its page from tables."""

import wandb
from wandb.plot import CustomChart

from lightning_rcnn.evaluation.analysis.analysis import Analysis
from lightning_rcnn.evaluation.report_page.plots import confusion_table

MAX_CURVES = 12
"""Number of classes with a precision-recall curve: those with the largest losses."""
MAX_CONFUSED = 30
"""Number of classes in the confusion matrix: those with most errors."""
MEAN = "mean of all classes"
NO_OBJECT, NOT_FOUND = "no object", "missed"


def precision_recall_chart(analysis: Analysis) -> CustomChart | None:
    """Build the precision-recall curves of the classes with the largest losses, and their mean; None without any.

    `wandb.plot.pr_curve` takes one label for each detection, knows no missed objects, and needs scikit-learn.
    """
    curves = {}
    if analysis.precisions:
        names = [one.name for one in analysis.classes if one.name in analysis.precisions_of_classes]
        curves = {name: analysis.precisions_of_classes[name] for name in names[:MAX_CURVES]}
        curves[MEAN] = analysis.precisions
    rows = [
        [name, recall / (len(curve) - 1), precision]
        for name, curve in curves.items()
        for recall, precision in enumerate(curve)
    ]
    if not rows:
        return None
    return wandb.plot_table(
        "wandb/area-under-curve/v0",
        wandb.Table(columns=["class", "recall", "precision"], data=rows),
        {"x": "recall", "y": "precision", "class": "class"},
        {"title": "Precision by recall, IoU .50", "x-axis-title": "recall", "y-axis-title": "precision"},
        split_table=True,
    )


def confusion_chart(analysis: Analysis) -> CustomChart | None:
    """Build the confusion matrix of the classes with most errors, and of the background; None without any cell.

    `wandb.plot.confusion_matrix` takes a list of all samples; counts make the same table.
    """
    if not analysis.confusions:
        return None
    names, table = confusion_table(analysis.confusions, MAX_CONFUSED)
    rows = [
        [actual or NO_OBJECT, predicted or NOT_FOUND, int(table[row, column])]
        for row, actual in enumerate(names)
        for column, predicted in enumerate(names)
    ]
    fields = ("Actual", "Predicted", "nPredictions")
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=list(fields), data=rows),
        {field: field for field in fields},
        {"title": "Objects and detections at the best threshold"},
        split_table=True,
    )
