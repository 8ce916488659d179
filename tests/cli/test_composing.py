from pathlib import Path

import pytest

from lightning_rcnn.cli.composing import compose, merge
from lightning_rcnn.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def test_bases_are_relative_to_their_file_and_read_first(write):
    write("trainer/gpu.yaml", "trainer: {devices: 8, precision: bf16}\nlist: [1, 2]\n")
    write("model/small.yaml", "base: ../trainer/gpu.yaml\nmodel: {width: 1}\ntrainer: {devices: 4}\n")
    top = write("top.yaml", "base: [model/small.yaml]\nmodel: {depth: 2}\nlist: [3]\n")
    assert compose([top]).content == {
        "trainer": {"devices": 4, "precision": "bf16"},
        "model": {"width": 1, "depth": 2},
        "list": [3],
    }


def test_several_files_merge_in_the_order_given(write):
    first, second = write("a.yaml", "a: {x: 1, y: 1}\n"), write("b.yaml", "a: {y: 2}\n")
    assert compose([first, second]).content == {"a": {"x": 1, "y": 2}}
    assert compose([second, first]).content == {"a": {"x": 1, "y": 1}}


def test_a_value_is_traced_to_the_line_that_set_it_last(write):
    base = write("base.yaml", "a:\n  x: 1\n  y: 2\n")
    top = write("top.yaml", "base: base.yaml\na:\n  y: 3\n")
    composition = compose([top])
    assert composition.origin(("a", "x")) == f"{base}:2"
    assert composition.origin(("a", "y")) == f"{top}:3"
    assert composition.origin(("a", "y", "deeper")) == f"{top}:3"
    assert composition.origin(("b",)) is None


def test_numbers_with_an_exponent_are_numbers(write):
    content = compose([write("a.yaml", "a: 4e-4\nb: 1.5E3\nc: -2e+1\nd: e4\ne: 1e\n")]).content
    assert content == {"a": 0.0004, "b": 1500.0, "c": -20.0, "d": "e4", "e": "1e"}


def test_an_empty_file_is_an_empty_mapping(write):
    assert compose([write("a.yaml", "# nothing yet\n")]).content == {}


def test_merging_replaces_everything_but_two_mappings():
    assert merge({"a": {"x": 1}, "b": [1]}, {"a": None, "b": [2], "c": {"y": 1}}) == {
        "a": None,
        "b": [2],
        "c": {"y": 1},
    }


def test_arguments_without_a_class_are_those_of_the_class_that_another_file_names(write):
    short = write("short.yaml", "rpn:\n  ratios: [1]\n  anchors: {sizes: [8]}\n")
    named = write("named.yaml", "rpn:\n  class_path: RPN\n  init_args: {ratios: [2], anchors: {order: x}}\n")
    anchors = {"sizes": [8], "order": "x"}
    composition = compose([short, named])
    assert composition.content == {"rpn": {"class_path": "RPN", "init_args": {"ratios": [2], "anchors": anchors}}}
    assert composition.origin(("rpn", "init_args", "anchors", "sizes")) == f"{short}:3"
    assert composition.origin(("rpn", "init_args", "ratios")) == f"{named}:3"
    composition = compose([named, short])
    assert composition.content == {"rpn": {"class_path": "RPN", "init_args": {"ratios": [1], "anchors": anchors}}}
    assert composition.origin(("rpn", "init_args", "ratios")) == f"{short}:2"
    assert composition.replaced_class(("rpn", "init_args", "ratios"), None) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("base: nothing.yaml", ":1: base {folder}/nothing.yaml: no such configuration file"),
        (
            "a: 1\nbase: [bases.yaml]",
            ":2: base {folder}/bases.yaml: no such configuration file; did you mean base.yaml?",
        ),
        ("base: 3", ":1: base is a file or a list of files"),
        ("base: top.yaml", ":1: base {folder}/top.yaml is its own base"),
        ("a: 1\nb:\n  c: 1\n  c: 2", ":4: b.c is already given in line 3"),
        ("a: 1\n b: 2", ":2: not valid YAML: mapping values are not allowed"),
        ("- 1", ": a configuration is a mapping of keys to values, not a sequence"),
        ("a: \x00", ": not"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(write, text, problem):
    write("base.yaml", "a: 1\n")
    top = write("top.yaml", text)
    with pytest.raises(InputError) as caught:
        compose([top])
    assert str(caught.value).startswith(f"{top}{problem.format(folder=top.parent)}")
    assert "\n" not in str(caught.value)


def test_what_a_replaced_class_leaves_over_can_be_told(write):
    """An argument that an earlier file gave to another class; not one of the file that names the class."""
    write("base.yaml", "m: {class_path: A, init_args: {old: 1, kept: 2}}\n")
    top = write("top.yaml", "base: base.yaml\nm: {class_path: some.B, init_args: {kept: 3, own: 4}}\n")
    composition = compose([top])
    replaced = [composition.replaced_class(("m", "init_args", key), None) for key in ("old", "kept", "own")]
    assert replaced == ["A", None, None]
    composition.remove(("m", "init_args", "old"))
    assert composition.content == {"m": {"class_path": "some.B", "init_args": {"kept": 3, "own": 4}}}
    again = write("again.yaml", "base: base.yaml\nm: {class_path: some.A}\n")
    assert compose([again]).replaced_class(("m", "init_args", "old"), None) is None


def test_what_the_usual_class_leaves_over_can_be_told(write):
    """An argument that an earlier file gave without a class is one of the class that stands there by default."""
    write("base.yaml", "m: {old: 1}\n")
    top = write("top.yaml", "base: base.yaml\nm: {class_path: B, init_args: {own: 4}}\n")
    composition = compose([top])
    replaced = [composition.replaced_class(("m", "init_args", key), "A") for key in ("old", "own")]
    assert replaced == ["A", None]
    assert compose([top]).replaced_class(("m", "init_args", "old"), "some.B") is None
    alone = write("alone.yaml", "m: {old: 1}\n")
    assert compose([alone]).replaced_class(("m", "old"), "A") is None


def test_merge_keys_are_read_and_unreadable_values_named(write):
    assert compose([write("merged.yaml", "a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\n")]).content["b"] == {"x": 2, "y": 1}
    for text in ("a: !include other.yaml", "a: 2024-13-45"):
        with pytest.raises(InputError, match=r"wrong\.yaml(:1)?: not a readable value: "):
            compose([write("wrong.yaml", text)])
