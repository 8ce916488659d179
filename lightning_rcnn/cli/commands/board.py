"""`lightning-rcnn board`: a saved workspace in W&B that shows what a run logs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import wandb

from lightning_rcnn.callbacks.wandb_logging import DEFAULT_PROJECT, STEP
from lightning_rcnn.cli import board_sections
from lightning_rcnn.cli.board_sections import SECTIONS, Bars, Chart, Curves, Images
from lightning_rcnn.cli.output_paths import require_file
from lightning_rcnn.errors import InputError
from lightning_rcnn.files import atomic_write

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes
    from wandb_workspaces.workspaces import Workspace

PINNED_COLUMNS = ("best/val/bbox/AP", "best/val/segm/AP", "best/epoch")
"""Figures of the summary beside the name of each run."""


def board(
    project: str | None = None, entity: str | None = None, name: str = "Detection", out: Path | None = None
) -> None:
    """Save a workspace in a W&B project: AP, losses, data and speed, classes, errors, images.

    It shows all runs of the project, also later ones. Each call saves a new workspace and prints its address.

    Args:
        project: W&B project; by default `WANDB_PROJECT`, else "lightning-rcnn".
        entity: user or team; by default `WANDB_ENTITY`, else that of the key.
        name: name of the workspace.
        out: JSON file to write the specification to, instead of saving it in W&B; needs no network and no key.

    Raises:
        InputError: the extra `board` or a key is missing, or W&B does not take the workspace.
    """
    workspace = build(project or os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT), entity or "", name)
    if out is not None:
        require_file(out, "--out")
        with atomic_write(out) as file:
            file.write(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode())
        return
    try:
        if not wandb.login(prompt=False, verify=False):
            raise InputError("board: W&B has no key: set WANDB_API_KEY, or run `wandb login`")
        workspace.entity = entity or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity or ""
        workspace.save()
    except InputError:
        raise
    # W&B has several kinds of errors for a network that is missing, a wrong key and a missing project.
    except Exception as error:
        raise InputError(
            f"board: W&B does not take it: {' '.join(str(error).split())}; check network, key, --project and --entity, "
            "or write the specification with --out FILE"
        ) from error


def build(project: str, entity: str, name: str) -> "Workspace":
    """Build the workspace of `SECTIONS`; it needs no network.

    Raises:
        InputError: the extra `board` is missing, or W&B does not allow the name.
    """
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise InputError(
            "board: the package wandb-workspaces is missing; install it with `pip install 'lightning-rcnn[board]'`"
        ) from None
    sections = [
        ws.Section(name=section.name, panels=[_panel(panel) for panel in section.panels], is_open=True)
        for section in SECTIONS
    ]
    try:
        return ws.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=sections,
            settings=ws.WorkspaceSettings(x_axis=STEP),
            runset_settings=ws.RunsetSettings(pinned_columns=[f"summary:{key}" for key in PINNED_COLUMNS]),
        )
    except ValueError as error:  # pydantic's; W&B allows no emoji
        raise InputError(f"--name {name}: W&B does not allow it: use letters, digits and spaces") from error


def _panel(panel: board_sections.Panel) -> "PanelTypes":
    import wandb_workspaces.reports.v2 as wr

    if isinstance(panel, Curves):
        return wr.LinePlot(title=panel.title, x=STEP, y=list(panel.keys), metric_regex=panel.pattern or None)
    if isinstance(panel, Bars):
        return wr.BarPlot(title=panel.title, metrics=list(panel.keys))
    if isinstance(panel, Images):
        return wr.MediaBrowser(title=panel.title, media_keys=[panel.key])
    if isinstance(panel, Chart):
        query = {"summaryTable": {"tableKey": panel.table}}
        return wr.CustomChart(
            query=query, chart_name=panel.preset, chart_fields=panel.fields, chart_strings={"title": panel.title}
        )
    return wr.WeavePanelSummaryTable(table_name=panel.key)
