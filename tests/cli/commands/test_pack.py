import importlib

import pytest
from jsonargparse import auto_cli

from lightning_rcnn.cli.commands.pack import pack_coco, pack_shapes, pack_voc
from lightning_rcnn.cli.registry import TOOLS
from lightning_rcnn.cli.tools import tool_parser
from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.any_format import TITLES
from lightning_rcnn.data.pack.source import Source


@pytest.mark.parametrize("command", [pack_voc, pack_coco, pack_shapes])
def test_every_flag_is_explained(command, capsys):
    with pytest.raises(SystemExit):
        auto_cli(command, as_positional=False, args=["--help"])
    text = capsys.readouterr().out
    for flag in ("--out", "--strict", "--overwrite", "--workers", "--shard_size"):
        assert flag in text
    assert "unknown" not in text, "a parameter without a line in the docstring"


@pytest.mark.parametrize("name", [name for name in TOOLS if name.startswith("pack ")])
def test_every_format_has_a_command_whose_options_are_explained(name):
    parser = tool_parser(name, getattr(importlib.import_module(TOOLS[name].module), TOOLS[name].function))
    assert all(action.help for action in parser._actions)
    if name.removeprefix("pack ") not in ("auto", "shapes", "webdataset"):
        assert name.removeprefix("pack ") in TITLES


def test_pack_shapes_prints_what_it_packed(tmp_path, capsys):
    auto_cli(pack_shapes, as_positional=False, args=["--out", str(tmp_path / "set"), "--num", "4", "--seed", "2"])
    assert (tmp_path / "set" / "index.json").is_file()
    assert "shapes/2: 4 images in 1 shard, " in capsys.readouterr().out


def test_pack_voc_takes_classes_with_commas(tmp_path, capsys, monkeypatch):
    seen = {}
    source = Source(
        "set", [Category(label, name, label) for label, name in enumerate(["dog", "traffic light"], 1)], [], str
    )
    monkeypatch.setattr(
        "lightning_rcnn.data.pack.any_format.voc_source", lambda root, split, **options: seen.update(options) or source
    )
    monkeypatch.setattr("lightning_rcnn.cli.commands.packing.write_splits", lambda sources, out, **options: None)
    pack_voc(tmp_path, tmp_path / "out", split="train", classes="dog, traffic light")
    assert seen == {"classes": ["dog", "traffic light"], "coordinates": "one_based"}
