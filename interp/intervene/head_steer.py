"""Steered heads: a direction of its own added to what each of some heads mixes, as long as the head varies along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.head_edits import (
    MOST,
    Change,
    check_batch,
    check_width,
    hooks_on_z,
    read_number,
    read_per_head,
    read_scope,
    read_values,
    rows_in_scope,
    spell_numbers,
)
from interp.intervene.head_patch import recorded_rows, spell_values
from interp.intervene.head_sets import Heads, read_heads, spell_heads
from interp.intervene.indices import spell_number
from interp.intervene.positions import Positions, is_of_each, spell_positions
from interp.prompt.layout import TokenLayout

UNITS = ("raw", "unit")


@dataclass(frozen=True, eq=False, repr=False)
class SteerHeads:
    """Add to what chosen heads have mixed: z <- z + alpha sigma d, a direction and a sigma of each head.

    Inference-time intervention (arXiv:2306.03341). Papers differ: with directions as they are (`raw`), alpha is 0.1 in
    arXiv:2512.10300; made one long (`unit`), 5 in the code of arXiv:2512.10978. `relative_shift` says how large a step
    is beside what the heads hold.

    Attributes:
        heads: (layer, head) pairs, 0-based. Heads are query heads, also where several share keys and values.
        directions: d, [head d_head], in the order of the heads, such as the mean over right answers minus that over
            wrong ones (see `between`).
        alpha: how much; negative steers the other way, and 0 changes nothing.
        sigma: the standard deviation of each head's z along its direction, one for each head or one for all; 1 adds
            alpha d.
        unit: `raw` adds directions as they are, `unit` makes each one long.
        positions: where, in the padded prompt; see `ScaleHeads`.
        scope: `prompt`, `decode` or `both`; see `ScaleHeads`.

    Example:
        >>> steer = SteerHeads.between([(8, 1), (9, 0)], right, wrong, alpha=0.1)  # [sample head d_head] each
        >>> steer
        SteerHeads(heads=L8H1 L9H0, directions=[2 32] 3f2a90c1, alpha=0.1, sigma=[1.5 2.25], unit=raw, positions=last,
        scope=both)
        >>> control = replace(steer, directions=random_directions(steer.directions.T, seed=0).T)

    Raises:
        InputError: heads, directions, numbers, positions or a scope that mean nothing.
    """

    heads: Heads
    directions: Float[Tensor, "head d_head"]
    alpha: float
    sigma: float | tuple[float, ...] = 1.0
    unit: str = "raw"
    positions: Positions = "last"
    scope: str = "both"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        heads = read_heads(self.heads)
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "directions", read_values(self.directions, heads, "directions", each=False))
        if still := [head for head, d in zip(heads, self.directions, strict=True) if not bool(d.any())]:
            raise InputError(f"the direction of head {still[0]} is zero, so it would not be steered: leave it out")
        object.__setattr__(self, "alpha", read_number(self.alpha, "alpha", example="0.1 or 5"))
        object.__setattr__(self, "sigma", _read_sigma(self.sigma, heads))
        if self.unit not in UNITS:
            raise InputError(f"unit={self.unit!r:.40} is not known: use one of {', '.join(UNITS)}")
        object.__setattr__(self, "positions", read_scope(self.positions, self.scope))
        if not float(self.shift().detach().abs().max()) < MOST:
            raise InputError(f"{self} would take activations out of range: give a smaller alpha")

    @classmethod
    def between(cls, heads: Any, right: Any, wrong: Any, *, alpha: float, among: Any = None, **more: Any) -> SteerHeads:
        """Steering along what tells right answers from wrong ones: mean minus mean, with its sigma.

        Take both from training samples alone: directions that saw the samples they are tested on prove nothing.

        Args:
            heads: (layer, head) pairs.
            right: z of samples that were answered right, [sample head d_head]; see `recorded_z`.
            wrong: z of those that were answered wrong.
            alpha: how much.
            among: z of the samples that sigma, which has ddof 1, is of; right and wrong together by default.
            **more: the other settings.

        Raises:
            InputError: no samples on a side, fewer than two for sigma, or a direction or sigma that is zero.
        """
        own = read_heads(heads)
        sides = {"right": right, "wrong": wrong} | ({} if among is None else {"among": among})
        read = {name: _read_samples(given, own, name) for name, given in sides.items()}
        if len(widths := {own.shape[-1] for own in read.values()}) > 1:
            raise InputError(f"{' and '.join(read)} are {sorted(widths)} wide: give each as wide as the other")
        every = read["among"] if among is not None else torch.cat([read["right"], read["wrong"]])
        if len(every) < 2:
            raise InputError(f"sigma is of {len(every)} samples: give at least two")
        directions = read["right"].mean(0) - read["wrong"].mean(0)
        units = directions / directions.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(directions.dtype).tiny)
        sigma = torch.einsum("nhd,hd->nh", every, units).std(0, correction=1)
        return cls(own, directions.float(), alpha, tuple(sigma.tolist()), **more)

    def shift(self) -> Float[Tensor, "head d_head"]:
        """What is added to z, alpha sigma d, in at least float32."""
        exact = self.directions.to(torch.promote_types(self.directions.dtype, torch.float32))
        if self.unit == "unit":
            exact = exact / exact.detach().abs().amax(
                -1, keepdim=True
            )  # whose squares no number is too large or small for
            exact = exact / exact.norm(dim=-1, keepdim=True)
        sigma = self.sigma if isinstance(self.sigma, tuple) else (self.sigma,) * len(self.heads)
        return (
            exact * torch.tensor([self.alpha * own for own in sigma], dtype=exact.dtype, device=exact.device)[:, None]
        )

    def relative_shift(
        self, cache: Mapping[str, Tensor] | Any, recorded: Any, *, at: Any = None
    ) -> Float[Tensor, "sample head"]:
        """How long the shift of each head is beside its z in a run that was kept, ||shift|| / ||z||.

        Args:
            cache: what `run_with_cache(names_filter=head_points(heads))` gave of an untouched run.
            recorded: the inputs of that run.
            at: positions of its prompts; those that are steered by default, of several z's mean length.

        Raises:
            InputError: see `recorded_z`.
        """
        rows = recorded_rows(self.heads, cache, recorded, at=self.positions if at is None else at)
        long = torch.stack([torch.stack([own.norm(dim=-1).mean() for own in sample]) for sample in rows])
        return self.shift().detach().norm(dim=-1).to(long) / long

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook a layer, for all of its heads; none where alpha is 0.

        Raises:
            HookError: a head that the model does not have.
            InputError: directions of another width, or positions that do not fit the batch.
        """
        check_batch(self.heads, shape, None, len(layouts), str(self))
        check_width(self.directions, shape, f"{self}: a direction")
        rows = rows_in_scope(self.positions, self.scope, layouts, str(self))
        shift = self.shift()

        def change(sample: int, places: list[int]) -> Change:
            return partial(_added, shift=shift[places])

        return hooks_on_z(self.heads, change, rows, layouts, str(self)) if self.alpha else []

    def of_each(self, samples: int) -> list[SteerHeads]:
        """What is done with each sample of a batch."""
        if not is_of_each(self.positions):
            return [self] * samples
        return [replace(self, positions=own) for own in self.positions]

    def __str__(self) -> str:
        """Name every setting, for results; directions by their axes and a digest."""
        return (
            f"SteerHeads(heads={spell_heads(self.heads)}, directions={spell_values(self.directions)}, "
            f"alpha={spell_number(self.alpha)}, sigma={spell_numbers(self.sigma)}, unit={self.unit}, "
            f"positions={spell_positions(self.positions)}, scope={self.scope})"
        )

    __repr__ = __str__


def _added(
    z: Float[Tensor, "row head d_head"], *, shift: Float[Tensor, "head d_head"]
) -> Float[Tensor, "row head d_head"]:
    return z + shift.to(z)


def _read_sigma(given: Any, heads: Heads) -> float | tuple[float, ...]:
    read = read_per_head(given, heads, "sigma", example="1 or 0.25")
    if wrong := [head for head, own in zip(heads, read, strict=True) if not own > 0]:
        raise InputError(
            f"sigma of head {wrong[0]} is no standard deviation: give one above 0, and leave out heads that do not vary"
        )
    return read[0] if len(set(read)) == 1 else read


def _read_samples(given: Any, heads: Heads, name: str) -> Float[Tensor, "sample head d_head"]:
    """What heads mixed in samples, in double precision."""
    read = read_values(given, heads, name, each=True)
    if read.ndim != 3:
        raise InputError(f"{name} has no axis of samples: give [sample head d_head]")
    return read.detach().double()
