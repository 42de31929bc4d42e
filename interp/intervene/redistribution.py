"""Redistribution: attention that image-centric heads spend on sinks, given to the rest of the image instead."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError
from interp.hooks.rows import RowHook
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook, PerSample
from interp.intervene.head_edits import read_number, read_scope, rows_in_scope
from interp.intervene.head_sets import Heads, by_layer, check_heads, read_heads, spell_heads
from interp.intervene.indices import check_indices, read_indices, spell, spell_number
from interp.intervene.positions import Positions, is_of_each, read_positions, rows_of_each, spell_positions
from interp.intervene.prompts import MadeFor, check_image_there
from interp.prompt.layout import TokenLayout

RHO, LEAST = 0.8, 0.2
"""What a head is image-centric from: the share of its attention on the image that is not on sinks, and that on it."""

FIRST_LAYERS = 2
"""Layers in which sinks have not formed yet."""


@dataclass(frozen=True, eq=False, repr=False)
class RedistributeAttention:
    """Visual attention redistribution (arXiv:2503.03321): weights of sinks shrink, the rest of the image gains them.

        a[sink] <- p a[sink]         of the image and of the text
        a[key] <- a[key] (1 + (1 - p) sum_sink a / sum_rest a)    of image tokens that are no sinks, the rest

    after the softmax, so that each row goes on summing to one, and the picture among the rest stays what it was. It
    is done in heads that are image-centric for the row: at least `least` of its attention is on the image, and at least
    `rho` of that not on sinks; or in given heads, whatever they look at. A row with nothing on the rest stays as it is.

    Attributes:
        sinks: which image tokens are sinks, bool [image_token] or [layer image_token], as `mass_sinks` and
            `hidden_sinks` give them; or a list of such arrays, one for each sample.
        p: what is left of the weights of sinks; 1 changes nothing.
        heads: (layer, head) pairs, 0-based; None for those that are image-centric, row by row.
        layers: 0-based layers in which these are looked for; by default all but the first two, where there are no sinks
            yet, and the last, as in the paper.
        rho: the paper has 0.8 for general questions, 0.5 for hallucination, 0.9 for vision-centric ones.
        least: 0.2 in the paper.
        text_sinks: sinks of the text: `first`, the first token of each prompt; positions, as in `ScaleHeads`; or None.
        positions: query rows, in the padded prompt; see `ScaleHeads`.
        scope: `prompt`, `decode` or `both`; see `ScaleHeads`.

    Example:
        >>> RedistributeAttention(hidden_sinks(cache, inputs.layouts[0], dimensions))
        RedistributeAttention(sinks=[32 576] 3f2a90c1, p=0.6, heads=image-centric, layers=2-30, rho=0.8, least=0.2, ...)

    Raises:
        InputError: sinks, heads, numbers, positions or a scope that mean nothing.
    """

    sinks: Any
    p: float = 0.6
    heads: Heads | None = None
    layers: tuple[int, ...] | None = None
    rho: float | None = None
    least: float | None = None
    text_sinks: Positions | None = "first"
    positions: Positions = "last"
    scope: str = "both"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        put = object.__setattr__
        put(self, "sinks", _read_sinks(self.sinks))
        put(self, "p", _share(self.p, "p"))
        if self.heads is None:
            put(self, "layers", read_indices(self.layers, "layers"))
            put(self, "rho", _share(RHO if self.rho is None else self.rho, "rho"))
            put(self, "least", _share(LEAST if self.least is None else self.least, "least"))
        else:
            put(self, "heads", tuple(sorted(read_heads(self.heads))))
            if rule := [name for name in ("layers", "rho", "least") if getattr(self, name) is not None]:
                raise InputError(f"{', '.join(rule)} choose heads, which are given: leave one of both out")
        if self.text_sinks is not None and not (isinstance(self.text_sinks, str) and self.text_sinks == "first"):
            put(self, "text_sinks", read_positions(self.text_sinks, words=("first",)))
        put(self, "positions", read_scope(self.positions, self.scope))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer on `hook_pattern` for the rows of each sample; none where p is 1.

        Raises:
            HookError: a layer or head that the model does not have.
            InputError: sinks or positions that do not fit the batch, or a sample without a photo or a sink.
        """
        if len(layouts) > 1:
            return PerSample(tuple(self.of_each(len(layouts)))).hooks(shape, layouts)
        check_image_there(layouts, self)
        (layout,), (own,) = layouts, self.of_each(1)
        chosen = own._heads_of_layers(shape)
        (rows,) = rows_in_scope(own.positions, own.scope, layouts, str(self))
        sinks = own._sinks_of_layers(shape, layout)
        if not sinks[list(chosen)].any():
            raise InputError(f"{self} would change nothing: there is no sink in these layers: give some")
        if own.p == 1:
            return []
        image = torch.zeros(len(layout), dtype=torch.bool)
        image[layout.image_positions] = True
        return [
            (f"blocks.{layer}.attn.hook_pattern", RowHook(_Given(own, heads, image, sinks[layer], layouts), of_rows))
            for layer, heads in chosen.items()
            if sinks[layer].any()
            for of_rows in rows
        ]

    def of_each(self, samples: int) -> list[RedistributeAttention]:
        """What is done with each sample of a batch.

        Raises:
            InputError: sinks or positions of another number of samples.
        """
        sinks = list(self.sinks) if isinstance(self.sinks, tuple) else [self.sinks] * samples
        where: list[Any] = list(self.positions) if is_of_each(self.positions) else [self.positions] * samples
        given = self.text_sinks
        text: list[Any] = list(given) if given is not None and is_of_each(given) else [given] * samples
        if not len(sinks) == len(where) == len(text) == samples:
            raise InputError(
                f"{self}: sinks of {len(sinks)}, text sinks of {len(text)} and positions of {len(where)} samples for "
                f"{samples}: give one of each, or one of all"
            )
        return [
            replace(self, sinks=own, text_sinks=words, positions=rows)
            for own, words, rows in zip(sinks, text, where, strict=True)
        ]

    def _heads_of_layers(self, shape: ModelShape) -> dict[int, tuple[int, ...] | None]:
        """The heads that are edited, by layer; None where each row says which."""
        if self.heads is not None:
            check_heads(self.heads, shape)
            return {layer: tuple(self.heads[at][1] for at in own) for layer, own in by_layer(self.heads).items()}
        layers = self.layers
        if layers is None and not (layers := tuple(range(FIRST_LAYERS, shape.n_layers - 1))):
            raise InputError(f"{self}: all of {shape.n_layers} layers are the first two or the last: name layers")
        return dict.fromkeys(check_indices(layers, shape.n_layers, "layer"))

    def _sinks_of_layers(self, shape: ModelShape, layout: TokenLayout) -> Bool[Tensor, "layer key"]:
        """All sinks, in each layer, among the positions of the prompt."""
        image = layout.image_positions
        if self.sinks.shape[-1] != len(image) or (self.sinks.ndim == 2 and len(self.sinks) != shape.n_layers):
            raise InputError(
                f"{self}: sinks are {list(self.sinks.shape)}, but there are {len(image)} image tokens and "
                f"{shape.n_layers} layers: give bool [image_token] or [layer image_token]"
            )
        found = torch.zeros(shape.n_layers, len(layout), dtype=torch.bool)
        found[:, image] = torch.from_numpy(np.broadcast_to(self.sinks, (shape.n_layers, len(image))).copy())
        text = self._text_positions(layout)
        if inside := sorted(set(text) & set(image.tolist())):
            raise InputError(f"{self}: text sinks {spell(inside)} are image tokens: name these in sinks")
        found[:, text] = True
        return found

    def _text_positions(self, layout: TokenLayout) -> list[int]:
        if self.text_sinks is None:
            return []
        if self.text_sinks == "first":
            first = next(place for place, kind in enumerate(layout.kinds) if kind != "pad")
            return [first] if layout.kinds[first] != "image" else []
        (rows,) = rows_of_each(self.text_sinks, [layout], f"{self}: text sinks")
        return [layout.last] if rows == "last" else list(map(int, rows))

    def __str__(self) -> str:
        """Name every setting, for results; sinks by their axes and a digest."""
        sinks = self.sinks if isinstance(self.sinks, tuple) else (self.sinks,)
        axes = ", ".join(f"[{' '.join(map(str, own.shape))}]" for own in sinks[:3]) + (", ..." if sinks[3:] else "")
        chosen = f"heads={'image-centric' if self.heads is None else spell_heads(self.heads)}"
        if self.rho is not None and self.least is not None:
            layers = "default" if self.layers is None else spell(self.layers)
            chosen += f", layers={layers}, rho={spell_number(self.rho)}, least={spell_number(self.least)}"
        letters = hashlib.sha256(b"".join(np.packbits(own).tobytes() for own in sinks)).hexdigest()[:8]
        text = self.text_sinks if self.text_sinks is None else spell_positions(self.text_sinks)
        return (
            f"RedistributeAttention(sinks={axes} {letters}, p={spell_number(self.p)}, "
            f"{chosen}, text_sinks={text}, positions={spell_positions(self.positions)}, scope={self.scope})"
        )

    __repr__ = __str__


