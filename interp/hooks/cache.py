"""VLMCache: what a run captured, as a TransformerLens cache that refuses what does not hold for a VLM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformer_lens import ActivationCache

from interp.errors import HookError, InputError, SpatialLensError
from interp.hooks.rows import QueryRows, check_rows
from interp.hooks.shape import ModelShape
from interp.hooks.tensor_file import read_tensors, write_tensors
from interp.prompt.layout import TokenLayout
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


_PARTS = {"a": "attn", "attn": "attn", "m": "mlp", "mlp": "mlp"}
"""Parts of a block, as TransformerLens lets one spell them."""


@dataclass(frozen=True)
class _Captured:
    """What a cache has to know of the model that it was captured from, under the names that TransformerLens uses."""

    cfg: ModelShape
    hook_dict: tuple[str, ...]


@dataclass(frozen=True)
class Capture:
    """What a cache was captured of, and how.

    Attributes:
        query_rows: the rows of logits, scores and pattern that were asked for.
        positions: the positions of the padded prompt that these are in the language model, in the order of their row
            axis; none where no such row was computed.
        layouts: what each position of each sample is.
        settings: model, family, dtype, device, attention, intervention, and whether the model passed its self-check.
    """

    query_rows: QueryRows
    positions: tuple[int, ...]
    layouts: tuple[TokenLayout, ...]
    settings: dict[str, Any]


@fits_a_cell("cache_dict", table="cache_dict")
class VLMCache(ActivationCache):
    """Captured activations by hook name, or by shorthand and layer.

    It holds no model, so that it can be copied, pickled and saved: `cache.save("x.safetensors")`, and to load it
    `interp.load_cache`; or `torch.save(cache, path)`, and `torch.load(path)` after `import interp.hooks.cache`.

    Attributes:
        capture: which rows these are of which prompts, and the settings of the run; None where it was made by hand.

    Example:
        >>> output, cache = vlm.run_with_cache(inputs, names_filter="blocks.6.attn.hook_pattern")
        >>> cache["pattern", 6].shape  # batch head row key
        torch.Size([1, 8, 1, 93])
    """

    def __init__(
        self,
        cache_dict: dict[str, torch.Tensor],
        model: Any,
        has_batch_dim: bool = True,
        *,
        capture: Capture | None = None,
    ) -> None:
        """Keep tensors by hook name, and of their model its shape and hook names."""
        super().__init__(cache_dict, _Captured(model.cfg, tuple(model.hook_dict)), has_batch_dim)
        self.capture = capture

    def __getitem__(self, key: Any) -> torch.Tensor:
        """Look up a hook name, or (shorthand, layer).

        Raises:
            HookError: it was not captured.
        """
        name = key
        if isinstance(key, tuple):
            name = self._spelled_out(*key)
        if name not in self.cache_dict:
            captured = ", ".join(list(self.cache_dict)[:4]) + (", ..." if len(self.cache_dict) > 4 else "")
            raise HookError(f"{name!r} was not captured (captured: {captured}): name it in names_filter")
        return self.cache_dict[name]

    def _spelled_out(self, short: str, layer: int, part: str | None = None) -> str:
        """The hook name that a shorthand stands for, such as ("pattern", 6), ("pre", 6) or ("normalized", 6, "ln1")."""
        layer = layer + self.model.cfg.n_layers if layer < 0 else layer
        stem = short.removesuffix("_grad")
        parts = ("", "attn.", "mlp.") if part is None else (f"{_PARTS.get(part, part)}.",)
        names = [f"blocks.{layer}.{own}hook_{stem}" for own in parts]
        found = next((name for name in names if name in self.model.hook_dict), names[0])
        return f"{found}{short[len(stem) :]}"

    def __getattribute__(self, name: str) -> Any:
        """Refuse, by name and with the reason, methods whose result would be wrong."""
        if name in _REFUSED:
            raise HookError(f"cache.{name} does not hold for a VLM: {_REFUSED[name]}")
        return super().__getattribute__(name)

    def save(self, path: str | Path) -> Path:
        """Write everything to a safetensors file, nothing of which is run when it is read; see `load_cache`.

        Raises:
            InputError: another ending than `.safetensors`, a tensor without values, or a file that can not be written.
        """
        capture = self.capture and {
            "query_rows": self.capture.query_rows,
            "positions": self.capture.positions,
            "layouts": [{"kinds": own.kinds, "tokens": own.tokens} for own in self.capture.layouts],
            "settings": self.capture.settings,
        }
        said = {
            "names": list(self),  # in their order, since the format has its own
            "has_batch_dim": self.has_batch_dim,
            "shape": {name: own for name, own in asdict(self.model.cfg).items() if isinstance(own, (int, str))},
            "hook_names": self.model.hook_dict,
            "capture": capture,
        }
        return write_tensors(path, self.cache_dict, said)


def load_cache(path: str | Path, *, device: torch.device | str = "cpu") -> VLMCache:
    """Read a cache that `VLMCache.save` wrote. Nothing in the file is run.

    Args:
        path: the file.
        device: where the tensors go.

    Example:
        >>> cache.save("mug.safetensors")
        >>> load_cache("mug.safetensors")["pattern", 6].shape
        torch.Size([1, 8, 1, 93])

    Raises:
        InputError: there is no such file, it is damaged, or is of something else.
    """
    tensors, said = read_tensors(path, device)
    try:
        return _made(tensors, said)
    except (ValueError, TypeError, KeyError, AttributeError, SpatialLensError) as error:
        raise InputError(f"what {str(path)!r} says of itself is damaged ({error!r:.120}): save it again") from error


def _made(tensors: dict[str, torch.Tensor], said: dict[str, Any]) -> VLMCache:
    """The cache that is made of tensors and what was said of them."""
    if sorted(said["names"]) != sorted(tensors):
        raise InputError("it names other tensors than it holds")
    capture = said["capture"]
    if capture is not None:
        layouts = tuple(TokenLayout(tuple(one["kinds"]), tuple(one["tokens"])) for one in capture["layouts"])
        rows, positions = check_rows(capture["query_rows"]), tuple(map(int, capture["positions"]))
        capture = Capture(rows, positions, layouts, dict(capture["settings"]))
    model = _Captured(ModelShape(**said["shape"]), tuple(said["hook_names"]))
    ordered = {name: tensors[name] for name in said["names"]}
    return VLMCache(ordered, model, bool(said["has_batch_dim"]), capture=capture)


class Keep:
    """A hook function that keeps a copy of what it sees, and never edits."""

    reads_only = True

    def __init__(
        self, kept: dict[str, torch.Tensor], device: torch.device | str | None = None, suffix: str = ""
    ) -> None:
        """Keep into `kept`, by hook name and suffix, on `device`."""
        self.kept, self.device, self.suffix = kept, device, suffix

    def __call__(self, tensor: torch.Tensor, *, hook: Any) -> None:
        """Keep one tensor."""
        self.kept[f"{hook.name}{self.suffix}"] = tensor.detach().to(self.device, copy=True)


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
torch.serialization.add_safe_globals([VLMCache, _Captured, Capture, ModelShape, TokenLayout])
