"""The recipes for other tools on the page of clients run where the tool is installed."""

import re

import pytest
import torch

from interp.model.hooked_vlm import HookedVLM


@pytest.fixture(scope="module")
def recipes(repo):
    page = (repo / "docs" / "clients.md").read_text(encoding="utf-8")
    return dict(re.findall(r'^```python title="needs (\w+)"\n(.*?)^```', page, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def names():
    """What the page makes in the blocks above."""
    import numpy as np

    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    photo = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    return {"torch": torch, "vlm": vlm, "clean": vlm.prepare(photo, "Where is the red circle?", prompt="paper")}


def test_bertviz_draws_our_patterns(recipes, names):
    pytest.importorskip("bertviz", reason="bertviz is not installed")
    own = dict(names)
    exec(compile(recipes["bertviz"], "docs/clients.md", "exec"), own)
    assert own["page"].data.count("Layer") and len(own["page"].data) > 10_000
    assert all(torch.allclose(own["cache"][name].sum(-1), torch.ones(()), atol=1e-4) for name in own["names"])


def test_circuitsvis_draws_our_patterns(recipes, names):
    pytest.importorskip("circuitsvis", reason="circuitsvis is not installed")
    own = dict(names)
    exec(compile(recipes["circuitsvis"], "docs/clients.md", "exec"), own)
    assert "AttentionPatterns" in str(own["shown"]) and own["cache"]["pattern", 6].shape[1] == own["vlm"].cfg.n_heads
