"""The report as plain data, for programs."""

from dataclasses import asdict
from typing import Any

from lightning_rcnn.inspection.findings.finding import Case
from lightning_rcnn.inspection.inspecting import Inspection
from lightning_rcnn.inspection.pictures import file_names
from lightning_rcnn.inspection.report.overview import class_rows, figures_of

MOST_CASES = 200
"""Cases of a finding that are listed."""


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Return findings and figures as plain data."""
    data = inspection.data
    rule = data.recipe.rule
    return {
        "recipe": {
            "name": data.recipe.name,
            "detector": data.recipe.detector,
            "min_size": rule.min_size,
            "max_size": rule.max_size,
            "anchors": None if data.recipe.rpn is None else list(data.recipe.rpn.anchors.sizes),
        },
        "findings": [
            {
                "kind": finding.kind,
                "level": finding.level.value,
                "title": finding.title,
                "rule": finding.rule,
                "advice": finding.advice,
                "count": finding.count,
                "cases": [_case(inspection, case) for case in finding.cases[:MOST_CASES]],
            }
            for finding in inspection.findings
        ],
        "sets": [asdict(figures) for figures in figures_of(data)],
        "classes": [
            {"name": row[0], "objects": dict(zip([one.name for one in data.sets], row[1:], strict=False))}
            for row in class_rows(data)
        ],
        "suggestions": [asdict(one) for one in inspection.suggestions],
        "batch_sizes": [one._asdict() for one in inspection.batch_sizes],
    }


def _case(inspection: Inspection, case: Case) -> dict[str, Any]:
    images = []
    for shot in case.shots:
        one = inspection.data.sets[shot.of_set]
        image_ids = [image_id for shard in one.index.shards for image_id in shard.image_ids]
        images.append(
            {
                "set": one.name,
                "image_id": image_ids[shot.image],
                "file_name": file_names(one, [shot.image])[shot.image],
                "boxes": one.boxes[list(shot.objects)].tolist(),
            }
        )
    return {"remark": case.remark, "images": images}
