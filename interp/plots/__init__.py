"""Figures: each function takes and returns matplotlib Axes, and makes them when it is given none.

Axes made here belong to pyplot, so notebooks show them and `plt.close(ax.figure)` frees them; give axes of a Figure of
your own to keep pyplot out. Nothing is shown, no global setting is touched.

Those of overlap stand beside it, in `interp.overlap.figures`; all are listed in `__init__.pyi` and imported when first
used.
"""

from interp._lazy import export_lazily

__getattr__, __dir__, __all__ = export_lazily(__name__)
