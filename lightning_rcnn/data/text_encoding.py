"""The text of files that people and tools of all systems wrote."""

import codecs
import json

_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}
"""Under these names most files hold letters of the larger set; browsers read them so too."""


class UnreadableTextError(ValueError):
    """The bytes are not text in the encoding that they should have; the message goes on after the file's name."""


def decode_text(data: bytes, encoding: str = "utf-8") -> str:
    """Decode a file by its byte order mark, or else by its zeros if it is UTF-16 or UTF-32, or else by `encoding`.

    The first letter is one of ASCII's, as in JSON and XML. The mark is not part of the text.

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
            f"is not {error.encoding.upper()} ({wrong}), but perhaps in the encoding of a country, such as GBK or "
            "Latin-1; save it as UTF-8"
        ) from error
    except LookupError as error:
        raise UnreadableTextError(f"has the unknown encoding {encoding!r}; save it as UTF-8") from error


def _codec(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    if name.startswith(("utf-16", "utf-32")):  # what was read to here has no zeros: the file only says so
        return "utf-8"
    return _SUPERSETS.get(name, name)
