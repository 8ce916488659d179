"""All rules, and the order of what they find: what is surely wrong first."""

from lightning_rcnn.inspection.findings.finding import Finding, Inspected, Level
from lightning_rcnn.inspection.findings.of_boxes import box_findings
from lightning_rcnn.inspection.findings.of_images import image_findings
from lightning_rcnn.inspection.findings.of_sets import set_findings


def find_all(data: Inspected) -> list[Finding]:
    """Apply all rules; the surest findings come first."""
    found = [*set_findings(data), *image_findings(data), *box_findings(data)]
    return sorted(found, key=lambda finding: list(Level).index(finding.level))
