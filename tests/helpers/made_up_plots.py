"""What the tests of figures draw: a photo, its grid, boxes, maps and measurements made up for it."""

import numpy as np
from made_up import layout_of, softmax_rows, square_grid
from matplotlib.figure import Figure
from PIL import Image

from interp.image.boxes import Box
from interp.maps.trajectory import trajectory
from interp.overlap.overlap import overlap

SIZE = (120, 80)
GRID = square_grid(SIZE, 4)  # sees x 20 to 100
PHOTO = Image.new("RGB", SIZE, (90, 140, 60))
BOXES = [Box("mug", (25, 10, 50, 40)), Box("table", (30, 45, 95, 75))]
MAPS = np.random.default_rng(0).dirichlet(np.ones(16), size=3).astype(np.float32)


def make_trajectories(n, n_layers=12):
    layout = layout_of(16, pads=1)
    return [
        trajectory(softmax_rows(layout, n_layers, 2, seed=seed), layout, GRID, sample_id=f"s{seed}")
        for seed in range(n)
    ]


TRAJECTORIES = make_trajectories(4)
OVERLAPS = [overlap(one, GRID, BOXES) for one in TRAJECTORIES]


def axes(n=1):
    """Axes of a figure that pyplot does not know."""
    return list(Figure(figsize=(9, 3)).subplots(1, n, squeeze=False).ravel())


def lines(ax, style="-"):
    """The lines of a style on the axes."""
    return [line for line in ax.lines if line.get_linestyle() == style]


def legend_texts(ax):
    """The words of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]
