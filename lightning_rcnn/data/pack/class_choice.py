"""The classes that a user chooses: which, in which order, under which names, and which become one.

The text is class names, separated by commas. Where `=NAME` follows, the names before it become one class of that name;
a semicolon separates it from others: `person;car,truck=vehicle;dog=animal`. A star stands for all classes that are not
named: `*=object`.
"""

from typing import NamedTuple

from lightning_rcnn.data.index import Category, common_frequencies
from lightning_rcnn.data.pack.relabel import relabeled
from lightning_rcnn.data.pack.source import Source
from lightning_rcnn.errors import InputError
from lightning_rcnn.suggestions import did_you_mean

_STAR = "*"


class ClassChoice(NamedTuple):
    """The chosen classes.

    Attributes:
        names: classes of the data set, each once.
        targets: for each of them the class that it becomes.
    """

    names: list[str]
    targets: list[str]

    @property
    def requested(self) -> list[str] | None:
        """The classes to read; None for all, of which a star stands for those that are not named."""
        return None if _STAR in self.names else self.names


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
    """Return a source with the chosen classes, under the names and in the order of the choice.

    Raises:
        InputError: the source has no such class.
    """
    known = {category.name: category.label for category in source.categories}
    choice = _without_star(choice, list(known))
    for name in choice.names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; it has {', '.join(list(known)[:5])}"
            raise InputError(f"--classes: {source.name} has no class {name!r}{hint}")
    if choice.names == choice.targets == list(known):
        return source
    numbers = {target: number for number, target in enumerate(dict.fromkeys(choice.targets), start=1)}
    labels = {known[name]: numbers[target] for name, target in zip(choice.names, choice.targets, strict=True)}
    frequencies = {category.name: category.frequency for category in source.categories}
    groups = common_frequencies(zip(choice.targets, map(frequencies.__getitem__, choice.names), strict=True))
    categories = [Category(number, target, number, groups[target]) for target, number in numbers.items()]
    return relabeled(source, categories, labels)


def _without_star(choice: ClassChoice, known: list[str]) -> ClassChoice:
    """Return the choice with all classes that it does not name in place of a star."""
    if choice.requested is not None or _STAR in known:
        return choice
    place = choice.names.index(_STAR)
    rest = [name for name in known if name not in choice.names]
    target = choice.targets[place]
    targets = rest if target == _STAR else [target] * len(rest)
    return ClassChoice(
        choice.names[:place] + rest + choice.names[place + 1 :],
        choice.targets[:place] + targets + choice.targets[place + 1 :],
    )
