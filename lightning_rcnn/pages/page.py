"""What self-contained HTML pages share: their style, their script, and content that cannot end its element."""

import html
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

_HERE = Path(__file__).parent


def build_page(folder: Path, title: str, subtitle: str, content: Any, parts: Mapping[str, str]) -> str:
    """Fill `page.html` of a folder with its `page.css` and `page.js`, both behind those of all pages.

    Args:
        folder: folder of the three files.
        title, subtitle: heading; they are escaped.
        content: JSON that the page's script reads from `content`.
        parts: other values of the template, as HTML.
    """
    return Template((folder / "page.html").read_text()).substitute(
        parts,
        title=escaped(title),
        subtitle=escaped(subtitle),
        css=_shared_and_own(folder, "css"),
        js=_shared_and_own(folder, "js"),
        version=escaped(version("lightning-rcnn")),
        content=in_script(content),
    )


def escaped(text: str) -> str:
    """Return text as HTML."""
    return html.escape(text)


def in_script(content: Any) -> str:
    """Dump JSON that cannot end its script element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shared_and_own(folder: Path, suffix: str) -> str:
    return (_HERE / f"base.{suffix}").read_text() + "\n" + (folder / f"page.{suffix}").read_text()
