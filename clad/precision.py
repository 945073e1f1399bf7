"""Which numbers are calculated with: bfloat16 where asked for, float32 where it must be."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from clad.checks import expect_choice

Precision = Literal["32", "bf16", "auto"]
_FIRST_CUDA_WITH_BF16 = (8, 0)
"""Compute capability of Ampere, whose tensor cores multiply bfloat16."""


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context without autocast: distances and maps rounded to 8 bits would tie."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def tower_precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Context in which towers calculate; what comes after them enters ``full_precision``.

    Args:
        precision: ``32`` for float32, ``bf16`` for autocast to bfloat16, ``auto`` for bfloat16 on
            hardware that multiplies it faster.
        device: Where.

    Raises:
        ValueError: If ``precision`` is none of these, or the device cannot do it.
    """
    expect_choice("precision", precision, get_args(Precision))
    if precision == "32" or (precision == "auto" and not has_fast_bf16(device)):
        return full_precision(device)
    if not torch.amp.is_autocast_available(device.type):
        raise ValueError(f"expected a device with bfloat16, got {device}; set precision to 32")
    return torch.autocast(device.type, dtype=torch.bfloat16)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device has units for products of bfloat16 matrices: AMX, or tensor cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _FIRST_CUDA_WITH_BF16
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return False
