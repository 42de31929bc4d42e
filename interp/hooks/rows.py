"""Query rows: which rows of the attention a hook reads or edits, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float

from interp.errors import HookError
from interp.hooks.point import Point
from interp.numeric import whole_numbers
from interp.options import known_options

QueryRows = str | Sequence[int]
"""`"last"` (the last prompt row), `"all"`, `"decoded"` (every row after the prompt), `"generated"` (the last prompt row
and every row after it), or positions in the padded prompt (negative ones count from its end)."""

WORDS = ("last", "all", "decoded", "generated")

_WORDS_OR_POSITIONS = ", ".join(map(repr, WORDS)) + " or a list of positions"

ROW_POINTS = ("hook_attn_logits", "hook_attn_scores", "hook_pattern")


@dataclass
class Pass:
    """What a tower is computing right now: `length` rows, `offset` positions after the start of the sequence.

    `prompt` is the length of the padded prompt in positions, what it goes on from included: it stays while later passes
    decode new tokens. So do `earlier`, lengths of prompts that it goes on from, and `copies`: a number k in it says
    that the rows of the batch come as k copies of each prompt, one after another, as beams and returned sequences do.
    """

    offset: int = 0
    length: int = 0
    prompt: int = 0
    earlier: frozenset[int] = frozenset()
    copies: frozenset[int] = frozenset({1})


def check_rows(rows: QueryRows) -> QueryRows:
    """Return `rows` as they are, or as a tuple of ints; refuse anything else.

    Raises:
        HookError: `rows` is neither a known word nor a sequence of integers.
    """
    if isinstance(rows, str):
        if rows not in WORDS:
            raise HookError(f"query_rows={rows!r} is not known: use {_WORDS_OR_POSITIONS}")
        return rows
    try:
        positions = whole_numbers(rows)
    except TypeError:
        positions = ()
    if not positions:
        raise HookError(f"query_rows={rows!r:.80} is not understood: use {_WORDS_OR_POSITIONS}")
    return positions


def fits(rows: QueryRows | None, name: str) -> bool:
    """Whether these rows mean something at a hook point: the vision tower has no last prompt row."""
    vision = name.startswith("vision.") and name.endswith(ROW_POINTS)
    return not (vision and rows in (None, "last", "decoded", "generated"))


def check_fits(rows: QueryRows | None, name: str) -> None:
    """Refuse rows that mean nothing at a hook point.

    Raises:
        HookError: they do not.
    """
    if not fits(rows, name):
        raise HookError(f"{name}: name the rows of the vision tower, such as query_rows='all' or [0, 5]")


def check_has_rows(name: str | None) -> None:
    """Refuse to choose rows at a hook point that shows whole tensors.

    Raises:
        HookError: it is such a one.
    """
    if not str(name).endswith(ROW_POINTS):
        raise HookError(
            f"{name} shows no attention rows, so that a RowHook has none to choose there: give the function itself, "
            f"and let it index positions, or put it on a hook point that ends with {', '.join(ROW_POINTS)}"
        )


def rows_in_pass(rows: QueryRows, now: Pass) -> range | list[int]:
    """Local indices, inside the rows of this pass, of the rows asked for, in the order asked; empty when none are here.

    Example:
        >>> rows_in_pass("last", Pass(offset=0, length=6, prompt=6))
        range(5, 6)

    Raises:
        HookError: a position lies outside the prompt, or is named twice.
    """
    end = now.offset + now.length
    if rows == "all":
        return range(now.length)
    if rows == "last":
        wanted: range | list[int] = range(now.prompt - 1, now.prompt)
    elif rows in ("decoded", "generated"):
        wanted = range(max(now.prompt - (rows == "generated"), now.offset), end)
    else:
        outside = [row for row in rows if not -now.prompt <= int(row) < now.prompt]
        if outside:
            raise HookError(
                f"query_rows {outside} lie outside the prompt of {now.prompt} positions: "
                f"give positions from 0 to {now.prompt - 1}"
            )
        wanted = [int(row) % now.prompt for row in rows]
        if len(set(wanted)) < len(wanted):
            raise HookError(f"query_rows {list(rows)} name a position twice in the prompt of {now.prompt} positions")
    return as_range([row - now.offset for row in wanted if now.offset <= row < end])


def copies_of_each(now: Pass, rows: int, samples: int, name: str) -> int:
    """How many rows after each other belong to one sample, where a batch was expanded by beams or returned sequences.

    Raises:
        HookError: the rows are not so many copies of each sample, one after another.
    """
    each, rest = divmod(rows, samples)
    if not each or rest or each not in now.copies:
        raise HookError(
            f"{name} has rows of a batch of {rows}, but the intervention was made for {samples} samples, and these "
            f"rows are not equally many copies of each, one after another: make it for the inputs that you run"
        )
    return each


def refuse_other_prompt(hook: PassPoint | RowHookPoint, length: int, what: str) -> None:
    """Refuse a pass of other prompts than those that an intervention was made for, and that do not go on from them.

    Raises:
        HookError: they have another length.
    """
    if hook.now.prompt != length and length not in hook.now.earlier:
        raise HookError(
            f"{hook.name} has {what} of a prompt of {hook.now.prompt} positions, but the intervention was made for "
            f"prompts of {length}: make it for the inputs that you run"
        )


def copies(*given: torch.Tensor) -> frozenset[int]:
    """How many rows after each other may be taken for one: numbers k such that rows come as k copies of each.

    Args:
        *given: what the model is given of one batch, ids [batch pos] and embeddings [batch pos d_model], or one.

    Example:
        >>> sorted(copies(torch.tensor([[5, 6], [5, 6], [7, 8], [7, 8]])))
        [1, 2]
    """
    batch = len(given[0])
    divisors = [k for k in range(1, batch + 1) if batch % k == 0]
    return frozenset(k for k in divisors if k == 1 or all(_alike(rows, k) for rows in given))


def _alike(rows: torch.Tensor, k: int) -> bool:
    """Whether each block of k rows holds the same row k times, but for rounding in the image's embeddings.

    Rounding is told from another prompt at each position, by the mean over its embedding: a large entry, of which the
    image has some, hides nothing at other positions and little at its own.
    """
    blocks = rearrange(rows.detach(), "(prompt copy) ... -> prompt copy ...", copy=k)
    if not rows.is_floating_point():
        return bool((blocks == blocks[:, :1]).all())
    exact = torch.promote_types(rows.dtype, torch.float32)
    off = (blocks - blocks[:, :1]).abs().mean(-1, dtype=exact)
    size = blocks[:, :1].abs().mean(-1, dtype=exact)
    return bool((off <= size * min(256 * torch.finfo(rows.dtype).eps, 0.02)).all())


def as_range(rows: list[int]) -> range | list[int]:
    """A range where the rows follow each other, the list itself otherwise."""
    return range(rows[0], rows[-1] + 1) if rows and rows == [*range(rows[0], rows[-1] + 1)] else rows


def as_index(rows: range | list[int]) -> slice | list[int]:
    """A slice where the rows are contiguous (a view, no copy), the list itself otherwise."""
    return slice(rows.start, rows.stop) if isinstance(rows, range) else rows


class PassPoint(Point):
    """A hook point that says which pass its tensor is of; in the vision tower, which has none, an empty one."""

    def __init__(self) -> None:
        """Start with no pass at all."""
        super().__init__()
        self.now = Pass()


class RowHookPoint(Point):
    """A hook point on [batch head row key] tensors, whose row axis holds only the rows that somebody asked for."""

    def __init__(self) -> None:
        """Start with no rows at all."""
        super().__init__()
        self.rows: range | list[int] = range(0)
        self.now = Pass()

    def wanted(self, now: Pass, *, readers: bool = True) -> set[int]:
        """Local indices of the rows that the hooks on this point, or those that may edit, ask for in this pass."""
        hooks = [*self.forward_functions, *self.backward_functions]
        asked = {getattr(hook, "query_rows", "all") for hook in hooks if readers or not only_reads(hook)}
        return {row for rows in asked for row in rows_in_pass(rows, now)}


class RowHook:
    """A caller's hook function, shown only the rows that it asked for; what it changes is put back in place.

    `reads_only` promises that the function neither edits nor wants gradients: the model's own output then stays.
    """

    @known_options()
    def __init__(self, function: Callable[..., Any], query_rows: QueryRows, *, reads_only: bool = False) -> None:
        """Remember the function and its rows."""
        self.function = function
        self.query_rows = check_rows(query_rows)
        self.reads_only = reads_only

    def __call__(
        self, tensor: Float[torch.Tensor, "batch head row key"], *, hook: RowHookPoint
    ) -> Float[torch.Tensor, "batch head row key"] | None:
        """Call the function on its own rows of `tensor` [batch head row key].

        Raises:
            HookError: the point shows no rows.
        """
        if not isinstance(hook, RowHookPoint):
            check_has_rows(hook.name)
        wanted = rows_in_pass(self.query_rows, hook.now)
        if not wanted:
            return None
        if list(wanted) == list(hook.rows):
            return self.function(tensor, hook=hook)
        places = {row: place for place, row in enumerate(hook.rows)}
        index = torch.tensor([places[row] for row in wanted], device=tensor.device)
        own = tensor.index_select(2, index)
        watch = Watch(own, reads_only=self.reads_only)
        result = self.function(own, hook=hook)
        if not watch.changed(own if result is None else result):
            return None
        return tensor.index_copy(2, index, own if result is None else result)

    def __repr__(self) -> str:
        """Name the function and its rows."""
        return f"RowHook({self.function!r}, query_rows={self.query_rows!r})"


class Watch:
    """Tells whether a tensor was replaced, changed in place, or drawn into a gradient, since the watch began."""

    def __init__(self, tensor: torch.Tensor, *, reads_only: bool = False) -> None:
        """Keep a copy to compare with, since a change through `.data` or numpy leaves no other trace."""
        self.tensor, self.required = tensor, tensor.requires_grad
        self.before = None if reads_only else tensor.detach().clone()

    def changed(self, now: torch.Tensor) -> bool:
        """Whether `now`, what the hooks gave back, has to be written into the model.

        Raises:
            HookError: a gradient is asked for while these are off.
        """
        if now is not self.tensor:
            return True
        refuse_lost_gradient(now, required=self.required)
        if self.before is None:
            return False
        return (torch.is_grad_enabled() and now.requires_grad) or not torch.equal(self.before, now)


def visit(point: Point, tensor: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Show a side copy `tensor` to the hooks of `point`; return what they leave, and whether that is an edit.

    Raises:
        HookError: see `show`.
    """
    if not point.on:
        return tensor, False
    if point.backward_functions:
        tensor = _with_gradient(point, tensor)
    watch = Watch(tensor, reads_only=all(only_reads(function) for function in point.forward_functions))
    result = show(point, tensor)
    return result, watch.changed(result)


