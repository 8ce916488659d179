"""The names of classes in Hugging Face's descriptions of data sets: README.md, and the schema of a Parquet file.

Source: https://huggingface.co/docs/hub/datasets-cards and `datasets/features/features.py`
"""

import json
import posixpath
from collections.abc import Iterator
from typing import Any

import yaml

from lightning_rcnn.data.formats.layout import Layout, read_text

_README = "README.md"
_SEQUENCES = ("Sequence", "List", "LargeList")


def names_in_readme(layout: Layout, file: str) -> dict[str, str]:
    """Return number of a class -> name, from the only list of names in the README beside a file or above it."""
    folder = posixpath.dirname(file)
    for readme in dict.fromkeys((posixpath.join(folder, _README), _README)):
        if readme not in layout.all_files:
            continue
        _, _, rest = read_text(layout.root / readme).partition("---\n")
        try:
            found = list(_class_labels(yaml.safe_load(rest.partition("\n---")[0])))
        except (yaml.YAMLError, RecursionError):
            continue
        if found and all(names == found[0] for names in found):
            return found[0]
    return {}


def _class_labels(content: Any) -> Iterator[dict[str, str]]:
    """Yield the names of each `class_label` in the description of a data set, at any depth."""
    if isinstance(content, list):
        for each in content:
            yield from _class_labels(each)
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        names = value.get("names") if key == "class_label" and isinstance(value, dict) else None
        if isinstance(names, dict):
            yield {str(number): str(name) for number, name in names.items()}
        elif isinstance(names, list):
            yield {str(number): str(name) for number, name in enumerate(names)}
        else:
            yield from _class_labels(value)


def names_in_features(text: str | bytes, path: str) -> dict[str, str]:
    """Return number of a class -> name, as the features of a column state them; empty if they state none.

    Args:
        text: JSON under `huggingface` in the metadata of a schema.
        path: path of the column, such as `objects.category`.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    feature = _entry(_entry(content, "info"), "features")
    for part in path.split("."):
        feature = _entry(_inner(feature), part)
    names = _entry(_inner(feature), "names")
    return {str(number): str(name) for number, name in enumerate(names)} if isinstance(names, list) else {}


def _entry(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _inner(feature: Any) -> Any:
    """Return the feature of the elements of a list, of one that is none itself."""
    while True:
        if isinstance(feature, list) and feature:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in _SEQUENCES and "feature" in feature:
            feature = feature["feature"]
        else:
            return feature
