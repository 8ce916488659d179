"""`bench scaling`, and that the pages show what it prints."""

import csv
import inspect
import re
import shlex
from pathlib import Path

import pytest

from lightning_rcnn.cli.commands.bench_scaling import scaling

PROJECT = Path(__file__).parents[3]
PAGE = PROJECT / "docs" / "cluster.md"
SHOWN = re.findall(r"^```bash\nlightning-rcnn (bench scaling.*)\n```\n\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)


def table_of(file: Path) -> str:
    """The CSV file as a table of Markdown."""
    with file.open() as lines:
        headings, *rows = csv.reader(lines)
    lines = [f"| {' | '.join(cells)} |\n" for cells in (headings, *rows)]
    return "".join([lines[0], f"{'|---' * len(headings)}|\n", *lines[1:]])


@pytest.mark.parametrize(("command", "table"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_the_command_prints(run, workplace, command, table):
    outcome = run(*shlex.split(command), "--csv", "table.csv")
    assert outcome.status == 0, outcome.err
    assert table_of(workplace / "table.csv") == table


def test_the_page_has_tables():
    assert len(SHOWN) == 5


def test_the_page_names_the_value_of_each_option():
    """A row of the table of figures starts with the option and its default."""
    rows = {name: value for name, value in re.findall(r"^\| `--(\w+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)}
    defaults = {
        name: f"{parameter.default:g}"
        for name, parameter in inspect.signature(scaling).parameters.items()
        if isinstance(parameter.default, int | float)
    }
    assert {name: value.split()[0] for name, value in rows.items()} == defaults


def test_the_readme_says_what_follows_from_it(run, workplace):
    readme = (PROJECT / "README.md").read_text()
    found = re.search(r"(\d+) nodes of eight H100 reach (\d+)% of .*? (\d+)% with", readme, re.DOTALL)
    assert found, "the README states no shares, or in other words"
    shares = []
    for words in ((), ("--gradient_bytes", "2")):
        assert run("bench", "scaling", "--nodes", found[1], *words, "--csv", "table.csv").status == 0
        with (workplace / "table.csv").open() as lines:
            shares.append(next(csv.DictReader(lines))["of ideal"])
    assert [f"{found[2]}%", f"{found[3]}%"] == shares


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nodes", "0"], "--nodes 0: has to be above 0"),
        (["--bandwidth", "-1"], "--bandwidth -1: has to be above 0"),
        (["--evaluation_images_per_second", "0"], "--evaluation_images_per_second 0: has to be above 0"),
        (["--latency_us", "-1"], "--latency_us -1: has to be 0 or more"),
        (["--nodes", "9000"], "--nodes 9000: 144000 images of a step are more than an epoch has"),
    ],
)
def test_impossible_options_are_one_line(error_line, words, message):
    assert error_line("bench", "scaling", *words).startswith(message)
