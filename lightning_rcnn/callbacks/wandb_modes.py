"""Whether W&B logs online, offline or not at all, and what it prints."""

import os

import wandb
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lightning_rcnn.errors import InputError
from lightning_rcnn.stop_signals import stop_from_wandb
from lightning_rcnn.suggestions import did_you_mean

INIT_TIMEOUT = 30.0
"""Seconds until an online run starts offline instead; W&B's default of 90 is long on a cluster without internet."""
MODES = ("online", "offline", "disabled", "shared", "run", "dryrun")
"""What W&B accepts in `WANDB_MODE`; the last two are old names of the first two."""
OFFLINE = ("offline", "dryrun")
"""Those of them that log into files only."""
FINISH_TIMEOUT = 300.0
"""Seconds that the end of a run may wait for uploads; `wandb sync` uploads the rest from the run folder."""


def require_known_mode() -> None:
    """Check `WANDB_MODE`, if it is set.

    Raises:
        InputError: it is empty or unknown; W&B would not start, and nothing would be logged.
    """
    given = os.environ.get("WANDB_MODE")
    if given == "":
        raise InputError("WANDB_MODE is empty: unset it, or set online, offline or disabled")
    if given is not None and given not in MODES:
        raise InputError(
            f"WANDB_MODE {given!r} is unknown: set online, offline or disabled{did_you_mean(given, MODES)}"
        )


def choose_mode() -> str:
    """Return the mode of `WANDB_MODE`, but "offline" for "online" if W&B finds no key; it never prompts for one."""
    given = os.environ.get("WANDB_MODE")
    if given not in (None, "online", "run"):
        return given
    try:
        # Without asking the server, which takes long if there is no internet.
        has_key = wandb.login(prompt=False, verify=False)
    except Exception as error:
        rank_zero_warn(f"W&B cannot use its key, and logs offline: {' '.join(str(error).split())}")
        return "offline"
    if given and not has_key:
        rank_zero_warn("WANDB_MODE is online, but W&B has no key, and logs offline: set WANDB_API_KEY")
    return "online" if has_key else "offline"


def settings_of(mode: str) -> wandb.Settings:
    """Return W&B's settings of a run: it prints the address of an online run, warnings and errors, and no hints.

    What it says of an offline run, this logger says in a line at the start and one at the end.
    """
    return wandb.Settings(
        init_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        stop_fn=stop_from_wandb,
        quiet=True,
        silent=mode in OFFLINE,
    )
