"""Read XML files in every encoding; files that declare entities are refused, which could fill the memory."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from lightning_rcnn.data.text_encoding import decode_text

_DECLARED_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]+)""")
_ENTITY = re.compile(r"<!ENTITY\b")


class MalformedXmlError(ValueError):
    """Raised when a file does not parse or is not in its format."""


def parse_xml(path: Path) -> ElementTree.Element:
    """Return the root element; the bytes are decoded here because the parser supports few of the declared encodings.

    Raises:
        MalformedXmlError: the file cannot be read or does not parse.
    """
    try:
        data = path.read_bytes()
        declared = _DECLARED_ENCODING.match(data)
        text = decode_text(data, declared[1].decode() if declared else "utf-8").lstrip()
        if _ENTITY.search(text):
            raise MalformedXmlError("declares entities, which annotations never do; remove its DOCTYPE")
        return ElementTree.fromstring(text)
    except OSError as error:
        raise MalformedXmlError(error.strerror or str(error)) from error
    except (ElementTree.ParseError, ValueError) as error:
        raise MalformedXmlError(str(error)) from error
