"""Edits of an evaluation: what is done with the heads of an arm, for each batch of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interp.errors import InputError
from interp.intervene.base import Intervention, Untouched
from interp.intervene.head_bias import BiasImageLogits
from interp.intervene.head_edits import check_scope, read_number
from interp.intervene.head_patch import PatchHeads
from interp.intervene.head_steer import UNITS
from interp.intervene.heads import ScaleHeads
from interp.intervene.redistribution import RedistributeAttention
from interp.objects.refusals import all_of
from interp.stats.draws import own_draws
from probes.heads.evaluation.arms import DIRECTIONS, LAYERS, LOWEST, OTHER, RANDOM, REGIONS
from probes.heads.evaluation.where import NAMED

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.intervene.positions import Positions
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from probes.heads.evaluation.arms import Arm
    from probes.heads.evaluation.donors import Donors

REMOVE, EMPHASISE = -1, 1

EDITS = {
    "scale": REMOVE, "mean": REMOVE, "resample": REMOVE,
    "gain": EMPHASISE, "steer": EMPHASISE, "bias": EMPHASISE, "redistribute": EMPHASISE,
}  # fmt: skip
"""What is done with heads, and which way the answers should go where these heads make them."""

FACTORS = {"scale": 1e-3, "gain": 2.0, "steer": 0.1, "bias": 1e4, "redistribute": 0.6}
"""How strongly heads are edited where nothing else is asked for; patches have no strength."""

LEARNED = ("mean", "resample", "steer")
"""Edits that are made of training samples."""

SETS = (RANDOM, LAYERS, LOWEST, OTHER)
CONTROLS_OF = dict.fromkeys(EDITS, SETS) | {"steer": (*SETS, DIRECTIONS), "bias": (*SETS, REGIONS)}
"""The controls that there are of each edit."""


@dataclass(frozen=True, eq=False)
class HeadEdit:
    """What is done with heads.

    Attributes:
        edit: `scale`, times a factor below 1 (arXiv:2603.20662 has 1e-3); `mean`, replaced by their mean over training
            samples; `resample`, by what they were in one training sample, drawn for each; `gain`, times a factor above
            1; `steer`, moved from wrong to right answers of training samples; `bias`, turned towards the boxes of the
            sample's objects; `redistribute`, their attention on sinks given to the rest of the image.
        positions: where in the prompt, by a word: those of `ScaleHeads`, or `objects`, the words of each question that
            name its objects, see `interp.object_words`.
        scope: `prompt`, `decode` or `both`.
        unit: of `steer`, whether directions are `raw` or of length one.
        sinks: of `redistribute`, which image tokens are sinks, bool [image_token] or [layer image_token].
        seed: the seed of what is drawn for each sample.
        donors: of `LEARNED` edits, what training samples gave.
    """

    edit: str
    positions: str = "last"
    scope: str = "both"
    unit: str = "raw"
    sinks: Any = None
    seed: int = 0
    donors: Donors | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.edit not in EDITS:
            raise InputError(f"edit={self.edit!r:.40} is not known: use one of {', '.join(EDITS)}")
        if not isinstance(self.positions, str) or self.positions not in NAMED:
            raise InputError(f"positions={self.positions!r:.60} of a data set: use one of {', '.join(NAMED)}")
        check_scope(self.positions, self.scope)
        if self.unit not in UNITS:
            raise InputError(f"unit={self.unit!r:.40} is not known: use one of {', '.join(UNITS)}")
        if (self.sinks is None) == (self.edit == "redistribute"):
            raise InputError(
                f"edit={self.edit!r} with {'no' if self.sinks is None else 'some'} sinks: 'redistribute' needs them, "
                "such as mass_sinks finds over training photos, and no other edit has any"
            )

    @property
    def alone(self) -> bool:
        """Whether no row of the prompt but the last one is edited, so that all arms share its prefill."""
        return self.positions == "last" or self.scope == "decode"

    def of_batch(self, arm: Arm, samples: Sequence[Sample], inputs: VLMInputs, positions: Positions) -> Intervention:
        """What an arm does with a batch, at positions that `positions_of` has found."""
        if not arm.heads:
            return Untouched()
        where: dict[str, Any] = {"positions": positions, "scope": self.scope}
        if self.edit in ("scale", "gain"):
            return ScaleHeads(arm.heads, arm.factor, **where)
        if self.edit == "redistribute":
            return RedistributeAttention(self.sinks, arm.factor, heads=arm.heads, **where)
        if self.edit == "bias":
            each = zip(samples, inputs.grids, strict=True)
            towards = tuple(_region(arm, sample, grid, self.seed) for sample, grid in each)
            return BiasImageLogits(arm.heads, towards, arm.factor, **where)
        assert self.donors is not None
        if self.edit == "mean":
            return PatchHeads(arm.heads, self.donors.mean(arm.heads), **where)
        if self.edit == "resample":
            drawn = [self.donors.drawn(arm.heads, sample.id, self.seed) for sample in samples]
            return PatchHeads(arm.heads, torch.stack(drawn), **where)
        random = arm.draw if arm.role == DIRECTIONS else None
        return self.donors.steering(arm.heads, arm.factor, random=random, seed=self.seed, unit=self.unit, **where)

    def edited(self, arm: Arm) -> int:
        """How many heads of an arm are edited; steering leaves out those that do not tell right from wrong."""
        if self.edit == "steer" and self.donors is not None and arm.heads:
            return len(self.donors.moving(arm.heads))
        return len(arm.heads)


def read_factor(edit: str, given: Any) -> float:
    """How strongly heads are edited, see `FACTORS`.

    Raises:
        InputError: an edit that is not known, a strength where there is none, or one that means another edit.
    """
    if edit not in EDITS:
        raise InputError(f"edit={edit!r:.40} is not known: use one of {', '.join(EDITS)}")
    if edit not in FACTORS:
        if given is not None:
            raise InputError(
                f"factor={given!r:.40}: {edit!r} replaces what heads mix, and has no strength: leave it out"
            )
        return 1.0
    if given is None:
        return FACTORS[edit]
    own = read_number(given, "factor", example=f"{FACTORS[edit]:g}")
    if edit == "scale" and not 0 <= own <= 1:
        raise InputError(f"factor={own:g} does not make heads smaller: give one from 0 to 1, or use edit='gain'")
    if edit == "gain" and own < 1:
        raise InputError(f"factor={own:g} does not make heads stronger: give one from 1 on, or use edit='scale'")
    if edit == "redistribute" and not 0 <= own <= 1:
        raise InputError(f"factor={own:g} is no share of the weight that sinks keep: give one from 0 to 1")
    return own


def check_regions(vlm: HookedVLM, samples: Sequence[Sample]) -> None:
    """Refuse samples whose objects heads can not be turned towards.

    Raises:
        InputError: there are some; it names the first and tells how many there are.
    """
    errors = [InputError(f"sample {sample.id!r}: {why}") for sample in samples if (why := no_region(vlm, sample))]
    if errors:
        raise all_of(errors, f"of {len(samples)} samples have no region that edit='bias' could turn heads towards")


def no_region(vlm: HookedVLM, sample: Sample) -> str:
    """Why heads can not be turned towards a sample's objects; empty where they can."""
    boxes = [thing.box for thing in sample.objects if thing.box is not None]
    if not boxes:
        return "it has no object with a box: give boxes, or leave it out"
    grid = vlm.grid_of(sample.image)
    try:
        own = grid.tokens_in(boxes)
    except InputError as error:
        return f"{error}, or leave it out"
    return "its objects cover the whole photo: leave it out" if len(own) == len(grid) else ""


def _region(arm: Arm, sample: Sample, grid: ImageGrid, seed: int) -> tuple[int, ...]:
    """The image tokens of the objects; of a random region, as many others, or fewer where there are not so many."""
    own = grid.tokens_in([thing.box for thing in sample.objects if thing.box is not None])
    if arm.role != REGIONS:
        return own
    others = np.setdiff1d(np.arange(len(grid)), own)
    if not len(others):
        raise InputError(f"sample {sample.id!r}: its objects cover the whole photo, which leaves no random region")
    draws = own_draws(seed, f"region {arm.draw}\0{sample.id}")
    return tuple(sorted(draws.choice(others, min(len(own), len(others)), replace=False).tolist()))
