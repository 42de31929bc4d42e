"""Explorations made of random attention rows, and how to read a page's data back, for tests of the page to explore."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
from made_up import layout_of, softmax_rows, square_grid
from PIL import Image

from interp import Box, Boxes
from interp.maps.trajectory import trajectory
from interp.page.data import Exploration, Run, with_head_mean
from interp.page.further import further_map, relative_map
from interp.page.packing import FLOOR, PackedMaps

QUESTION = "Where is the mug in relation to the table? Answer with left, right, above or below."
BOXES = (Box("mug", (18, 5, 47, 33)), Box("table", (55, 40, 100, 88)))
HOSTILE = (
    "</script><script>window.owned = 1</script>",
    '<img src=x onerror="window.owned = 2">',
    '" onmouseover="window.owned = 3" x="',
    "<!-- <script>",
    "{{ 7 * 7 }} {% for x in y %}",
    "&lt;b&gt; &amp;",
    "line\u2028and paragraph\u2029 ends",
    "]]> \\u003c ${1} `",
)


def made_up(
    layers=4, heads=3, side=6, *, runs=2, neutral=True, sinks=True, boxes=BOXES, question=QUESTION, size=(120, 90)
) -> Exploration:
    """An exploration of random rows; the same numbers each time."""
    grid = square_grid(size, side)
    layout = layout_of(len(grid))
    looked = [
        trajectory(softmax_rows(layout, layers, heads, seed=seed), layout, grid) for seed in range(runs + neutral)
    ]
    weights = [with_head_mean(one.image_attention[:, :, 0]) for one in looked]
    names = (("before", "untouched", "Left", 0.713), ("after", "ScaleImageLogits(alpha=0.5)", "Right", 0.4))
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Exploration(
        image=Image.fromarray(noise),
        question=question,
        layout=layout,
        grid=grid,
        boxes=Boxes(tuple(boxes), source="by hand"),
        roles=("first", "second", *[""] * len(boxes))[: len(boxes)],
        missing=(),
        runs=tuple(
            Run(*name, own, with_head_mean(one.shares[:, :, 0]))
            for name, own, one in zip(names[:runs], weights, looked, strict=False)
        ),
        sinks=random_sinks(layers, heads, len(grid)) if sinks else None,
        sinks_said="Sinks were given." if sinks else "Sinks are not known.",
        neutral=weights[-1] if neutral else None,
        neutral_prompt="Describe the image." if neutral else None,
        settings={"model": "made-up", "n_layers": layers, "self_check": True, "revision": None},
    )


def random_sinks(*shape: int) -> np.ndarray:
    """A tenth of the tokens of each head, others in each."""
    return np.random.default_rng(7).random(shape) < 0.1


def with_further(exploration: Exploration, answer: str = "left") -> Exploration:
    """The same with maps that are not raw attention: of heads, relative, and without heads; one of them is nothing."""
    random = np.random.default_rng(5)
    shape = (exploration.n_layers, exploration.n_heads, len(exploration.grid))
    gradient = 0.02 * random.random(shape) ** 4
    gradient[1, 2] = 0
    shares = random.dirichlet(np.ones(shape[-1]), size=(shape[0], shape[1] + 1))
    made = (
        further_map("gradient", gradient, answer),
        relative_map(shares[:, :-1], shares[:, -1]),
        further_map("lens", random.random((shape[0], 1, shape[2])) ** 3, answer),
    )
    return replace(exploration, further=made)


def content_of(html: str) -> dict:
    """What the page's script reads."""
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(block)


def from_blob(blob: dict) -> np.ndarray:
    """An array of the page's data."""
    data = base64.b85decode(blob["data"].translate(str.maketrans(",.:", "&<>")))
    return np.frombuffer(data, dtype=np.dtype(blob["type"]).newbyteorder("<")).reshape(blob["shape"])


def from_json(packed: dict) -> PackedMaps:
    """Packed maps of the page's data."""
    return PackedMaps(*(from_blob(packed[name]) for name in ("levels", "top", "low")))


def weights_of(content: dict, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights of a run as the page has them, [layer head+1 token], and the bound that it states, likewise."""
    heads, mean = (from_json(content["runs"][run][part]) for part in ("heads", "mean"))
    weights = np.concatenate([heads.unpack(), mean.unpack()[:, None]], axis=1)
    return weights, np.array([*[heads.bound] * heads.levels.shape[1], mean.bound])[:, None]


def assert_within(found, true, bound):
    """Each weight off by no more than `bound` of itself, or by the floor where it reads zero."""
    floor = FLOOR * true.max(axis=-1, keepdims=True)
    assert (np.abs(found - true) <= np.where(found > 0, bound * true, floor * (1 + 1e-5))).all()
