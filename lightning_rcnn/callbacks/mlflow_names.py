"""Keys in the form that MLflow takes: a name of its own for each key, whatever a class is called."""

import hashlib
import re

LONGEST_PART = 200
"""Bytes of a part between slashes: MLflow keeps a figure in a file of that name, and takes 250 characters in all."""
_HASH = 8
_OF_CLASS = re.compile(r"(.*?/per_class(?:_11_point)?/)(.+)", re.DOTALL)
_OF_PROPOSALS = re.compile(r"(\w+/proposals/\w+)@(\d+)")
_REFUSED = re.compile(r"[^\w. -]")


def name_of(key: str) -> str:
    """Return the name of a key: `AR@100` is `AR_100`, and a class name that MLflow refuses ends in a hash.

    MLflow takes letters, digits and `_-. `. In a class name any other character is replaced by `_`, a slash, too: a
    folder of figures cannot have the name of a figure. Names that were replaced or shortened get a hash, as others may
    become the same.
    """
    if proposals := _OF_PROPOSALS.fullmatch(key):
        return f"{proposals[1]}_{proposals[2]}"
    of_class = _OF_CLASS.fullmatch(key)
    folders, rest = (of_class[1], [of_class[2]]) if of_class else ("", key.split("/"))
    return folders + "/".join(map(_part, rest))


def _part(text: str) -> str:
    name = _REFUSED.sub("_", text).encode()[:LONGEST_PART].decode(errors="ignore")
    # MLflow takes a name for a path, and refuses one that is not the shortest.
    if not set(name) <= {"."} and name == text:
        return name
    return f"{name.replace('.', '_')}_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:_HASH]}"
