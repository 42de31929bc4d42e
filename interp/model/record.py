"""The record that goes with a result: which model, weights, settings and versions made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from interp.compat import image_backend
from interp.errors import InputError
from interp.model.adapters import adapters_in
from interp.model.provenance import RUN, run_record, weights_record
from interp.objects.refusals import skipped

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel


def record(vlm: HookedModel, **settings: Any) -> dict[str, Any]:
    """What a result has to say of the run that made it: date, command, model, weights, kernel, versions, settings.

    Rows of a data set that were left out are told as `skipped`, see `interp.objects.refusals.leaving_out`.
    See `interp.model.provenance` for the first of these. What is among `settings` replaces them, such as a date and a
    command that were noted when a long function began.
    """
    from importlib.metadata import version

    packages = ("spatial-lens", "torch", "transformers", "transformer-lens")
    return {
        **run_record(),
        **vlm.loaded_by,
        "weights": weights_record(vlm),
        **({"adapters": adapters} if (adapters := adapters_in(vlm.model)) else {}),
        **({"image_backend": backend} if (backend := image_backend(_images_of(vlm))) else {}),
        "family": vlm.family.name,
        "n_layers": vlm.cfg.n_layers,
        "n_heads": vlm.cfg.n_heads,
        **vlm.arithmetic,
        "decoding": "greedy",
        **skipped(),
        **settings,
        "versions": {name: version(name) for name in packages},
    }


def _images_of(vlm: HookedModel) -> Any:
    """What makes photos ready for the model, where there is such a thing."""
    return getattr(getattr(vlm, "processor", None), "image_processor", None)


def refuse_recorded(more: Mapping[str, Any] | None, recorded: Iterable[str]) -> None:
    """Refuse what else a caller wants a record to say, under names that the record itself says something under.

    Date and command of the run may be given: a longer function has noted them when it began.

    Raises:
        InputError: there are some, or it is no mapping.
    """
    if more is not None and not isinstance(more, Mapping):
        raise InputError(f"record={more!r:.60} is no dict: give what else to record, by name")
    if taken := sorted({*(more or ())} & {*recorded} - {*RUN}):
        raise InputError(f"record has {', '.join(taken)}, which the manifest says already: give other names")
