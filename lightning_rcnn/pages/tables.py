"""Tables of a page: columns and rows of plain values, which its script makes sortable."""

from typing import Any


def table(columns: list[dict[str, Any]], rows: list[list[Any]]) -> dict[str, Any]:
    """Build a table of columns and rows; floats are rounded to what a page can show."""
    rounded = [[round(value, 5) if isinstance(value, float) else value for value in row] for row in rows]
    return {"columns": columns, "rows": rounded}


def text_column(name: str, title: str = "") -> dict[str, Any]:
    """Describe a column of text; the title is shown over its heading."""
    return {"name": name, "title": title, "text": True}


def number_column(name: str, digits: int = 0, title: str = "") -> dict[str, Any]:
    """Describe a column of numbers with digits behind the point."""
    return {"name": name, "title": title, "digits": digits}
