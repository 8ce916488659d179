"""Format numbers of things."""


def plural(number: int, noun: str) -> str:
    """Format a number and a noun, such as "1 box", "2,000 boxes" and "3 entries"."""
    return f"{number:,} {noun if number == 1 else _plural_of(noun)}"


def _plural_of(noun: str) -> str:
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("x", "ss", "ch", "sh")) else f"{noun}s"
