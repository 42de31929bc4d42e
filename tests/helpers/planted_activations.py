"""Activations as `collect_heads` gives them, of planted heads, without a model or a folder."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from planted_heads import FUNCTIONS, planted


@dataclass(frozen=True, eq=False)
class PlantedActivations:
    """What scorers and `find_heads` read of activations."""

    z: np.ndarray
    table: np.ndarray
    groups: tuple[str, ...]
    names: tuple[str, ...] = FUNCTIONS
    folder: Path = Path("planted")
    settings: dict = field(default_factory=lambda: {"weights": {"sha256": "planted"}, "model": "planted"})

    @property
    def shape(self):
        return self.z.shape

    @property
    def ids(self):
        return tuple(f"i{place}" for place in range(len(self.z)))

    @property
    def answers(self):
        return ("left",) * len(self.z)

    @property
    def correct(self):
        return np.ones(len(self.z), bool)

    @property
    def functions(self):
        return tuple(tuple(np.array(self.names)[row].tolist()) for row in self.table)

    def __len__(self):
        return len(self.z)

    def of_layer(self, layer):
        return self.z[:, layer]

    def labels(self, functions):
        return np.stack([self.table[:, self.names.index(name)] for name in functions], axis=1)

    def select(self, which):
        return replace(self, z=self.z[which], table=self.table[which], groups=tuple(np.array(self.groups)[which]))


def planted_activations(carriers=(), **more):
    """Activations in which these (function, layer, head) carry a function."""
    features, labels, groups = planted(carriers, **more)
    return PlantedActivations(features, labels, tuple(groups))
