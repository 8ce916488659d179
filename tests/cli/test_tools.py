import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from lightning_rcnn.cli.tools import run_tool, tool_parser
from lightning_rcnn.errors import InputError


@pytest.fixture
def calls():
    return []


@pytest.fixture
def tool(calls):
    def paint(
        source: Path,
        colors: list[str],
        sizes: tuple[int, ...] = (1, 2),
        strength: float = 0.5,
        how: Literal["oil", "water"] = "oil",
        title: str | None = None,
        glossy: bool = False,
    ) -> None:
        """Paint.

        Args:
            source: what.
            colors: which.
            sizes: of brushes.
            strength: how thick.
            how: with what.
            title: below.
            glossy: or matt.
        """
        calls.append(locals() | {"calls": None})

    return paint


def test_arguments_reach_the_function_with_their_types(tool, calls):
    words = "--source a.jpg --colors red blue --sizes 3 --strength 1e-3 --how water --glossy"
    run_tool("paint", tool, words.split())
    (given,) = calls
    assert given["source"] == Path("a.jpg")
    assert given["colors"] == ["red", "blue"]
    assert list(given["sizes"]) == [3]
    assert given["strength"] == 0.001
    assert (given["how"], given["title"], given["glossy"]) == ("water", None, True)


def test_defaults_are_those_of_the_signature(tool, calls):
    run_tool("paint", tool, ["--source", "a.jpg", "--colors", "red"])
    (given,) = calls
    assert list(given["sizes"]) == [1, 2]
    assert (given["strength"], given["how"], given["glossy"]) == (0.5, "oil", False)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--colors red", "--source is missing"),
        ("", "--source, --colors are missing"),
        ("--source a --colors r --strength much", "--strength: 'much' is not float"),
        ("--source a --colors r --how watre", "--how: 'watre' is not one of oil, water; did you mean water?"),
        ("--source a --colors r --strenght 1", "--strenght: no such option; did you mean --strength?"),
        ("--source a --colors r --stren 1", "--stren: no such option; did you mean --strength?"),
        ("--source a --colors r --glossy yes", "yes: nothing takes this argument"),
    ],
)
def test_wrong_arguments_give_one_line(tool, calls, words, line):
    with pytest.raises(InputError) as caught:
        run_tool("paint", tool, words.split())
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert not calls


def test_a_list_may_be_given_in_parts():
    def command(allow: Sequence[str] = (), ranks: Sequence[int] = (1024, 256)) -> None:
        """Do nothing."""

    def parsed(*words: str) -> dict[str, object]:
        return tool_parser("command", command).parse_args(words).as_dict()

    assert parsed() == {"allow": [], "ranks": [1024, 256]}
    assert parsed("--allow", "a", "--ranks", "3", "4", "--allow=b", "--allow", "c", "d") == {
        "allow": ["a", "b", "c", "d"],
        "ranks": [3, 4],
    }


def test_items_of_a_list_are_of_its_choices():
    def function(formats: Sequence[Literal["pt2", "onnx"]] = ()) -> None:
        pass

    parser = tool_parser("tool", function)
    assert parser.parse_args(["--formats", "onnx", "pt2"]).formats == ["onnx", "pt2"]
    with pytest.raises(InputError, match=r"--formats: invalid choice: 'xml' \(choose from"):
        parser.parse_args(["--formats", "xml"])


def test_paths_are_called_so_in_the_help():
    def tool(path: Path) -> None:
        """Read.

        Args:
            path: a file whose description is long enough for the line of its type to be broken somewhere.
        """

    text = " ".join(tool_parser("read", tool).format_help().split())
    assert "(required, type: path)" in text


def test_a_positional_list_takes_one_value_or_more(tmp_path):
    given = []

    def pack(path: Sequence[Path], /, name: str = "x") -> None:
        """Pack.

        Args:
            path: some.
            name: one.
        """
        given.append((path, name))

    run_tool("pack", pack, ["a", "b", "--name", "y"])
    run_tool("pack", pack, ["c"])
    assert given == [([Path("a"), Path("b")], "y"), ([Path("c")], "x")]
    with pytest.raises(InputError, match="path is missing"):
        run_tool("pack", pack, [])


def test_data_sets_are_packed_and_unpacked_without_torch(tmp_path):
    """It takes most of a second to import, in each of the processes that read images, too."""
    lines = f"""
import sys
from lightning_rcnn.cli import main
from lightning_rcnn.cli.commands import pack_formats, pack_json_lines
assert main(["pack", "shapes", "--num", "2", "--out", {str(tmp_path / "packed")!r}]) == 0
assert main(["unpack", {str(tmp_path / "packed")!r}, "--format", "yolo", "--out", {str(tmp_path / "files")!r}]) == 0
assert main(["pack", "auto", {str(tmp_path / "files")!r}, "--out", {str(tmp_path / "again")!r}]) == 0
print("torch" in sys.modules, "webdataset" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["False False"], done.stderr
