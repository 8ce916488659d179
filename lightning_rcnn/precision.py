"""Choice of precision: bf16 on devices with instructions for it, else float32.

A processor without such instructions emulates bf16, several times slower than float32.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.accelerators import Accelerator, CUDAAccelerator, MPSAccelerator
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_rcnn.checkpoints.header import read_header

AUTO: Literal["auto"] = "auto"
BF16, FLOAT32 = "bf16-mixed", "32-true"
PrecisionName = Literal["auto", "bf16-mixed", "32-true"]

_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Instruction sets of x86 and Arm, as `torch.cpu.get_capabilities` names them."""
_ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_LIMITS_BELOW_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
"""Limits under which oneDNN's convolutions use no bf16 instructions; oneDNN ignores unknown values."""


class Choice(NamedTuple):
    """A precision in Lightning's terms, and the reason for it."""

    precision: str
    reason: str


def choose_precision(
    wanted: str | int | None = AUTO, accelerator: str | Accelerator = AUTO, checkpoint: str | Path | None = None
) -> Any:
    """Decide what "auto" means and log it in one line; return any other precision unchanged.

    Args:
        wanted: a precision of Lightning, or "auto".
        accelerator: accelerator of the trainer.
        checkpoint: checkpoint of the training to resume; "auto" keeps its precision.

    Returns:
        The trainer's `precision`.
    """
    if wanted != AUTO:
        return FLOAT32 if wanted is None else str(wanted)
    chosen = device_precision(device_type(accelerator))
    began_with = None if checkpoint is None else read_header(checkpoint).precision
    if began_with is not None:
        others = "" if began_with == chosen.precision else f"; a new one would take {chosen.precision}: {chosen.reason}"
        chosen = Choice(began_with, f"the training of {checkpoint} began with it{others}")
    rank_zero_info(f"Precision {chosen.precision}: {chosen.reason}.")
    return chosen.precision


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Return a context that computes in "bf16-mixed" or "32-true", for use outside a trainer."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16)


def device_type(accelerator: str | Accelerator) -> str:
    """Return the device type of a trainer's `accelerator`: "cpu", "cuda", "mps" or another name."""
    if isinstance(accelerator, Accelerator):
        return accelerator.name()
    if accelerator not in (AUTO, "gpu"):
        return accelerator
    if MPSAccelerator.is_available():
        return "mps"
    return "cuda" if CUDAAccelerator.is_available() else "cpu"


def device_precision(device: str) -> Choice:
    """Return the fastest precision of a device type.

    Args:
        device: device type: "cpu", "cuda", ...
    """
    if device == "cuda":
        return _cuda_precision()
    if device == "cpu":
        return _cpu_precision()
    return Choice(FLOAT32, f"bf16 is chosen on CPUs and CUDA GPUs only, not on {device}")


def _cuda_precision() -> Choice:
    name = torch.cuda.get_device_name()
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Choice(BF16, f"{name} computes in bf16")
    return Choice(FLOAT32, f"{name} has no bf16")


def _cpu_precision() -> Choice:
    has = torch.cpu.get_capabilities()
    instructions = next((name for name in _BF16_INSTRUCTIONS if has.get(name)), None)
    if instructions is None:
        return Choice(FLOAT32, "this processor has no bf16 instructions")
    if not torch.backends.mkldnn.is_available():
        return Choice(FLOAT32, "this torch has no oneDNN, which computes in bf16")
    variable = next((name for name in _ONEDNN_LIMITS if name in os.environ), None)
    if variable is not None and os.environ[variable].upper() in _LIMITS_BELOW_BF16:
        return Choice(FLOAT32, f"{variable}={os.environ[variable]} keeps oneDNN from bf16 instructions")
    return Choice(BF16, f"this processor has bf16 instructions ({instructions})")
