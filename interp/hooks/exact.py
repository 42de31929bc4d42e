"""Exact: what this package computes of attention keeps its precision, also where the model runs under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def exactly(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """Context manager: products of tensors on this one's device are taken in their own dtype, whatever autocast says.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), exactly(rows):
        ...     (rows @ rows.mT).dtype
        torch.float32
    """
    device = tensor.device.type
    lowered = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if lowered else nullcontext()
