"""The instrument: a VLM whose activations can be read and edited, image geometry, boxes, overlap, and plots.

The public names are listed in `__init__.pyi`. Each is imported when first used, so that `import interp` costs nothing.
"""

from interp._lazy import export_lazily

__getattr__, __dir__, __all__ = export_lazily(__name__)
