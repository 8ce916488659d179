"""Where a setting was given that a part, or settings, refuse: they know their class, and the user their key."""

import re
from collections.abc import Iterator, Sequence

from jsonargparse import Namespace

from lightning_rcnn.cli.composing import Composition
from lightning_rcnn.cli.parse_errors import place_of
from lightning_rcnn.errors import InputError
from lightning_rcnn.plain_data import CLASS_PATH, INIT_ARGS

_SETTING = re.compile(r"(?P<owner>\w+)\.(?P<name>\w+)(?P<item>(\[\d+\])*)(?P<problem>: .*)", re.DOTALL)


def under_its_key(
    error: InputError, config: Namespace, arguments: Sequence[str], composition: Composition
) -> InputError:
    """Return an error of a setting with its option, or its file and key, in the place of its class.

    Args:
        error: error of a constructor, such as "RPNSettings.nms_iou: 1.5 is out of range".
        config: parsed configuration of the command.
        arguments: arguments of the command line.
        composition: merged configuration files.

    Returns:
        The error itself if it is not of this form, or if no class, or several classes, have such a setting.
    """
    match = _SETTING.fullmatch(str(error))
    if match is None:
        return error
    keys = list(_keys(config, (), match["owner"], match["name"]))
    given = [place for key in keys if (place := place_of(key, arguments, composition)) is not None]
    places = given or [".".join(key) for key in keys]
    return InputError(f"{places[0]}{match['item']}{match['problem']}") if len(places) == 1 else error


def _keys(config: Namespace, path: tuple[str, ...], owner: str, name: str) -> Iterator[tuple[str, ...]]:
    """Yield the keys, as options have them, of a setting of all classes of this name."""
    for key, value in vars(config).items():
        if not isinstance(value, Namespace):
            continue
        inner = (*path, key)
        class_path, init_args = value.get(CLASS_PATH), value.get(INIT_ARGS)
        if not isinstance(init_args, Namespace):
            yield from _keys(value, inner, owner, name)
            continue
        if str(class_path).rpartition(".")[2] == owner and name in vars(init_args):
            yield (*inner, name)
        yield from _keys(init_args, inner, owner, name)
