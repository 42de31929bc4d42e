"""Amplification: image tokens with what they hold along some directions made larger, and random such directions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.exact import exactly
from interp.hooks.shape import ModelShape
from interp.intervene.base import Hook
from interp.intervene.image_hooks import IMAGE_POINT, ImageHook, refuse_deepstack
from interp.intervene.indices import spell_number
from interp.prompt.layout import TokenLayout

MODES = ("rescale", "additive")

SMALL = 1e-8
"""What the released code adds to squared lengths: it matters to columns shorter than about 1e-3 alone."""

SHORTEST, LONGEST = 1e-7, 1e18
"""Lengths whose squares float32 holds, and which `SMALL` does not drown."""

CANCELS = 1e-4
"""Columns of length one whose sum is shorter than this say nothing together."""


@dataclass(frozen=True, eq=False)
class AmplifyImageTokens:
    """Make what image tokens hold along some directions larger, where they enter the language model.

    From "The Dual Mechanisms" (arXiv 2603.22278, section 5.4), whose directions are the columns of a position probe.
    With `rescale`, the formula of the released code, every token e becomes

        e + alpha sum_k <e, w_k> / (||w_k||^2 + 1e-8) w_k

    where all k see the e of before. Columns are not made orthogonal: along two opposite ones, as those of a probe of
    two classes tend to be, a token grows by 1 + 2 alpha. With `additive`, the formula that the paper prints, for
    directions of length one, every token becomes e + alpha sum_k w_k / ||w_k||, whatever it holds; opposite columns
    cancel there.

    Image tokens alone are edited, in the prompt alone: what is decoded is not.

    Attributes:
        directions: float32 [d_model k], a direction in each column.
        alpha: how much; 0 changes nothing.
        mode: `rescale` or `additive`.

    Example:
        >>> str(AmplifyImageTokens(probe, alpha=5))
        'AmplifyImageTokens(directions=64x2 3f2a90c1, alpha=5, mode=rescale)'

    Raises:
        InputError: directions that are no finite columns, all of them zero, with `additive` one zero or all together
            nothing, an alpha that is no finite number, or another mode.
    """

    directions: Float[Tensor, "d_model k"]
    alpha: float
    mode: str = "rescale"

    def __post_init__(self) -> None:
        """Refuse numbers and names that mean nothing."""
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, Real) or not math.isfinite(self.alpha):
            raise InputError(f"alpha={self.alpha!r:.40} is not a finite number: give one such as 5")
        if self.mode not in MODES:
            raise InputError(f"mode={self.mode!r} is not known: use one of {', '.join(MODES)}")
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "directions", read_directions(self.directions, self.mode))

    def hooks(self, shape: ModelShape, layouts: Sequence[TokenLayout]) -> list[Hook]:
        """One hook on `projector.hook_out`; none with alpha 0.

        Raises:
            InputError: directions of another width than the model's.
            RefusedError: a model that adds more of the photo behind the projector (DeepStack), which would stay.
        """
        refuse_deepstack(shape, "AmplifyImageTokens")
        check_width(self.directions, shape)
        if self.alpha == 0:
            return []
        return [(IMAGE_POINT, ImageHook([[self._amplified]] * len(layouts), layouts))]

    def change(self, tokens: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """What is added to each token at alpha 1, at the precision of float32 or above."""
        exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        columns = self.directions.to(exact)
        squares = columns.square().sum(0)
        if self.mode == "additive":
            return (columns / squares.sqrt()).sum(1).expand_as(exact)
        with exactly(exact):
            return (exact @ columns / (squares + SMALL)) @ columns.T

    def _amplified(self, tokens: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        edited = (tokens + self.alpha * self.change(tokens)).to(tokens.dtype)
        if not torch.equal(edited.isfinite(), tokens.isfinite()):
            raise HookError(f"{self} takes image tokens out of the range of {tokens.dtype}: give a smaller alpha")
        return edited

    def __str__(self) -> str:
        """Name every setting, for results; directions by their shape and a digest."""
        width, count = self.directions.shape
        return (
            f"AmplifyImageTokens(directions={width}x{count} {digest(self.directions)}, "
            f"alpha={spell_number(self.alpha)}, mode={self.mode})"
        )

    __repr__ = __str__


def random_directions(like: Any, seed: int | Sequence[int], *, same_angle: bool = False) -> Float[Tensor, "d_model k"]:
    """Random directions, each as long as a column of `like`: the control beside directions that mean something.

    Columns are normal numbers from a generator of this seed, scaled. The paper's are of length one, one draw without a
    seed. As two long random columns are next to orthogonal, they amplify by 1 + alpha where those of a probe, nearly
    opposite, amplify by up to 1 + 2 alpha: `same_angle` turns all columns of `like` together into a random subspace, so
    that angles between them stay as they are too.

    Args:
        like: [d_model k].
        seed: a seed of `numpy.random.default_rng`: a whole number from 0 on, or several.
        same_angle: whether the columns' angles are those of `like`.

    Example:
        >>> control = AmplifyImageTokens(random_directions(probe, seed=0), alpha=5)

    Raises:
        InputError: `like` is refused by `AmplifyImageTokens`, has more columns than rows where angles are kept, or the
            seed is none.
    """
    wanted = read_directions(like)
    try:
        drawn = np.random.default_rng(seed).normal(size=tuple(wanted.shape))
    except (TypeError, ValueError) as error:
        raise InputError(f"seed={seed!r} draws nothing ({error}): give a whole number from 0 on") from None
    columns, lengths = torch.from_numpy(drawn), wanted.double()
    if not same_angle:
        return (columns / columns.norm(dim=0) * lengths.norm(dim=0)).float()
    if wanted.shape[1] > wanted.shape[0]:
        raise InputError(f"{wanted.shape[1]} directions in {wanted.shape[0]} dimensions have no angles to keep")
    basis, upper = torch.linalg.qr(columns)
    basis = basis * upper.diagonal().sign()  # without it, some turns would be likelier than others (Mezzadri 2007)
    return (basis @ torch.linalg.qr(lengths).R).float()


def read_directions(given: Any, mode: str = "rescale") -> Float[Tensor, "d_model k"]:
    """Directions as float32 columns on the CPU, apart from what was given.

    Raises:
        InputError: they are no columns of finite numbers, all of them zero, or of no use with `additive`.
    """
    try:
        own = given.detach() if isinstance(given, Tensor) else torch.from_numpy(np.array(given, dtype=np.float64))
        read = own.to("cpu", torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"directions={given!r:.60} are no numbers ({error!s:.60}): give [d_model k]") from None
    if read.ndim != 2 or 0 in read.shape or not read.isfinite().all():
        raise InputError(
            f"directions of shape {tuple(read.shape)} have to be columns of finite numbers, [d_model k], as float32"
        )
    lengths = read.double().norm(dim=0)
    if not lengths.any():
        raise InputError("all directions are zero, so nothing would be amplified: give those of a probe")
    if outside := lengths[(lengths > 0) & ((lengths < SHORTEST) | (lengths > LONGEST))].tolist():
        raise InputError(
            f"a direction is {outside[0]:.3g} long, and its square is out of range: give some of length "
            f"{SHORTEST:g} to {LONGEST:g}, such as 1"
        )
    if mode == "additive":
        if not lengths.all():
            empty = np.flatnonzero(lengths == 0).tolist()
            raise InputError(f"directions {empty} are zero, and have no length to divide by: leave them out")
        if (read / lengths).sum(1).norm() < CANCELS:
            raise InputError("the directions, made one long, cancel, so that nothing is added: give one of them alone")
    return read


def check_width(directions: Float[Tensor, "d_model k"], shape: ModelShape) -> None:
    """Refuse directions that are not as wide as what the language model receives.

    Raises:
        InputError: they are not.
    """
    if len(directions) != shape.d_model:
        raise InputError(
            f"directions are {len(directions)} wide, and the language model's image tokens {shape.d_model}: give those "
            "of a probe on projected image tokens of this model"
        )


def digest(directions: Float[Tensor, "d_model k"]) -> str:
    """Eight letters that tell directions apart, for results."""
    return hashlib.sha256(directions.contiguous().numpy().tobytes()).hexdigest()[:8]
