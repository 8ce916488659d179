import json
import sys

import pytest
import wandb
from wandb.errors import CommError
from wandb.plot.custom_chart import CustomChartSpec

from lightning_rcnn.cli.board_sections import SECTIONS, Bars, Chart, Curves, Images, Table
from lightning_rcnn.cli.commands.board import PINNED_COLUMNS

EXTRA = pytest.importorskip("wandb_workspaces.workspaces", reason="the extra `board` is not installed")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever would reach W&B fails the test."""
    for variable in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(wandb, "login", lambda **_: pytest.fail("a key is asked for"))
    monkeypatch.setattr(EXTRA.Workspace, "save", lambda self: pytest.fail("saves"))


KINDS = {
    Curves: "Run History Line Plot",
    Bars: "Bar Chart",
    Images: "Media Browser",
    Chart: "Vega2",
    Table: "Weave",
}


def texts(content):
    """All texts in a specification, at any depth."""
    if isinstance(content, dict | list):
        values = content.values() if isinstance(content, dict) else content
        return {text for value in values for text in texts(value)}
    return {content} if isinstance(content, str) else set()


def meant(panel):
    if isinstance(panel, Curves):
        return {panel.title, *panel.keys, panel.pattern} - {""}
    if isinstance(panel, Bars):
        return {panel.title, *panel.keys}
    if isinstance(panel, Chart):
        logged = CustomChartSpec(panel.preset, {}, {}, key=panel.key, split_table=True)
        return {panel.title, panel.preset, logged.table_key, *panel.fields.values()}
    return {panel.key, *([panel.title] if isinstance(panel, Images) else [])}


def test_the_specification_has_the_sections(run, tmp_path):
    """Read back from the JSON that W&B gets."""
    assert run("board", "--out", tmp_path / "made" / "board.json").status == 0
    content = json.loads((tmp_path / "made" / "board.json").read_text())["section"]
    sections = content["panelBankConfig"]["sections"]
    names = ["Headline", "Losses", "Data and speed", "Classes", "Errors", "Images"]
    assert [section["name"] for section in sections] == names
    for written, section in zip(sections, SECTIONS, strict=True):
        assert written["isOpen"]
        for panel, given in zip(written["panels"], section.panels, strict=True):
            assert meant(given) <= texts(panel["config"])
            assert panel["viewType"] == KINDS[type(given)]
            if isinstance(given, Curves):
                assert panel["config"]["xAxis"] == "trainer/global_step"
                assert panel["config"].get("useMetricRegex", False) == bool(given.pattern)
    pinned = content["runSets"][0]["runFeed"]["columnPinned"]
    assert list(pinned) == ["run:displayName", *(f"summary:{key}" for key in PINNED_COLUMNS)]


def test_it_is_saved_in_the_project(run, monkeypatch):
    saved = []
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(EXTRA.Workspace, "save", lambda self: saved.append((self.entity, self.project, self.name)))
    assert run("board", "--entity", "team", "--project", "cells", "--name", "Mine").status == 0
    monkeypatch.setenv("WANDB_ENTITY", "others")
    monkeypatch.setenv("WANDB_PROJECT", "stars")
    assert run("board").status == 0
    assert saved == [("team", "cells", "Mine"), ("others", "stars", "Detection")]


def test_what_is_missing_is_one_line(run, error_line, monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    assert error_line("board") == "board: W&B has no key: set WANDB_API_KEY, or run `wandb login`"

    def unreachable(self):
        raise CommError("Failed to verify credentials with http://127.0.0.1:9:\nno route")

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(EXTRA.Workspace, "save", unreachable)
    assert "http://127.0.0.1:9: no route; check network, key" in error_line("board", "--entity", "team")
    assert error_line("board", "--name", "\N{ROCKET}").startswith("--name \N{ROCKET}: W&B does not allow it")
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert error_line("board").endswith("install it with `pip install 'lightning-rcnn[board]'`")