def show(point: Point, tensor: torch.Tensor) -> torch.Tensor:
    """Show a `tensor` of the model itself to the hooks of `point`; return what goes on in its place.

    Raises:
        HookError: a hook returned something else than a tensor of the same shape, or waits for gradients that are off.
    """
    if not point.on:
        return tensor
    required = tensor.requires_grad
    result = point(_with_gradient(point, tensor) if point.backward_functions else tensor)
    if result is tensor:
        refuse_lost_gradient(tensor, required=required)
    if not isinstance(result, torch.Tensor) or result.shape != tensor.shape:
        given = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise HookError(f"a hook on {point.name} returned {given}: return None or a tensor of {tuple(tensor.shape)}")
    return result.to(tensor)  # the same object where dtype and device agree


def show_packed(point: Point, tensor: torch.Tensor, *, axes: int = 3) -> torch.Tensor:
    """Show a tensor of so many axes, a packed one as a batch of one; return what goes on in its place.

    Raises:
        HookError: see `show`.
    """
    return show(point, tensor) if tensor.ndim == axes else show(point, tensor[None])[0]


def refuse_lost_gradient(tensor: torch.Tensor, *, required: bool) -> None:
    """Refuse that a hook asks for the gradient of its tensor where none will come.

    Raises:
        HookError: gradients are off.
    """
    if tensor.requires_grad and not required and not torch.is_grad_enabled():
        raise HookError(f"a hook asks for the gradient of its tensor while gradients are off: {_GRADIENTS_ON}")


_GRADIENTS_ON = (
    "use torch.enable_grad(), and where the model checkpoints its activations, let it do so by use_reentrant=False"
)


def only_reads(hook: Any) -> bool:
    """Whether a hook function promises to leave its tensor as it is."""
    return getattr(hook, "reads_only", False)


def _with_gradient(point: Point, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as something that a backward hook will hear of."""
    if not torch.is_grad_enabled():
        raise HookError(f"a backward hook on {point.name} can not fire while gradients are off: {_GRADIENTS_ON}")
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()