def redistributed(
    weights: Float[Tensor, "*maps key"], image: Bool[Tensor, " key"], sinks: Bool[Tensor, " key"], p: float
) -> Float[Tensor, "*maps key"]:
    """Rows of attention with the weights of sinks times p, and what that frees given to the rest of the image.

    Args:
        weights: rows after the softmax.
        image: which keys are image tokens.
        sinks: which keys are sinks, of the image and of the text.
        p: what is left of the weights of sinks.

    Example:
        >>> row = torch.tensor([0.05, 0.35, 0.10, 0.20, 0.10, 0.20])  # sink, image sink, image, image, text, text
        >>> image = torch.tensor([False, True, True, True, False, False])
        >>> redistributed(row, image, torch.arange(6) < 2, 0.6)
        tensor([0.0300, 0.2100, 0.1533, 0.3067, 0.1000, 0.2000])
    """
    rest = image & ~sinks
    freed = (1 - p) * (weights * sinks).sum(-1, keepdim=True)
    there = (weights * rest).sum(-1, keepdim=True)
    gained = weights * rest * (freed / torch.where(there > 0, there, 1.0))
    return torch.where(there > 0, torch.where(sinks, weights * p, weights + gained), weights)


def image_centric(
    weights: Float[Tensor, "*maps key"],
    image: Bool[Tensor, " key"],
    sinks: Bool[Tensor, " key"],
    *,
    rho: float = RHO,
    least: float = LEAST,
) -> Bool[Tensor, "*maps"]:
    """Whether rows look at the image, and there not at sinks: the heads that `RedistributeAttention` edits.

    Args:
        weights: rows after the softmax.
        image: which keys are image tokens.
        sinks: which keys are sinks.
        rho: the least share of the attention on the image that is not on sinks.
        least: the least share of all attention that is on the image.
    """
    on_image = (weights * image).sum(-1)
    return (on_image >= least) & ((weights * (image & ~sinks)).sum(-1) >= rho * on_image)


