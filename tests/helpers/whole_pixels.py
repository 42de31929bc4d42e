"""Grids of a small photo whose token edges are whole pixels, so that measures can be checked by counting these."""

import numpy as np

from interp.image.boxes import Box
from interp.image.grid import View, grid_of_views

WIDTH, HEIGHT = 48, 40


def view(xs, ys, number=0):
    return View(np.array(xs, dtype=float), np.array(ys, dtype=float), number)


# Views of each grid; their token edges are whole pixels.
VIEWS = {
    "whole": [view(range(0, 49, 8), range(0, 41, 8))],
    "cropped": [view(range(4, 45, 8), range(0, 41, 8))],
    "uneven": [view([0, 3, 11, 24, 30, 48], [0, 16, 21, 40])],
    "padded": [view([0, 0, 8, 16, 24, 32, 40, 48], [0, 10, 20, 30, 40, 40])],  # two lines of padding
    "tiled": [
        view(range(0, 49, 16), [0, 20, 40]),
        view([0, 8, 16, 24], range(0, 41, 8), 1),
        view([24, 32, 40, 48], range(0, 41, 8), 2),
    ],
}
GRIDS = {name: grid_of_views((WIDTH, HEIGHT), views) for name, views in VIEWS.items()}
GRID = GRIDS["whole"]
BOX = Box("mug", (10, 5, 29, 22))


def random_maps(*shape, grid=GRID, seed=0):
    return np.random.default_rng(seed).gamma(0.6, size=(*shape, len(grid))).astype(np.float32)
