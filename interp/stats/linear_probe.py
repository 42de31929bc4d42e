"""Linear probes: how well a label can be read from activations by one linear map, and what training them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Real
from numpy.typing import ArrayLike

from interp.errors import InputError, ModelError
from interp.reprs import fits_a_cell

RECIPES = ("logistic", "paper")
"""How a probe is trained: `logistic` by scikit-learn, `paper` as "The Dual Mechanisms" does; see `fit_probe`."""

STEPS, RATE, DECAY = 200, 1e-3, 1e-4
"""Of the recipe `paper`: steps, learning rate and weight decay of AdamW."""

_STILL = 2e-6
"""A feature that varies by less than this part of its largest value varies by rounding alone."""

_MOST_STEPS = 10_000


@fits_a_cell("recipe weights")
@dataclass(frozen=True, eq=False)
class LinearProbe:
    """One linear map from a feature vector to the classes: logits = (x - centre) W + b.

    Attributes:
        weights: W, [feature class].
        bias: b, [class].
        centre: what is taken from features first, [feature]; zeros by the recipe `paper`.
        recipe: how it was trained.
        loss: the mean cross-entropy in training, in nats; by the recipe `paper`, before the last step.

    Example:
        >>> probe = fit_probe(tokens, slots)  # tokens [token feature], slots 0, 1 or 2
        >>> probe.probabilities(tokens).shape  # token class
        (1080, 3)
    """

    weights: Float32[np.ndarray, "feature class"]
    bias: Float32[np.ndarray, " class"]
    centre: Float32[np.ndarray, " feature"]
    recipe: str
    loss: float

    def logits(self, features: Real[np.ndarray, "*axes feature"]) -> Float[np.ndarray, "*axes class"]:
        """The logits of features."""
        return (features.astype(np.float32) - self.centre) @ self.weights + self.bias

    def probabilities(self, features: Real[np.ndarray, "*axes feature"]) -> Float[np.ndarray, "*axes class"]:
        """The softmax over the classes."""
        return softmax(self.logits(features))

    def predict(self, features: Real[np.ndarray, "*axes feature"]) -> Int[np.ndarray, "*axes"]:
        """The likeliest class; of equal ones, the first."""
        return self.logits(features).argmax(axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """What it is made of, to be saved; `of_arrays` makes it again."""
        return {"weights": self.weights, "bias": self.bias, "centre": self.centre}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], recipe: str, loss: float) -> LinearProbe:
        """Make it of what `arrays` gave."""
        return cls(arrays["weights"], arrays["bias"], arrays["centre"], recipe, loss)


def fit_probe(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    recipe: str = "logistic",
    n_classes: int | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> LinearProbe:
    """Train one linear probe.

    - `logistic`: multinomial logistic regression of scikit-learn, features standardised, L2 penalty with C = 1, to
      convergence. It has no seed: the same features give the same probe.
    - `paper`: Cui et al., "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models": features as they are,
      W and b drawn from N(0, 1) / sqrt(features), 200 steps of AdamW over the whole batch with learning rate 1e-3 and
      weight decay 1e-4, the bias decayed too, and the mean cross-entropy as loss. It stops far from convergence.

    Args:
        features: [token feature].
        labels: the class of each, whole numbers from 0, [token].
        recipe: one of `RECIPES`.
        n_classes: how many classes there are; one more than the largest label by default.
        start: W [feature class] and b [class] to begin from, by the recipe `paper`, in place of drawn ones.
        seed: the seed of what is drawn.

    Example:
        >>> fit_probe(tokens, slots, recipe="paper").weights.shape
        (4096, 3)

    Raises:
        InputError: features that are not finite or do not vary, labels of one class, or shapes that do not fit.
    """
    return fit_probes(features, np.asarray(labels)[None], recipe=recipe, n_classes=n_classes, start=start, seed=seed)[0]


def fit_probes(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    recipe: str = "logistic",
    n_classes: int | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> tuple[LinearProbe, ...]:
    """Train one probe for each row of labels, [probe token], on the same features; see `fit_probe`.

    By the recipe `paper` all of them step at once, each as if it were alone.

    Raises:
        InputError: as `fit_probe`.
    """
    x, y = check_features(features), np.atleast_2d(np.asarray(labels))
    classes = _check_labels(y, len(x), n_classes)
    if recipe not in RECIPES:
        raise InputError(f"recipe={recipe!r} is not known: use one of {', '.join(RECIPES)}")
    if start is not None and recipe != "paper":
        raise InputError(f"start values are given, and recipe={recipe!r} has none: leave them, or use recipe='paper'")
    if not varies(x).any():
        raise InputError(
            f"no feature varies over the {len(x)} training tokens, so that nothing can be read from them: probe "
            "another place"
        )
    if recipe == "paper":
        return _fit_by_steps(x, y, _start(start, x.shape[1], classes, len(y), seed))
    return tuple(_fit_logistic(x, y, classes))


def prior_probe(labels: Int[np.ndarray, " token"], n_features: int, n_classes: int, recipe: str) -> LinearProbe:
    """What can be said without any feature: how often each class is there."""
    shares = (np.bincount(labels, minlength=n_classes) + 1e-6) / len(labels)
    loss = float(-np.log(shares[labels]).mean())
    nothing = np.zeros(n_features, np.float32)
    return LinearProbe(
        np.zeros((n_features, n_classes), np.float32), np.log(shares).astype(np.float32), nothing, recipe, loss
    )


def check_features(features: ArrayLike, what: str = "features") -> Float32[np.ndarray, "token feature"]:
    """Features as float32 [token feature].

    Raises:
        InputError: another number of axes, none, or values that are not finite.
    """
    x = np.asarray(features, dtype=np.float32)
    if x.ndim != 2 or not x.size:
        raise InputError(f"{what} have shape {x.shape}: give one row of features per token, [token feature]")
    if not np.isfinite(x).all():
        place = int(np.flatnonzero(~np.isfinite(x).all(axis=0))[0])
        raise InputError(f"{what} are not finite, first in feature {place}: a model that overflows can not be probed")
    return x


def varies(features: Float32[np.ndarray, "token feature"]) -> np.ndarray:
    """Which features vary by more than rounding does, bool [feature]."""
    return np.ptp(features, axis=0) > _STILL * np.abs(features).max(axis=0)


def softmax(logits: Float[np.ndarray, "*axes class"]) -> Float[np.ndarray, "*axes class"]:
    """The softmax over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _check_labels(labels: np.ndarray, n_tokens: int, n_classes: int | None) -> int:
    """How many classes there are; refuses what are no labels."""
    if labels.ndim != 2 or labels.shape[1] != n_tokens:
        raise InputError(f"labels of shape {labels.shape} for {n_tokens} tokens: give one per token")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise InputError(f"labels are {labels.dtype} from {labels.min()}: give whole numbers from 0")
    classes = int(labels.max()) + 1 if n_classes is None else n_classes
    if labels.max() >= classes:
        raise InputError(f"label {labels.max()} among {n_classes} classes: labels begin at 0")
    for own in labels:
        if len(found := np.unique(own)) < 2:
            raise InputError(f"all {n_tokens} training labels are {found[0]}: a probe needs two classes or more")
    return classes


