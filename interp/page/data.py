"""What the page to explore shows: where one question's last prompt row looks, untouched and under an intervention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.maps.trajectory import RELATIVE_FLOOR, normalise
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64
    from PIL import Image

    from interp.image.boxes import Boxes
    from interp.image.grid import ImageGrid
    from interp.prompt.layout import TokenLayout

LABELS = {
    "image": "share of the image's attention",
    "keys": "share of all attention: the softmax weight",
    "no-sinks": "share of the image's attention, its sinks taken out",
    "relative": "attention over that under the neutral prompt, as shares of one",
}
"""What a value is, by normalisation; see `interp.maps.trajectory.NORMALISATIONS`."""

BEFORE, AFTER = "before", "after"


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Run:
    """One run of the model.

    Attributes:
        name: `before` or `after`.
        change: the intervention, in words; `untouched` before.
        answer: the greedy answer.
        confidence: probability of its first token.
        weights: softmax weight of each image token, float32 [layer head+1 token]; the last head is the head mean.
        shares: share of attention on each part, float32 [layer head+1 part], in the order of
            `interp.maps.trajectory.PARTS`.
    """

    name: str
    change: str
    answer: str
    confidence: float
    weights: Float32[np.ndarray, "layer head_and_mean token"]
    shares: Float32[np.ndarray, "layer head_and_mean part"]


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class FurtherMap:
    """A map over the image tokens that is not raw attention, of the untouched run and the answer's first token.

    Attributes:
        name: such as `gradient`; see `interp.analysis.token_maps.TokenMaps`.
        label: what a value of it is, in words, once each map sums to one.
        values: none negative, float32 [layer head+1 token]; the last head is the head mean. Of `lens`, which has no
            heads, that one alone.
    """

    name: str
    label: str
    values: Float32[np.ndarray, "layer head_and_mean token"]

    @property
    def has_heads(self) -> bool:
        """Whether there is a map for each head."""
        return self.values.shape[1] > 1

    @property
    def totals(self) -> Float[np.ndarray, "layer head_and_mean"]:
        """What each map sums to: by this it is divided; 0 where there is nothing."""
        return self.values.sum(axis=-1, dtype=np.float64)

    @property
    def shares(self) -> Float32[np.ndarray, "layer head_and_mean token"]:
        """The maps as shares of one; NaN where there is nothing."""
        return normalise(self.values, "image")


@fits_a_cell("question runs boxes missing image")
@dataclass(frozen=True, eq=False)
class Exploration:
    """All that the page shows, as it was captured. Arrays have one head more than the model, the head mean: index -1.

    Attributes:
        image: the photo, upright RGB.
        question: the question as it was asked.
        layout: what each position of the prompt is.
        grid: which pixels each image token saw.
        boxes: the objects, in pixels of the photo.
        roles: the role of each box: `first`, `second`, or nothing.
        missing: objects of the question that the detector did not find.
        runs: untouched, and under the intervention if there is one.
        sinks: which image tokens `no-sinks` takes out of each head, bool [layer head token]; None where not known.
        sinks_said: where they come from, or why they are not known.
        neutral: the untouched run of the neutral prompt, softmax weights like those of a run; None without.
        neutral_prompt: what was asked there.
        settings: the model and everything else that made this result.
        further: maps that are not raw attention, of the untouched run.
    """

    image: Image.Image
    question: str
    layout: TokenLayout
    grid: ImageGrid
    boxes: Boxes
    roles: tuple[str, ...]
    missing: tuple[str, ...]
    runs: tuple[Run, ...]
    sinks: Bool[np.ndarray, "layer head token"] | None
    sinks_said: str
    neutral: Float32[np.ndarray, "layer head_and_mean token"] | None
    neutral_prompt: str | None
    settings: dict[str, Any]
    further: tuple[FurtherMap, ...] = ()

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.runs[0].weights.shape[0]

    @property
    def n_heads(self) -> int:
        """Number of heads, the head mean not counted."""
        return self.runs[0].weights.shape[1] - 1

    @property
    def visible_keys(self) -> int:
        """How many positions the last prompt row sees."""
        return len(self.layout) - len(self.layout.positions("pad", "answer"))

    @property
    def normalisations(self) -> tuple[str, ...]:
        """The normalisations that can be shown: `no-sinks` needs sinks, and `relative` a neutral prompt."""
        lacks = {"no-sinks": self.sinks is None, "relative": self.neutral is None}
        return tuple(name for name in LABELS if not lacks.get(name))

    @property
    def kept(self) -> Bool[np.ndarray, "layer head_and_mean token"]:
        """Which tokens `no-sinks` leaves in each map; in the head mean, those that it leaves in some head."""
        sinks = self._sinks()
        return np.concatenate([~sinks, ~sinks.all(axis=1, keepdims=True)], axis=1)

    @property
    def divisor(self) -> Float64[np.ndarray, "layer head_and_mean token"]:
        """What `relative` divides by: A' + eps.

        Raises:
            InputError: no neutral prompt was run.
        """
        if self.neutral is None:
            raise InputError("normalisation 'relative' needs attention under a neutral prompt: give neutral='...'")
        other = self.neutral.astype(np.float64)
        return other + RELATIVE_FLOOR * other.mean(axis=-1, keepdims=True)

    def without_sinks(self, run: Run) -> Float64[np.ndarray, "layer head_and_mean token"]:
        """A run's weights with each head's sinks taken out; the head mean is that of what is left.

        Raises:
            InputError: it is not known which tokens are sinks.
        """
        heads = np.where(self._sinks(), 0, run.weights[:, :-1].astype(np.float64))
        return np.concatenate([heads, heads.mean(axis=1, keepdims=True)], axis=1)

    def totals(self, run: Run, normalisation: str) -> Float64[np.ndarray, "layer head_and_mean"]:
        """What a run's maps are divided by to be in a normalisation; 0 where there is nothing to divide by."""
        if normalisation == "keys":
            return np.ones(run.weights.shape[:2])
        return np.nan_to_num(self._undivided(run, normalisation).sum(axis=-1))

    def maps(self, run: Run, normalisation: str) -> Float64[np.ndarray, "layer head_and_mean token"]:
        """A run's maps in one of `normalisations`; NaN where there is nothing to divide by.

        Raises:
            InputError: the normalisation is not known, or needs what is not here.
        """
        return _ratio(self._undivided(run, normalisation), self.totals(run, normalisation)[..., None])

    def even(self, normalisation: str) -> Float64[np.ndarray, "layer head_and_mean"]:
        """What evenly spread attention gives each image token that takes part."""
        if normalisation == "no-sinks":
            return _ratio(np.ones(self.runs[0].weights.shape[:2]), self.kept.sum(axis=-1))
        tokens = self.visible_keys if normalisation == "keys" else len(self.grid)
        return np.full(self.runs[0].weights.shape[:2], 1 / tokens)

    def agreement(
        self, maps: Float[np.ndarray, "layer head_and_mean token"], normalisation: str
    ) -> dict[str, Float64[np.ndarray, "layer head_and_mean"]]:
        """Cosine of maps with all boxes together, and their mass in them, as `overlap` has them; NaN without boxes."""
        mask = self.grid.union_membership(self.boxes).astype(np.float64)
        inside = mask * (self.kept if normalisation == "no-sinks" else np.ones(maps.shape, dtype=bool))
        lengths = np.linalg.norm(maps, axis=-1) * np.linalg.norm(inside, axis=-1)
        mass = np.where(inside.any(axis=-1), maps @ mask, np.nan)
        return {"cosine": _ratio(mass, lengths), "mass": mass}

    def even_agreement(self, normalisation: str) -> dict[str, Float64[np.ndarray, "layer head_and_mean"]]:
        """The same for evenly spread attention."""
        part = self.kept if normalisation == "no-sinks" else np.ones(self.runs[0].weights.shape)
        return self.agreement(part * self.even(normalisation)[..., None], normalisation)

    def _sinks(self) -> Bool[np.ndarray, "layer head token"]:
        if self.sinks is None:
            raise InputError(f"normalisation 'no-sinks' can not be shown: {self.sinks_said}")
        return self.sinks

    def _undivided(self, run: Run, normalisation: str) -> Float64[np.ndarray, "layer head_and_mean token"]:
        """A run's maps before they are made to sum to one."""
        if normalisation not in LABELS:
            known = ", ".join(self.normalisations)
            raise InputError(f"normalisation {normalisation!r} is not known: use one of {known}")
        if normalisation == "no-sinks":
            return self.without_sinks(run)
        weights = run.weights.astype(np.float64)
        return _ratio(weights, self.divisor) if normalisation == "relative" else weights


def with_head_mean(values: Float[np.ndarray, "layer head last"]) -> Float32[np.ndarray, "layer head_and_mean last"]:
    """Values per head with one more head at the end: their mean, as the paper takes it."""
    mean = values.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.concatenate([values, mean], axis=1).astype(np.float32)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Division that gives NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
