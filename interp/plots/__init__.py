"""Figures: each function takes and returns matplotlib Axes, and makes them when it is given none.

Axes made here belong to pyplot, so notebooks show them and `plt.close(ax.figure)` frees them; give axes of a Figure of
your own to keep pyplot out. Nothing is shown, no global setting is touched.
"""

from interp.plots.accuracy import plot_accuracy_by_alpha, plot_accuracy_by_threshold, plot_changed_by_alpha
from interp.plots.answers import (
    plot_answers_by_alpha,
    plot_confidence_by_relation,
    plot_confusion,
    plot_gains,
    plot_reliability,
)
from interp.plots.association import (
    plot_auroc_by_layer,
    plot_auroc_pooled_and_within,
    plot_layer_by_head,
    plot_partial_effect,
)
from interp.plots.balance import plot_balance
from interp.plots.film import save_path_gif
from interp.plots.flips import plot_flips_by_layer, plot_one_flip
from interp.plots.gallery import Case, Look, choose_cases, plot_gallery
from interp.plots.layers import plot_overlap_by_layer, plot_share_by_layer
from interp.plots.maps import plot_before_after, plot_heatmaps, plot_photo
from interp.plots.overlap_study import plot_coverage, plot_lift_by_layer, plot_overlap_by_answer
from interp.plots.path import attention_path, plot_attention_path
from interp.plots.tokens import plot_token_grid

__all__ = [
    "Case",
    "Look",
    "attention_path",
    "choose_cases",
    "plot_accuracy_by_alpha",
    "plot_accuracy_by_threshold",
    "plot_answers_by_alpha",
    "plot_attention_path",
    "plot_auroc_by_layer",
    "plot_auroc_pooled_and_within",
    "plot_balance",
    "plot_before_after",
    "plot_changed_by_alpha",
    "plot_confidence_by_relation",
    "plot_confusion",
    "plot_coverage",
    "plot_flips_by_layer",
    "plot_gains",
    "plot_gallery",
    "plot_heatmaps",
    "plot_layer_by_head",
    "plot_lift_by_layer",
    "plot_one_flip",
    "plot_overlap_by_answer",
    "plot_overlap_by_layer",
    "plot_partial_effect",
    "plot_photo",
    "plot_reliability",
    "plot_share_by_layer",
    "plot_token_grid",
    "save_path_gif",
]
