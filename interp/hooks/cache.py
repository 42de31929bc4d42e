"""VLMCache: what a run captured, as a TransformerLens cache that refuses what does not hold for a VLM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformer_lens import ActivationCache

from interp.errors import HookError
from interp.hooks.rows import QueryRows
from interp.hooks.shape import ModelShape
from interp.reprs import fits_a_cell

_REFUSED = dict.fromkeys(
    (
        "logit_lens",
        "accumulated_resid",
        "logit_attrs",
        "decompose_resid",
        "compute_head_results",
        "stack_head_results",
        "get_neuron_results",
        "stack_neuron_results",
        "apply_ln_to_stack",
        "get_full_resid_decomposition",
        "ssm_layers",
        "compute_ssm_effective_attention",
        "compute_ssm_state",
    ),
    "it needs weights folded and centred as in a TransformerLens text model",
) | {"apply_slice_to_batch_dim": "projector.hook_out has no batch axis: index the tensors themselves"}


@dataclass(frozen=True)
class _Captured:
    """What a cache has to know of the model that it was captured from, under the names that TransformerLens uses."""

    cfg: ModelShape
    hook_dict: tuple[str, ...]


@fits_a_cell("cache_dict", table="cache_dict")
class VLMCache(ActivationCache):
    """Captured activations by hook name, or by shorthand and layer.

    It holds no model, so that it can be copied, pickled and saved: `torch.save(cache, path)`, and to load it
    `torch.load(path)`, after `import interp.hooks.cache`.

    Example:
        >>> output, cache = vlm.run_with_cache(inputs, names_filter="blocks.6.attn.hook_pattern")
        >>> cache["pattern", 6].shape  # batch head row key
        torch.Size([1, 8, 1, 93])
    """

    def __init__(self, cache_dict: dict[str, torch.Tensor], model: Any, has_batch_dim: bool = True) -> None:
        """Keep tensors by hook name, and of their model its shape and hook names."""
        super().__init__(cache_dict, _Captured(model.cfg, tuple(model.hook_dict)), has_batch_dim)

    def __getitem__(self, key: Any) -> torch.Tensor:
        """Look up a hook name, or (shorthand, layer).

        Raises:
            HookError: it was not captured.
        """
        name = key
        if isinstance(key, tuple):
            short, layer = key[0], key[1]
            layer = layer + self.model.cfg.n_layers if layer < 0 else layer
            part = "attn." if f"blocks.{layer}.attn.hook_{short}" in self.model.hook_dict else ""
            name = f"blocks.{layer}.{part}hook_{short}"
        if name not in self.cache_dict:
            captured = ", ".join(list(self.cache_dict)[:4]) + (", ..." if len(self.cache_dict) > 4 else "")
            raise HookError(f"{name!r} was not captured (captured: {captured}): name it in names_filter")
        return self.cache_dict[name]

    def __getattribute__(self, name: str) -> Any:
        """Refuse, by name and with the reason, methods whose result would be wrong."""
        if name in _REFUSED:
            raise HookError(f"cache.{name} does not hold for a VLM: {_REFUSED[name]}")
        return super().__getattribute__(name)


class Keep:
    """A hook function that keeps a copy of what it sees, and never edits."""

    reads_only = True

    def __init__(self, kept: dict[str, torch.Tensor], device: torch.device | str | None = None) -> None:
        """Keep into `kept`, by hook name, on `device`."""
        self.kept, self.device = kept, device

    def __call__(self, tensor: torch.Tensor, *, hook: Any) -> None:
        """Keep one tensor."""
        self.kept[hook.name] = tensor.detach().to(self.device, copy=True)


def check_kept(kept: dict[str, torch.Tensor], names: Iterable[str], rows: QueryRows) -> None:
    """Refuse a run in which nothing was kept of a hook point that was named.

    Raises:
        HookError: so it was.
    """
    lost = [name for name in names if name not in kept]
    if lost:
        raise HookError(
            f"nothing was kept of {', '.join(lost[:4])}{', ...' if lost[4:] else ''}: query_rows={rows!r:.80} has no "
            "row in this pass: 'last' or 'all' are rows of a prompt, 'decoded' and 'generated' of what follows it"
        )


# torch.load makes nothing but what is known to be data: these are.
torch.serialization.add_safe_globals([VLMCache, _Captured, ModelShape])
