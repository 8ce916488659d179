"""What jsonargparse has to know of settings before it reads any."""

from functools import cache

from jsonargparse import set_parsing_settings


@cache
def accept_settings_by_class_path() -> None:
    """Let settings of one's own stand where ours do, by their class path; jsonargparse takes that only once."""
    set_parsing_settings(subclasses_enabled=["is_pure_dataclass"])
