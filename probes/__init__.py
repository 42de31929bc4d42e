"""Diagnostic tools on captured activations, and controls for them.

The public names are listed in `__init__.pyi` and imported when first used.
"""

from interp._lazy import export_lazily

__getattr__, __dir__, __all__ = export_lazily(__name__)
