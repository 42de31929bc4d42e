"""Rows of the RoPE probe: the attention of one query row before and after the image keys of a layer are turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from interp.errors import ModelError
from interp.hooks.exact import exactly
from interp.hooks.rows import RowHook
from interp.hooks.shared_keys import KeyValues
from probes.study.finite import OVERFLOW

TOLERANCE = 1e-4
"""How far logits may be from the model's own, as a share of the row's largest: rounding, and nothing else."""

FLOOR = 1e-12
"""Of the mass that shares are divided by, as in the paper's code: a head that gives the image less looks elsewhere."""


@dataclass(frozen=True)
class TurnedRow:
    """What turning the image keys of one layer does to one query row.

    Attributes:
        alpha_v: softmax mass on the image before.
        alpha_product: alpha_v (1 - alpha_v), of which the second factor is computed as it is, and not as a difference.
        delta_alpha_v: mass after minus mass before.
        delta_g_v: mean change of the image keys' logits, weighted by their shares before, per position; fades to
            0 with a mass below `FLOOR`.
        image_keys: how many image keys the row sees.
    """

    alpha_v: Float[Tensor, "batch head"]
    alpha_product: Float[Tensor, "batch head"]
    delta_alpha_v: Float[Tensor, "batch head"]
    delta_g_v: Float[Tensor, "batch head"]
    image_keys: Int[Tensor, " batch"]


def turned_row(
    scores: Float[Tensor, "batch head key"],
    change: Float[Tensor, "batch head key"],
    image: Bool[Tensor, "batch key"],
    delta: float,
) -> TurnedRow:
    """The softmax of a row before and after the logits of its image keys change.

    Args:
        scores: masked logits before; minus infinity where the row sees nothing.
        change: how much each key's logit changes when it is turned; only that of image keys is used.
        image: which keys are the image's.
        delta: positions by which they were turned; 0 changes nothing, and its `delta_g_v` is 0.
    """
    seen = scores > -torch.inf
    inside = seen & image[:, None]
    before = scores.masked_fill(~inside, -torch.inf)
    change = change.masked_fill(~inside, 0.0)
    some = inside.any(-1)
    others = scores.masked_fill(inside, -torch.inf).logsumexp(-1)
    odds, odds_after = before.logsumexp(-1) - others, (before + change).logsumexp(-1) - others
    mass, rest, mass_after = (
        part.sigmoid().masked_fill(~some, fill) for part, fill in ((odds, 0.0), (-odds, 1.0), (odds_after, 0.0))
    )
    share = before.softmax(-1).masked_fill(~inside, 0.0)
    mean_change = (share * change).sum(-1) * mass / mass.clamp_min(FLOOR)
    return TurnedRow(
        alpha_v=mass,
        alpha_product=mass * rest,
        delta_alpha_v=mass_after - mass,
        delta_g_v=mean_change / delta if delta else torch.zeros_like(mean_change),
        image_keys=inside.any(1).sum(-1),
    )


def logits_and_change(
    query: Float[Tensor, "batch head d_head"],
    key: Float[Tensor, "batch key kv_head d_head"],
    turn: Float64[Tensor, "d_head d_head"],
    *,
    scaling: float,
    softcap: float | None = None,
) -> tuple[Float[Tensor, "batch head key"], Float[Tensor, "batch head key"]]:
    """Logits of a row with each key, and how much they change when the key is turned.

    No key is copied: q . (k R) - q . k is (q R^T - q) . k, so that the query is turned back instead, and a turn by
    nothing changes nothing, to the bit. The dtype is the query's, at least float32.

    Args:
        query: the query of the row, after RoPE.
        key: all keys, after RoPE; each head of them serves consecutive query heads.
        turn: keys are multiplied by it, see `probes.position.rotary.Rotary.turn`.
        scaling: the model's factor on dot products.
        softcap: the model's bound on logits, if it has one.
    """
    exact = torch.promote_types(query.dtype, torch.float32)
    back = (turn.T - torch.eye(len(turn), dtype=turn.dtype)).to(query.device, exact)  # a small turn loses no digits
    row = query.to(exact)
    keys = rearrange(key, "batch key kv_head d_head -> batch kv_head key d_head")
    with exactly(row):
        turned = row @ back
    both = KeyValues(keys, keys).dots(torch.stack([row, turned], dim=2)) * scaling
    logits, change = both.unbind(2)
    if softcap is None:
        return logits, change
    capped = softcap * (logits / softcap).tanh()
    return capped, softcap * ((logits + change) / softcap).tanh() - capped


