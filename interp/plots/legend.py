"""Legends: what of the axes they name, which is what draws something, and one beside the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import Collection, PathCollection
from matplotlib.container import Container
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend


def drawn_handles(ax: Axes) -> list[Artist]:
    """What has a label and draws something, in the order of the axes.

    A line through places that are all NaN, a band without ends and dots of which there is none draw nothing. A line
    that was given no place at all stands for others, and is named.

    Example:
        >>> ax.plot([0, 1], [np.nan, np.nan], label="nothing"), ax.plot([], [], label="all of these")
        >>> [handle.get_label() for handle in drawn_handles(ax)]
        ['all of these']
    """
    return [handle for handle in ax.get_legend_handles_labels()[0] if _draws(handle)]


def legend_beside(ax: Axes, size: float, colour: str, *extra: Artist) -> Legend:
    """A legend to the right of the axes, where it can hide no data, of text of so many points."""
    handles = [*drawn_handles(ax), *extra]
    return ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=size, frameon=False, labelcolor=colour
    )


def _draws(handle: Artist | Container) -> bool:
    """Whether anything of it can be seen."""
    if isinstance(handle, Container):
        return any(_draws(part) for part in handle.get_children())
    places: np.ndarray
    if isinstance(handle, Line2D):
        places = np.ma.filled(np.ma.asarray(handle.get_xydata(), dtype=float), np.nan)
        return not len(places) or bool(np.isfinite(places).all(axis=1).any())
    if isinstance(handle, PathCollection):
        places = np.ma.filled(np.ma.asarray(handle.get_offsets(), dtype=float), np.nan)
        return bool(np.isfinite(places).all(axis=1).any())
    if isinstance(handle, Collection):
        return any(np.isfinite(path.vertices).all(axis=1).any() for path in handle.get_paths())
    if isinstance(handle, Patch):
        return bool(np.isfinite(handle.get_patch_transform().transform(handle.get_path().vertices)).all())
    return True
