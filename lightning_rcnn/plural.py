"""Format numbers of things."""


def plural(number: int, noun: str) -> str:
    """Format a number and a noun, such as "1 box" and "2,000 boxes"."""
    ending = "es" if noun.endswith(("x", "ss", "ch")) else "s"
    return f"{number:,} {noun}{ending * (number != 1)}"