class Reader:
    """A hook function that never edits."""

    reads_only = True

    def __init__(self, function: Callable[..., None]) -> None:
        """Call this with what is shown."""
        self.function = function

    def __call__(self, tensor: Tensor, *, hook: Any) -> None:
        """Show one tensor."""
        self.function(tensor)


class LayerProbe:
    """Listens to the attention of one layer in one pass, and keeps a few numbers for each head of it.

    Keys are let go before the layer has attended, so that memory does not grow with layers.
    """

    def __init__(
        self,
        layer: int,
        attention: Any,
        turn: Callable[[int], Float64[Tensor, "d_head d_head"]],
        *,
        row: int,
        image: Bool[Tensor, "batch key"],
        delta: float,
        past_only: bool,
        dtype: torch.dtype,
    ) -> None:
        """Be ready for a layer; `turn` is asked in its pass, since some models choose their frequencies there."""
        self.layer, self.attention, self.turn = layer, attention, turn
        self.row, self.image, self.delta, self.past_only, self.dtype = row, image, delta, past_only, dtype
        self.found: TurnedRow | None = None

    def hooks(self) -> list[tuple[str, Callable[..., Any]]]:
        """The hook functions, by hook name, in the order in which they are called."""
        at = f"blocks.{self.layer}.attn."
        whole = {"hook_rot_q": self._see_query, "hook_rot_k": self._see_keys}
        rows = {"hook_attn_logits": self._see_logits, "hook_attn_scores": self._see_scores}
        own = [(at + name, Reader(see)) for name, see in whole.items()]
        return own + [(at + name, RowHook(Reader(see), (self.row,), reads_only=True)) for name, see in rows.items()]

    def result(self) -> TurnedRow:
        """What was found.

        Raises:
            ModelError: the logits of the layer are not those of its queries and keys.
        """
        if self.found is None:
            raise ModelError(f"layer {self.layer} showed no attention row {self.row}: rope_sensitivity needs one")
        if not bool(torch.isfinite(self.off)):
            raise ModelError(f"the attention logits of layer {self.layer} are infinite or NaN, {OVERFLOW}")
        if not self.off <= TOLERANCE:
            raise ModelError(
                f"the attention logits of layer {self.layer} are not those of its queries and keys (off by "
                f"{float(self.off):.1g} of the largest): take off hooks and interventions that edit logits; if there "
                "are none, this model scales or caps its logits in a way that is not known"
            )
        return self.found

    def _see_query(self, query: Float[Tensor, "batch pos head d_head"]) -> None:
        self.query = query[:, self.row].to(torch.promote_types(query.dtype, self.dtype), copy=True)

    def _see_keys(self, key: Float[Tensor, "batch pos kv_head d_head"]) -> None:
        self.key = key

    def _see_logits(self, logits: Float[Tensor, "batch head 1 key"]) -> None:
        scaling = getattr(self.attention, "scaling", None)
        self.own, self.change = logits_and_change(
            self.query,
            self.key,
            self.turn(self.layer),
            scaling=self.query.shape[-1] ** -0.5 if scaling is None else scaling,
            softcap=getattr(self.attention, "attn_logit_softcapping", None),
        )
        self.shown = logits[:, :, 0]
        least = torch.finfo(self.shown.dtype).tiny  # so that logits that are all zero are not divided by
        self.off = (self.own - self.shown).abs().max() / self.shown.abs().max().clamp_min(least)
        del self.key, self.query

    def _see_scores(self, scores: Float[Tensor, "batch head 1 key"]) -> None:
        """Add to our logits what the mask does to the model's, and compare the row before and after the turn."""
        masked = scores[:, :, 0]
        if self.past_only:
            masked = masked.masked_fill(torch.arange(masked.shape[-1], device=masked.device) >= self.row, -torch.inf)
        own = self.own + (masked - self.shown)
        self.found = turned_row(own, self.change, self.image.to(own.device), self.delta)
        del self.own, self.change, self.shown
