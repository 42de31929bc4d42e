"""The record that goes with a result: which model, weights, settings and versions made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp.model.provenance import run_record, weights_record

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel


def record(vlm: HookedModel, **settings: Any) -> dict[str, Any]:
    """What a result has to say of the run that made it: date, command, model, weights, kernel, versions, settings.

    See `interp.model.provenance` for the first of these. What is among `settings` replaces them, such as a date and a
    command that were noted when a long function began.
    """
    from importlib.metadata import version

    packages = ("spatial-lens", "torch", "transformers", "transformer-lens")
    return {
        **run_record(),
        "model": getattr(vlm.model, "name_or_path", "") or type(vlm.model).__name__,
        "revision": None,
        **vlm.origin,
        "weights": weights_record(vlm),
        "family": vlm.family.name,
        "n_layers": vlm.cfg.n_layers,
        "n_heads": vlm.cfg.n_heads,
        "dtype": str(vlm.dtype).removeprefix("torch."),
        "device": str(vlm.device),
        "attention": sorted(set(vlm.implementations)),
        "self_check": vlm.self_checked,
        "decoding": "greedy",
        **settings,
        "versions": {name: version(name) for name in packages},
    }
