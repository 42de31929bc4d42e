"""Position hooks: edits of [batch pos ...] activations of the language model, at positions of each sample's prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError
from interp.hooks.rows import PassPoint, QueryRows, copies_of_each, refuse_other_prompt, rows_in_pass
from interp.hooks.shape import ModelShape
from interp.prompt.layout import TokenLayout

DECODED = ("decoded", "generated")
"""Rows that an edit also meets while tokens are decoded."""

STREAM = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post")
"""Points that show the residual stream itself, short of a block's name."""

ADDED = ("hook_attn_out", "hook_mlp_out")
QUERY_HEADS = ("attn.hook_q", "attn.hook_rot_q", "attn.hook_z")
KEY_HEADS = ("attn.hook_k", "attn.hook_v")
FINAL = ("ln_final.hook_normalized", "ln_final.hook_out")
"""The last norm's input without its length, and that times the gain, which the unembedding reads."""

IN_BLOCKS = (*STREAM, *ADDED, *QUERY_HEADS, *KEY_HEADS)
"""Points of a block that show one activation for each position, and keep what is written there."""

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class PositionEdit:
    """What is done with some positions of one sample.

    Attributes:
        rows: positions of its padded prompt, or `last`, `decoded` or `generated`; those in the pass are edited.
        change: gives what stands in place of their activations [row ...].
    """

    rows: QueryRows
    change: Callable[[Float[Tensor, "row ..."]], Float[Tensor, "row ..."]]


class PositionHook:
    """A hook function for [batch pos ...] points that edits positions of each sample, also where beams are its copies.

    It goes pass by pass: positions of the prompt are met in its prefill, `last` also in the single-token step of a
    `Prefix`, `decoded` in each cached pass after the prompt. All others stay as they are, to the bit.

    Attributes:
        edits: what is done with each sample, one after another.
        length: positions of the padded prompts that this was made for.
    """

    def __init__(self, edits: Sequence[Sequence[PositionEdit]], layouts: Sequence[TokenLayout]) -> None:
        """Remember the edits of each sample, and how long their prompts are."""
        self.edits = tuple(tuple(own) for own in edits)
        self.length = len(layouts[0])

    @property
    def query_rows(self) -> QueryRows:
        """`last` where only the last prompt row is edited, `generated` where also decoded ones are.

        Where earlier rows of the prompt are edited, which no shared prefill allows, some of them.
        """
        rows = [edit.rows for own in self.edits for edit in own]
        earlier = next((own for own in rows if own not in ("last", *DECODED)), None)
        if earlier is not None:
            return earlier
        return "generated" if any(own in DECODED for own in rows) else "last"

    def __call__(self, tensor: Float[Tensor, "batch pos ..."], *, hook: PassPoint) -> Tensor | None:
        """Edit the positions of every sample that are in this pass; None where there is none."""
        refuse_other_prompt(hook, self.length, "activations")
        if tensor.shape[1] != hook.now.length:
            raise HookError(
                f"{hook.name} shows {tensor.shape[1]} of the {hook.now.length} positions of this pass, so it is not "
                "known which: edit a point that shows them all"
            )
        copies = copies_of_each(hook.now, len(tensor), len(self.edits), hook.name)
        parts, edited = list(tensor.unbind()), False
        for sample, own in enumerate(self.edits):
            for edit in own:
                if places := rows_in_pass(edit.rows, hook.now):
                    edited, index = True, torch.tensor(list(places), device=tensor.device)
                    for row in range(sample * copies, (sample + 1) * copies):
                        changed = edit.change(parts[row].index_select(0, index))
                        parts[row] = parts[row].index_copy(0, index, changed.to(parts[row]))
        return torch.stack(parts) if edited else None

    def __repr__(self) -> str:
        """Count the edits."""
        return f"PositionHook({sum(map(len, self.edits))} edits of {len(self.edits)} samples)"


def axes_at(name: str, shape: ModelShape) -> tuple[int, ...]:
    """What a hook point shows of one position: (d_model,), or (heads, d_head).

    Raises:
        HookError: there is no such point in this model, or it shows something else.
    """
    point, layer = parted(name)
    if layer is not None and layer >= shape.n_layers:
        raise HookError(f"{name}: this model has {shape.n_layers} blocks, counted from 0 to {shape.n_layers - 1}")
    if point in QUERY_HEADS:
        return shape.n_heads, shape.d_head
    return (shape.n_kv_heads, shape.d_head) if point in KEY_HEADS else (shape.d_model,)


def is_position_point(name: str) -> bool:
    """Whether a hook point shows one activation for each position of the language model, and keeps what is written."""
    found = _BLOCK.fullmatch(name)
    return name in FINAL or (found is not None and found[2] in IN_BLOCKS)


def parted(name: Any) -> tuple[str, int | None]:
    """A hook name as its point and its block; of the final norm, as its name and None.

    Example:
        >>> parted("blocks.3.attn.hook_z")
        ('attn.hook_z', 3)

    Raises:
        HookError: it shows no activation for each position of the language model, or one that can not be edited so.
    """
    if name in FINAL:
        return name, None
    found = _BLOCK.fullmatch(name) if isinstance(name, str) else None
    if found is None or not is_position_point(name):
        kept_as = ": edit hook_k, which the cache keeps" if str(name).endswith("hook_rot_k") else ""
        raise HookError(
            f"{name!r:.80} shows no activation for each position of the language model{kept_as}: use "
            f"blocks.L.POINT with one of {', '.join(IN_BLOCKS)}, or {FINAL[-1]}"
        )
    return found[2], int(found[1])