def _start(
    given: tuple[np.ndarray, np.ndarray] | None, n_features: int, n_classes: int, n_probes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """W [probe feature class] and b [probe class] to begin from: given ones for all probes, or drawn ones."""
    if given is not None:
        weights, bias = (np.asarray(part, dtype=np.float32) for part in given)
        if weights.shape != (n_features, n_classes) or bias.shape != (n_classes,):
            raise InputError(
                f"start values have shapes {weights.shape} and {bias.shape}: give {(n_features, n_classes)} and "
                f"{(n_classes,)}"
            )
        return np.tile(weights, (n_probes, 1, 1)), np.tile(bias, (n_probes, 1))
    rng = np.random.default_rng(seed)
    scale = n_features**-0.5
    weights = scale * rng.standard_normal((n_probes, n_features, n_classes))
    return weights.astype(np.float32), (scale * rng.standard_normal((n_probes, n_classes))).astype(np.float32)


def _fit_by_steps(
    features: Float32[np.ndarray, "token feature"],
    labels: Int[np.ndarray, "probe token"],
    start: tuple[np.ndarray, np.ndarray],
) -> tuple[LinearProbe, ...]:
    """The recipe `paper`, all probes at once: AdamW steps on each number by itself, so that none feels the others."""
    import torch

    x, y = torch.from_numpy(np.ascontiguousarray(features)), torch.from_numpy(labels.astype(np.int64))
    with torch.enable_grad():
        weights, bias = (torch.from_numpy(part.copy()).requires_grad_() for part in start)
        steps = torch.optim.AdamW([weights, bias], lr=RATE, weight_decay=DECAY)
        losses = torch.zeros(len(y))
        for _ in range(STEPS):
            steps.zero_grad()
            logits = torch.einsum("tf,pfc->ptc", x, weights) + bias[:, None]
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(dim=1)
            each.sum().backward()
            steps.step()
            losses = each.detach()
    nothing = np.zeros(features.shape[1], np.float32)
    made = zip(weights.detach().numpy(), bias.detach().numpy(), losses.tolist(), strict=True)
    return tuple(LinearProbe(own, offset, nothing, "paper", loss) for own, offset, loss in made)


def _fit_logistic(
    features: Float32[np.ndarray, "token feature"], labels: Int[np.ndarray, "probe token"], n_classes: int
) -> list[LinearProbe]:
    """The recipe `logistic`, one row of labels after another."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies(features))
    scaled = (features - centre) * gain
    turned, back = _turned(scaled)
    made = []
    for own in labels:
        found = LogisticRegression(max_iter=_MOST_STEPS).fit(turned, own)
        if int(np.max(found.n_iter_)) >= _MOST_STEPS:
            raise ModelError(f"logistic regression did not converge in {_MOST_STEPS} steps: use recipe='paper'")
        slopes, offsets = _by_class(found, n_classes)
        logits = turned @ slopes + offsets
        loss = -np.log(softmax(logits)[np.arange(len(own)), own]).mean()
        weights = (gain[:, None] * (slopes if back is None else back @ slopes)).astype(np.float32)
        made.append(
            LinearProbe(weights, offsets.astype(np.float32), centre.astype(np.float32), "logistic", float(loss))
        )
    return made


def _turned(scaled: Float[np.ndarray, "token feature"]) -> tuple[np.ndarray, np.ndarray | None]:
    """Features in the space that the tokens span, where they are fewer, and the way back [feature span].

    The L2 penalty feels no rotation, so that nothing but time changes.
    """
    if scaled.shape[1] <= scaled.shape[0]:
        return scaled, None
    left, sizes, right = np.linalg.svd(scaled, full_matrices=False)
    return left * sizes, right.T


def _by_class(found: Any, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [feature class] and offsets [class] for all classes; two classes have half of the one slope each."""
    slopes, offsets = found.coef_.T, found.intercept_
    if slopes.shape[1] == 1:
        slopes, offsets = np.hstack([-slopes / 2, slopes / 2]), np.concatenate([-offsets / 2, offsets / 2])
    wide, high = np.zeros((len(slopes), n_classes)), np.full(n_classes, -1e4)  # a class that no token had
    wide[:, found.classes_], high[found.classes_] = slopes, offsets
    return wide, high
