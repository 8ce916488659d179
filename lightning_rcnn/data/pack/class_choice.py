"""The classes that a user chooses: which, in which order, under which names, and which become one.

The text is class names, separated by commas. Where `=NAME` follows, the names before it become one class of that name;
a semicolon separates it from others: `person;car,truck=vehicle;dog=animal`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from lightning_rcnn.data.index import Category
from lightning_rcnn.data.pack.source import Outcome, Source
from lightning_rcnn.errors import InputError


class ClassChoice(NamedTuple):
    """The chosen classes.

    Attributes:
        names: classes of the data set, each once.
        targets: for each of them the class that it becomes.
    """

    names: list[str]
    targets: list[str]


def read_choice(text: str) -> ClassChoice:
    """Read the text of `--classes`.

    Raises:
        InputError: a name is empty or occurs twice, or it is unclear which names become one class.
    """
    names: list[str] = []
    targets: list[str] = []
    for group in text.split(";"):
        left, equals, target = (part.strip() for part in group.partition("="))
        listed = [name.strip() for name in left.split(",")]
        if "=" in target or "," in target:
            raise InputError(
                f"--classes {text}: put ; after each NAME=NAME, as in 'person;car,truck=vehicle;dog=animal'"
            )
        if not all(listed) or (equals and not target):
            raise InputError(f"--classes {text}: a name is empty; give class names, separated by commas")
        names += listed
        targets += [target] * len(listed) if equals else listed
    if len(set(names)) < len(names):
        raise InputError(f"--classes {text}: a name occurs twice; give each name once")
    return ClassChoice(names, targets)


def with_targets(source: Source, choice: ClassChoice) -> Source:
    """Return a source with the chosen classes, of a source that was listed with the classes `choice.names`."""
    if choice.names == choice.targets:
        return source
    numbers = {target: number for number, target in enumerate(dict.fromkeys(choice.targets), start=1)}
    labels = {label: numbers[target] for label, target in enumerate(choice.targets, start=1)}
    categories = [Category(number, target, number) for target, number in numbers.items()]
    return replace(source, categories=categories, read=partial(_read, read=source.read, labels=labels))


def _read(item: Any, read: Callable[[Any], Outcome], labels: Mapping[int, int]) -> Outcome:
    outcome = read(item)
    if outcome.sample is not None:
        for annotation in outcome.sample.record["annotations"]:
            annotation["label"] = labels[annotation["label"]]
    return outcome
