"""Forced answers under edits: what a model thinks of given answers while heads are edited as if it were saying them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.intervene.base import Chain, Intervention, PerSample, Untouched, spread
from interp.intervene.head_edits import rows_in_scope
from interp.model.forced import said_chances, with_answers

if TYPE_CHECKING:
    from interp.model.features import ImageFeatures
    from interp.model.prefix import Prefix
    from interp.prompt.layout import TokenLayout


def forced_chances(
    features: ImageFeatures,
    answers: Sequence[Sequence[int]],
    edits: Sequence[Intervention],
    *,
    prefix: Prefix | None = None,
) -> Iterator[list[Float[Tensor, " token"]]]:
    """The log-probability of each token of given answers, sample by sample, under each edit.

    Where all answers have a single token, the last row of the prompt says it all; else it takes a pass for each edit.

    Args:
        features: the batch and its photos; the tower is not run again.
        answers: the tokens of each sample's answer, see `forced_tokens`.
        edits: edits of heads as they are written for prompts; their scope holds for the answers' tokens as it would
            while these are decoded.
        prefix: the shared prefill of the batch, where no edit touches earlier rows.

    Raises:
        InputError: not one answer for each sample, or an empty one.
        RefusedError: a family whose answers can not be told from its prompts.
    """
    if prefix is not None and all(len(own) == 1 for own in answers):
        yield from (said_chances(own[:, None], answers) for own in prefix.step(edits).logits)
        return
    layouts = features.inputs.layouts
    whole = replace(features, inputs=with_answers(features.vlm, features.inputs, answers))
    length = max(map(len, answers)) + 1
    for edit in edits:
        own = forced_edit(edit, layouts, [len(one) for one in answers])
        with torch.no_grad():
            logits = whole.forward(intervention=own, logits_to_keep=length).logits[:, -length:]
        yield said_chances(logits, answers)


def forced_edit(edit: Intervention, layouts: Sequence[TokenLayout], tokens: Sequence[int]) -> Intervention:
    """An edit of heads on prompts as one on prompts with answers behind them.

    Rows that would be decoded are rows of the batch there, and its last row is an answer's or padding.

    Args:
        edit: an edit of heads, a chain of such, or one for each sample.
        layouts: those of the prompts alone.
        tokens: how many tokens each answer has.
    """
    each = zip(spread(edit, len(layouts)), layouts, tokens, strict=True)
    return PerSample(tuple(_forced(own, layout, count) for own, layout, count in each))


def _forced(edit: Any, layout: TokenLayout, tokens: int) -> Intervention:
    if isinstance(edit, (Chain, PerSample)):
        parts = tuple(_forced(part, layout, tokens) for part in edit.parts)
        return parts[0] if isinstance(edit, PerSample) else Chain(parts)
    if isinstance(edit, Untouched):
        return edit
    (rows,) = rows_in_scope(edit.positions, edit.scope, [layout], str(edit))
    places: list[int] = []
    for own in rows:
        if own == "decoded":
            places += range(len(layout), len(layout) + tokens)
        else:
            places += [len(layout) - 1] if own == "last" else list(map(int, own))
    return replace(edit, positions=tuple(places), scope="prompt")
