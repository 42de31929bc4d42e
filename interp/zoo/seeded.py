"""Seeded: random weights that a seed alone decides, whatever torch was told before, and that leave torch as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_ONE_AT_A_TIME = RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw what follows from this seed, on the CPU and in float32; generators, device and dtype come back as they were.

    transformers draws some tensors from torch's own generator. `torch.manual_seed` would seed those of all devices, of
    which only the CPU's is kept aside here; that of the CPU is one for all threads, which take turns.

    Example:
        >>> with seeded(0):
        ...     model = LlavaForConditionalGeneration(config)
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        kind = torch.get_default_dtype()
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(kind)
