"""Figures: each function takes and returns matplotlib Axes, and makes them when it is given none.

Axes made here belong to pyplot, so notebooks show them and `plt.close(ax.figure)` frees them; give axes of a Figure of
your own to keep pyplot out. Nothing is shown, no global setting is touched.
"""

from interp.plots.accuracy import plot_accuracy_by_alpha, plot_accuracy_by_threshold
from interp.plots.answers import (
    plot_answers_by_alpha,
    plot_confidence_by_relation,
    plot_confusion,
    plot_gains,
    plot_reliability,
)
from interp.plots.balance import plot_balance
from interp.plots.layers import plot_overlap_by_layer, plot_share_by_layer
from interp.plots.maps import plot_before_after, plot_heatmaps, plot_photo
from interp.plots.tokens import plot_token_grid

__all__ = [
    "plot_accuracy_by_alpha",
    "plot_accuracy_by_threshold",
    "plot_answers_by_alpha",
    "plot_balance",
    "plot_before_after",
    "plot_confidence_by_relation",
    "plot_confusion",
    "plot_gains",
    "plot_heatmaps",
    "plot_overlap_by_layer",
    "plot_photo",
    "plot_reliability",
    "plot_share_by_layer",
    "plot_token_grid",
]