class _Given:
    """The edit of one `RedistributeAttention` on some rows of one sample in one layer."""

    def __init__(
        self,
        setting: RedistributeAttention,
        heads: tuple[int, ...] | None,
        image: Bool[Tensor, " key"],
        sinks: Bool[Tensor, " key"],
        layouts: Sequence[TokenLayout],
    ) -> None:
        self.setting, self.heads, self.image, self.sinks = setting, heads, image, sinks
        self.prompts = MadeFor(layouts)

    def __call__(
        self, pattern: Float[Tensor, "batch head row key"], *, hook: Any
    ) -> Float[Tensor, "batch head row key"]:
        self.prompts.copies(pattern, hook)
        image, sinks = (self._among(own, pattern) for own in (self.image, self.sinks))
        edited = redistributed(pattern, image, sinks, self.setting.p)
        if self.heads is None:
            rho, least = self.setting.rho, self.setting.least
            assert rho is not None and least is not None
            chosen = image_centric(pattern, image, sinks, rho=rho, least=least)[..., None]
        else:
            chosen = torch.zeros(1, pattern.shape[1], 1, 1, dtype=torch.bool, device=pattern.device)
            chosen[:, list(self.heads)] = True
        return torch.where(chosen, edited, pattern)

    def _among(self, keys: Bool[Tensor, " prompt"], pattern: Tensor) -> Bool[Tensor, " key"]:
        """Keys of the prompt among all keys, of which later ones are none of them."""
        return torch.nn.functional.pad(keys.to(pattern.device), (0, pattern.shape[3] - len(keys)))


def _share(given: Any, what: str) -> float:
    read = read_number(given, what, example="0.6")
    if not 0 <= read <= 1:
        raise InputError(f"{what}={given!r:.40} is no share: give one from 0 to 1")
    return read


def _read_sinks(given: Any) -> Any:
    """Sinks of all samples alike as an array, of each sample as a tuple of arrays."""
    several = isinstance(given, (list, tuple)) and given and all(hasattr(one, "__len__") for one in given)
    try:
        read = tuple(np.asarray(one) for one in given) if several else np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        read = np.zeros(0)
    for own in read if isinstance(read, tuple) else (read,):
        if own.dtype != bool or own.ndim not in (1, 2) or 0 in own.shape:
            raise InputError(
                f"sinks are {own.dtype} of shape {list(own.shape)}: give bool [image_token] or [layer image_token], or "
                "a list of such arrays, one for each sample"
            )
    return read
