"""What several tests of hooks stand on."""

import logging

import pytest
import torch


@pytest.fixture
def unlogged():
    """Compiling logs each step of its own, and pytest would keep all of it."""
    torch._dynamo.reset()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    torch._dynamo.reset()
