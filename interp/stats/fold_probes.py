"""Fold probes: how many labels at once can be read from the same features of samples that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from interp.errors import InputError
from interp.stats.linear_probe import fit_probes

RECIPES = ("ridge", "logistic")
"""How probes are fitted: `ridge` in closed form, many labels at once; `logistic` by scikit-learn, one by one."""

RIDGE = 10.0
"""The penalty of `ridge` on standardised features, as scikit-learn's `Ridge` counts it: about as strong as C = 1 is in
`logistic`, where a sample that is said to be true with a chance of p weighs p (1 - p), a quarter or less."""

_STILL = 1e-5  # a feature of unit spread that in training spreads less than this does not vary there


@dataclass(frozen=True, eq=False)
class FoldProbes:
    """Labels of samples that are held out fold by fold, ready to be read from one set of features after another.

    Attributes:
        labels: whether each sample carries each label, bool [sample column].
        fold: the fold that each sample is held out in, [sample].
        recipe: one of `RECIPES`.
        prior: whether a label that is rarer in training is also said more rarely. Without, the threshold lies in the
            middle between the two classes, however many samples each has.

    Example:
        >>> probes = FoldProbes.of(labels, folds, recipe="ridge")
        >>> probes.scores(features).shape  # sample column; above 0 says yes
        (4000, 8)
    """

    labels: Float32[np.ndarray, "sample column"]
    fold: Int[np.ndarray, " sample"]
    recipe: str = "ridge"
    prior: bool = False

    @classmethod
    def of(
        cls,
        labels: Bool[np.ndarray, "sample column"],
        folds: Sequence[Int[np.ndarray, " test"]],
        *,
        recipe: str = "ridge",
        prior: bool = False,
    ) -> FoldProbes:
        """Prepare labels and the samples of each fold.

        Raises:
            InputError: a recipe that is not known.
        """
        if recipe not in RECIPES:
            raise InputError(f"recipe={recipe!r} is not known: use one of {', '.join(RECIPES)}")
        fold = np.empty(len(labels), dtype=int)
        for place, test in enumerate(folds):
            fold[test] = place
        return cls(labels.astype(np.float32), fold, recipe, prior)

    def scores(self, features: Float[np.ndarray, "sample feature"]) -> Float32[np.ndarray, "sample column"]:
        """What probes of the other folds say of each sample: above 0 yes, and the farther the surer."""
        return (self._ridge if self.recipe == "ridge" else self._logistic)(features)

    def _ridge(self, features: Float[np.ndarray, "sample feature"]) -> Float32[np.ndarray, "sample column"]:
        """Least squares with a penalty: sums of products of all samples, less those of the fold, and one solution."""
        spread = features.std(axis=0)
        gain = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 2e-6 * np.abs(features).max(axis=0))
        x = ((features - features.mean(axis=0)) * gain).astype(np.float32, copy=False)
        parts = [_Sums.of(x[own], self.labels[own]) for own in self._members]
        whole = _Sums.total(parts)
        out = np.empty(self.labels.shape, np.float32)
        for own, part in zip(self._members, parts, strict=True):
            weights, threshold = whole.without(part).solved(prior=self.prior)
            out[own] = x[own] @ weights - threshold
        return out

    def _logistic(self, features: Float[np.ndarray, "sample feature"]) -> Float32[np.ndarray, "sample column"]:
        """Logistic regression of each label, its log odds less those that the threshold lies at."""
        out = np.empty(self.labels.shape, np.float32)
        for own in self._members:
            rest = np.setdiff1d(np.arange(len(self.labels)), own)
            y = self.labels[rest].astype(int).T
            share = y.mean(axis=1)
            for column in np.flatnonzero((share > 0) & (share < 1)):
                (probe,) = fit_probes(features[rest], y[column : column + 1], n_classes=2)
                logits = probe.logits(features[own])
                odds = 0.0 if self.prior else np.log(share[column] / (1 - share[column]))
                out[own, column] = logits[:, 1] - logits[:, 0] - odds
            for column in np.flatnonzero((share == 0) | (share == 1)):
                out[own, column] = np.inf if share[column] else -np.inf
        return out

    @property
    def _members(self) -> list[Int[np.ndarray, " test"]]:
        """The samples of each fold."""
        return [np.flatnonzero(self.fold == place) for place in range(int(self.fold.max()) + 1)]


@dataclass(frozen=True, eq=False)
class _Sums:
    """What least squares needs to know of samples: how many there are, and sums of their products."""

    n: float
    x: Float[np.ndarray, " feature"]
    xx: Float[np.ndarray, "feature feature"]
    y: Float[np.ndarray, " column"]
    xy: Float[np.ndarray, "feature column"]

    @classmethod
    def of(cls, x: Float32[np.ndarray, "sample feature"], y: Float32[np.ndarray, "sample column"]) -> _Sums:
        made = (x.sum(axis=0), x.T @ x, y.sum(axis=0), x.T @ y)
        return cls(len(x), *(part.astype(np.float64) for part in made))

    @classmethod
    def total(cls, parts: Sequence[_Sums]) -> _Sums:
        every = zip(*((one.n, one.x, one.xx, one.y, one.xy) for one in parts), strict=True)
        return cls(*(sum(own[1:], own[0]) for own in every))

    def without(self, part: _Sums) -> _Sums:
        return _Sums(self.n - part.n, self.x - part.x, self.xx - part.xx, self.y - part.y, self.xy - part.xy)

    def solved(self, *, prior: bool) -> tuple[Float32[np.ndarray, "feature column"], Float32[np.ndarray, " column"]]:
        """Weights of each label, and the threshold that their sum is compared with."""
        mean, share = self.x / self.n, self.y / self.n
        cov = self.xx / self.n - np.outer(mean, mean)
        spread = np.sqrt(np.diag(cov).clip(min=0))
        gain = np.divide(1, spread, out=np.zeros_like(spread), where=spread > _STILL)
        scaled = cov * gain[:, None] * gain + RIDGE / self.n * np.eye(len(mean))
        weights = gain[:, None] * np.linalg.solve(scaled, gain[:, None] * (self.xy / self.n - np.outer(mean, share)))
        if prior:
            threshold = mean @ weights + 0.5 - share
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                means = self.xy / self.y + (self.x[:, None] - self.xy) / (self.n - self.y)
            threshold = (weights * means).sum(axis=0) / 2
        threshold = np.where(self.y == 0, np.inf, np.where(self.y == self.n, -np.inf, threshold))
        return weights.astype(np.float32), threshold.astype(np.float32)
