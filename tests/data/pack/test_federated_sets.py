"""Sets in which an image was looked through for some classes only, from LVIS's JSON to shards and back."""

import json

import pytest
from PIL import Image

from lightning_rcnn.cli.commands.unpack import unpack
from lightning_rcnn.data.index import Category, ShardIndex
from lightning_rcnn.data.pack.class_choice import read_choice, with_targets
from lightning_rcnn.data.pack.coco import coco_source
from lightning_rcnn.data.pack.combine import combine
from lightning_rcnn.data.pack.write import write_shards
from lightning_rcnn.errors import InputError

CATEGORIES = [
    {"id": 3, "name": "cat", "frequency": "f"},
    {"id": 5, "name": "dog", "frequency": "c"},
    {"id": 9, "name": "eel", "frequency": "f"},
    {"id": 10, "name": "fox", "frequency": 12},  # another program's
]
LISTS = [
    {"neg_category_ids": [9, 77], "not_exhaustive_category_ids": [3]},
    {"neg_category_ids": [], "not_exhaustive_category_ids": []},
]


@pytest.fixture
def make(tmp_path):
    """Return a function that writes a set of two images, each with a cat, and returns its JSON file."""

    def make(name, lists=LISTS, categories=CATEGORIES):
        folder = tmp_path / name
        folder.mkdir()
        images = [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} | own for n, own in enumerate(lists, 1)]
        for image in images:
            Image.new("RGB", (8, 8), (image["id"], len(name), 40)).save(folder / image["file_name"])
        annotations = [{"id": n, "image_id": n, "category_id": 3, "bbox": [1, 1, 4, 4]} for n in (1, 2)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "set.json").write_text(json.dumps(content))
        return folder / "set.json"

    return make


def source_of(file, **options):
    return coco_source(file.parent, file, **options)


def test_the_index_tells_that_a_set_is_federated_and_how_frequent_its_classes_are(make, tmp_path):
    index = write_shards(source_of(make("lvis")), tmp_path / "packed")
    assert index.is_federated
    assert [category.frequency for category in index.categories] == ["f", "c", "f", ""]
    text = (tmp_path / "packed" / "index.json").read_text()
    again = ShardIndex.from_json(text, "x")
    assert (again.is_federated, again.categories, again.to_json()) == (True, index.categories, text)
    assert [category.frequency for category in again.categories] == ["f", "c", "f", ""]
    plain = [{key: each[key] for key in ("id", "name")} for each in CATEGORIES]
    other = write_shards(source_of(make("coco", [{}, {}], plain)), tmp_path / "other")
    assert not other.is_federated
    assert not {"is_federated", "frequency"} & set((tmp_path / "other" / "index.json").read_text().split('"'))
    assert other.categories == index.categories, "a model of one set fits the other"


def test_a_changed_frequency_is_noticed(make, tmp_path):
    write_shards(source_of(make("lvis")), tmp_path / "packed")
    text = (tmp_path / "packed" / "index.json").read_text()
    with pytest.raises(InputError, match="changed by hand"):
        ShardIndex.from_json(text.replace('"frequency":"c"', '"frequency":"r"'), "index.json")


def test_a_federated_set_comes_back_as_it_was(make, tmp_path):
    file = make("lvis", categories=CATEGORIES[:3])
    write_shards(source_of(file), tmp_path / "packed")
    unpack(str(tmp_path / "packed"), "coco", tmp_path / "coco")
    before, after = (json.loads(path.read_text()) for path in (file, tmp_path / "coco" / "annotations.json"))
    assert after["categories"] == before["categories"]
    lists = [{key: image[key] for key in LISTS[0]} for image in after["images"]]
    assert lists == [LISTS[0] | {"neg_category_ids": [9]}, LISTS[1]], "but category 77, which does not exist"
    again = write_shards(
        coco_source(tmp_path / "coco" / "images", tmp_path / "coco" / "annotations.json"), tmp_path / "2"
    )
    assert again.is_federated


def test_formats_without_a_place_for_the_lists_say_so(make, tmp_path, capsys):
    write_shards(source_of(make("lvis")), tmp_path / "packed")
    unpack(str(tmp_path / "packed"), "csv", tmp_path / "csv")
    assert "2 lists of the classes that an image was looked through for are left out: csv" in capsys.readouterr().out


def test_chosen_classes_keep_their_frequency_unless_they_become_one(make):
    source = source_of(make("lvis"))
    chosen = with_targets(source, read_choice("dog;cat,eel=pet;fox"))
    assert [(each.name, each.frequency) for each in chosen.categories] == [("dog", "c"), ("pet", "f"), ("fox", "")]
    mixed = with_targets(source, read_choice("cat,dog=pet;eel=eel"))
    assert [(each.name, each.frequency) for each in mixed.categories] == [("pet", ""), ("eel", "f")]
    named = source_of(make("named"), classes=["eel", "dog", "buffalo"])
    assert [each.frequency for each in named.categories] == ["f", "c", ""]
    outcomes = [chosen.read(item).sample.record for item in chosen.items]
    assert [each["negative_labels"] for each in outcomes] == [[2], []], "eels are pets"
    assert [each["not_exhaustive_labels"] for each in outcomes] == [[2], []]
    assert chosen.is_federated


def test_sets_of_two_kinds_are_not_packed_as_one(make):
    sources = {name: source_of(make(name, lists)) for name, lists in (("a", LISTS), ("b", LISTS), ("c", [{}, {}]))}
    both = combine([{"": sources["a"]}, {"": sources["b"]}], ["a", "b"], "both")[""]
    assert both.is_federated
    with pytest.raises(InputError, match=r"set is federated \(neg_category_ids\), and set is annotated for all"):
        combine([{"": sources["a"]}, {"": sources["c"]}], ["a", "c"], "both")


def test_categories_that_differ_in_frequency_only_are_equal():
    assert Category(1, "cat", 3, "f") == Category(1, "cat", 3)
