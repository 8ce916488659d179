import json

import pytest

from lightning_rcnn.cli.commands.bench_loader import loader
from lightning_rcnn.cli.commands.pack import pack_shapes
from lightning_rcnn.errors import InputError


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "set"
    pack_shapes(folder, num=10, workers=1)
    return str(folder)


def test_all_stages_see_the_same_images(shards, tmp_path, capsys):
    loader([shards], images=8, batch_size=3, min_size=64, max_size=96, repeats=2, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [stage["images"] for stage in report["stages"]] == [6] * 6
    assert report["stages"][4]["name"] == "transformed, with masks and copy-paste"
    assert all(len(stage["seconds"]) == 2 for stage in report["stages"])
    assert [start["batch"] for start in report["starts"]] == [0, 1]
    assert "1.00" in capsys.readouterr().out


def test_too_few_images_are_named(shards):
    with pytest.raises(InputError, match="10 images are fewer than one batch"):
        loader([shards], batch_size=11)


@pytest.mark.parametrize("options", [{"repeats": 0}, {"images": 0}, {"workers": -1}])
def test_impossible_options_are_named(shards, options):
    with pytest.raises(InputError, match=f"--{next(iter(options))} "):
        loader([shards], **options)
