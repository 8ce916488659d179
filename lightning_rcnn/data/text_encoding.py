"""Decode text files in the encodings of all systems."""

import codecs
import json

_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}
"""Files that declare these encodings often use the larger character set; browsers do the same replacement."""


class UnreadableTextError(ValueError):
    """Raised when bytes are not text in their encoding; the message continues a sentence after the file's name."""


def decode_text(data: bytes, encoding: str = "utf-8") -> str:
    """Decode a file by its byte order mark, else as UTF-16 or UTF-32 if it has zeros, else by `encoding`.

    The first character must be ASCII, as in JSON and XML. The mark is removed.

    Raises:
        UnreadableTextError: it cannot be decoded.
    """
    unicode_form = json.detect_encoding(data)
    try:
        codec = _codec(encoding) if unicode_form == "utf-8" else unicode_form
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.object[error.start]:#04x} at {error.start}"
        raise UnreadableTextError(
            f"is not {error.encoding.upper()} ({wrong}), but perhaps in a regional encoding, such as GBK or Latin-1; "
            "save it as UTF-8"
        ) from error
    except LookupError as error:
        raise UnreadableTextError(f"has the unknown encoding {encoding!r}; save it as UTF-8") from error


def _codec(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    if name.startswith(("utf-16", "utf-32")):  # the data have no zeros, so the declaration is wrong
        return "utf-8"
    return _SUPERSETS.get(name, name)
