"""The one error family: every refusal of this project is a SpatialLensError.

    SpatialLensError            something asked of the toolkit can not be done
    ├── InputError              a photo, question, number, path or file that can not be used
    │   └── OptionError (TypeError)    a keyword that a function does not have
    ├── ModelError              a model that can not be loaded, is of no known family, or failed its self-check
    │   └── RefusedError        what this family of models can not do; whatever else it does holds
    ├── HookError (KeyError)    a hook point, layer, head or query row that does not exist, or an edit not served
    └── DetectorError           detector weights that can not be loaded, or words that a detector does not know

A message says what happened, what was given, and what to do. Nothing has run, and nothing was written, when one is
raised before a first pass; all of them can be imported from `interp`.
"""


class SpatialLensError(Exception):
    """Something asked of the toolkit can not be done; the message says what, what was given, and what to do.

    Command lines print it on one line and exit with code 2.
    """


class InputError(SpatialLensError):
    """A photo, question, number or path that can not be used."""


class OptionError(InputError, TypeError):
    """A keyword that a function does not have; the nearest of those that it has are named."""


class ModelError(SpatialLensError):
    """A model that can not be loaded, is of no known family, or failed its self-check."""


class RefusedError(ModelError):
    """Something that a family of models can not do, refused by name; whatever else it does holds."""


class HookError(SpatialLensError, KeyError):
    """A hook point, layer, head or query row that does not exist, or an edit that can not be served."""

    __str__ = Exception.__str__  # KeyError would print the message's repr


class DetectorError(SpatialLensError):
    """Detector weights that can not be loaded, or a detector that does not know what is asked for."""
