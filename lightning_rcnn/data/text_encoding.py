"""The text of files that people and tools of all systems wrote."""

import codecs

_BEGINNINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}
"""Under these names most files hold letters of the larger set; browsers read them so too."""


class UnreadableTextError(ValueError):
    """The bytes are not text in the encoding that they should have; the message goes on after the file's name."""


def decode_text(data: bytes, encoding: str = "utf-8") -> str:
    """Decode a file by its byte order mark, or else by its zeros if it is UTF-16, or else by `encoding`.

    Raises:
        UnreadableTextError: it cannot be decoded.
    """
    try:
        codec = _unicode_form(data) or _codec(encoding)
        return data.decode(codec)
    except UnicodeDecodeError as error:
        name = error.encoding.upper()
        raise UnreadableTextError(f"is not {name} (byte {error.start}); save it as UTF-8") from error
    except LookupError as error:
        raise UnreadableTextError(f"has the unknown encoding {encoding!r}; save it as UTF-8") from error


def _unicode_form(data: bytes) -> str:
    """The codec that the first bytes show; empty if they could be of any that begins with ASCII's letters."""
    for beginning, codec in _BEGINNINGS:
        if data.startswith(beginning):
            return codec
    if len(data) > 1 and 0 in data[:2]:
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return ""


def _codec(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    if name.startswith(("utf-16", "utf-32")):  # what was read to here has no zeros: the file only says so
        return "utf-8"
    return _SUPERSETS.get(name, name)
