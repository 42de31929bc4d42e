"""Proof: what the instrument claims of a model, measured on that model.

Each claim compares the hooked model with something simpler: the model without hooks, the family's own eager
attention, a few lines of naive attention, Hugging Face's `generate`, whole runs instead of steps, single runs instead
of a batch, one thread instead of two, pixels that were changed, TransformerLens's own bridge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, RefusedError, SpatialLensError

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

TOLERANCE = 1e-5
"""Largest difference that is let through where rounding is the only reason for one, in fp32."""

ROOM = 4.0
"""How many times as far apart as transformers' own eager and SDPA attention ours may be, where that is more."""


@dataclass(frozen=True)
class Claim:
    """One thing that is proved.

    Attributes:
        name: short, a column of the table.
        says: what holds, in words.
        measure: where in this package the function is that measures it.
        tolerance: largest value with which the claim holds.
        of: what is compared, `logits` (or weights) or `streams`, whose own rounding in this model may be larger.
    """

    name: str
    says: str
    measure: str
    tolerance: float
    of: str = "logits"

    def measured(self, vlm: HookedVLM) -> tuple[float, str]:
        """The value, and what was compared.

        Raises:
            RefusedError: the family can not do it; any other of our errors is a failure.
        """
        module, function = self.measure.split(".")
        return getattr(import_module(f"{__name__}.{module}"), function)(vlm)


@dataclass(frozen=True)
class Finding:
    """What came of one claim for one model.

    Attributes:
        model: the model's name.
        family: its family.
        claim: the claim's name.
        value: the largest difference, or the number of mistakes; infinite where it could not even be measured.
        tolerance: the largest value with which the claim holds.
        detail: what was compared, or the reason of a refusal.
        refused: whether the family refuses by name; the value is NaN then.
    """

    model: str
    family: str
    claim: str
    value: float
    tolerance: float
    detail: str
    refused: bool = False

    @property
    def holds(self) -> bool:
        """Whether the claim holds, or was refused by name."""
        return self.refused or self.value <= self.tolerance  # NaN is not

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values."""
        return {**asdict(self), "holds": self.holds}


CLAIMS = (
    Claim("untouched", "an untouched run is bit-equal to plain Hugging Face", "attention.untouched", 0.0),
    Claim("rows", "captured rows, text and vision, are those of eager attention", "attention.captured_rows", TOLERANCE),
    Claim("edit", "edited logits do what they do in naive attention", "attention.edited_logits", TOLERANCE),
    Claim("generate", "tokens under hooks are those of Hugging Face's generate", "runs.generated", 0.0),
    Claim("prefix", "a step on a shared prefill is the whole edited run", "runs.prefixed", TOLERANCE),
    Claim("threads", "two threads get what each gets alone, while one edits", "threads.shared", TOLERANCE),
    Claim("batch", "a ragged batch of four is four single runs", "runs.ragged", TOLERANCE),
    Claim("caches", "edits are the same with any cache, in chunks, with guesses, in turns", "caches.ways", TOLERANCE),
    Claim("batches", "edits of beams and returned sequences are those of single runs", "caches.copies", TOLERANCE),
    Claim(
        "boxes",
        "with the tower's blocks silent, image tokens see the pixels of their boxes and no others",
        "pixels.token_boxes",
        0.0,
    ),
    Claim(
        "lifecycle",
        "a model that is copied, set to another attention, trained or compiled is hooked as before, or refused",
        "lifecycle.lived",
        TOLERANCE,
    ),
    Claim(
        "bridge",
        "all tensors of a name that TransformerLens's bridge has too are those that it shows",
        "bridge.bridged",
        TOLERANCE,
        "streams",
    ),
)
"""Everything that is proved, in the order of the table."""


def check_claims(chosen: Sequence[str]) -> tuple[str, ...]:
    """The names of the chosen claims, or of all if none is chosen.

    Raises:
        InputError: there is no claim of that name.
    """
    known = tuple(claim.name for claim in CLAIMS)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise InputError(f"no claim is called {', '.join(unknown)}: choose from {', '.join(known)}")
    return tuple(chosen) or known


def prove(vlm: HookedVLM, name: str, chosen: Sequence[str] = ()) -> list[Finding]:
    """Measure every claim, or the chosen ones, on one model. The tolerances are meant for fp32.

    A tolerance is the claim's own or, in fp32 where that is more, `ROOM` times as much as transformers' own eager and
    SDPA attention differ on this model without us: trained weights can make more of rounding than random ones.

    Args:
        vlm: a loaded model.
        name: what the findings call it.
        chosen: names of claims; all by default.
    """
    import torch

    from interp.proof.attention import own_rounding

    findings = []
    names = check_claims(chosen)
    own = (0.0, 0.0)
    if next(vlm.model.parameters()).dtype == torch.float32:
        with suppress(SpatialLensError):  # which the claims will meet, and name, themselves
            own = own_rounding(vlm)
    rounding = dict(zip(("logits", "streams"), own, strict=True))
    for claim in CLAIMS:
        if claim.name not in names:
            continue
        refused = False
        try:
            value, detail = claim.measured(vlm)
        except RefusedError as refusal:
            value, detail, refused = math.nan, str(refusal), True
        except SpatialLensError as failure:
            value, detail = math.inf, str(failure)
        tolerance = max(claim.tolerance, ROOM * rounding[claim.of]) if claim.tolerance else 0.0
        findings.append(Finding(name, vlm.family.name, claim.name, value, tolerance, detail, refused))
    return findings
