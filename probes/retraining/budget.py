"""Budget: what the training of one model costs, the same for every model of a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from interp.errors import InputError


@dataclass(frozen=True)
class Budget:
    """Everything but arm and seed that decides what a trained model becomes; the same for all of a comparison.

    Attributes:
        layers: layers of the language model.
        width: its width.
        heads: its heads.
        tower_steps: steps in which the tower learns to read patches.
        tower_batch: pictures a step there.
        steps: steps in which projector and language model learn.
        batch: scenes a step there, each with a caption and five questions.
        two_objects_until: step; afterwards scenes of two or three objects.
        muon_rate: rate of the matrices inside transformer layers and projectors.
        adam_rate: rate of all the rest.
        warm_up: steps until the rates are full.
        cool_down: share of a stage's steps in which the rates fall linearly to zero.
        checkpoint_every: steps after which a killed run goes on, and after which its losses are written down.
    """

    layers: int = 6
    width: int = 128
    heads: int = 4
    tower_steps: int = 400
    tower_batch: int = 32
    steps: int = 1400
    batch: int = 8
    two_objects_until: int = 250
    muon_rate: float = 0.02
    adam_rate: float = 1.5e-3
    warm_up: int = 30
    cool_down: float = 0.5
    checkpoint_every: int = 100

    def check(self) -> None:
        """Refuse a budget that trains nothing.

        Raises:
            InputError: a number is not positive, or the language model can not be built with it.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "two_objects_until" else 1
            whole = isinstance(field.default, int)
            if isinstance(value, bool) or not math.isfinite(value) or value < (least if whole else 1e-12):
                raise InputError(f"{field.name}={value}: give a number {f'from {least} on' if whole else 'above 0'}")
            if whole and not isinstance(value, int):
                raise InputError(f"{field.name}={value}: give a whole number")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(f"width={self.width} and heads={self.heads}: give a width that is an even number a head")
        if self.layers < 6:
            raise InputError(f"layers={self.layers}: what is read at a sixth of the depth needs 6 layers or more")
        if self.cool_down > 1:
            raise InputError(f"cool_down={self.cool_down} is a share of the steps: give a number from above 0 to 1")
