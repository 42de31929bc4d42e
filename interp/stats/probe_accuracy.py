"""What a linear probe reads of photos that it has not seen, against probes of labels that mean nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import agree, counted, real
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_together, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, Interval
from interp.stats.linear_probe import check_features, fit_probes

SPLITS = ("folds", "holdout")
"""How groups are kept apart: each in turn held out once, in five folds; or a quarter of them held out."""

TEST_SHARE, FOLDS = 0.25, 5


@fits_a_cell("chance n_tokens n_groups")
@dataclass(frozen=True, eq=False)
class ProbeAccuracy:
    """How often a probe is right on held-out groups, and one of shuffled labels.

    Intervals draw the held-out groups; that another training set would give another probe is not in them.

    Attributes:
        accuracy: share of held-out tokens whose class is the likeliest.
        control: the same of probes of shuffled labels, mean over the shuffles.
        selectivity: accuracy - control (Hewitt and Liang 2019), of the same draws.
        chance: share of the commonest class among the held-out tokens.
        n_tokens: how many tokens were held out.
        n_groups: how many groups they lie in.

    Example:
        >>> found = probe_accuracy(tokens, slots, photos)
        >>> found.selectivity.low > 0
        True
    """

    accuracy: Interval
    control: Interval
    selectivity: Interval
    chance: float
    n_tokens: int
    n_groups: int


def probe_accuracy(
    features: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    units: ArrayLike | None = None,
    recipe: str = "logistic",
    split: str = "folds",
    shuffles: int = 5,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
) -> ProbeAccuracy:
    """Train probes on some groups and test them on others, with labels as they are and shuffled.

    Args:
        features: [token feature].
        labels: the class of each token, whole numbers from 0, [token].
        groups: what is drawn and held out together, such as the photo, [token].
        units: what shares one label and is shuffled as one, such as the object, [token]; by default each token.
        recipe: see `interp.stats.linear_probe.fit_probe`.
        split: one of `SPLITS`.
        shuffles: how many times labels are shuffled for the control.
        seed: the seed of splits, shuffles, start values and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.

    Raises:
        InputError: too few groups, labels that mean nothing, or as `fit_probe`.
    """
    check_draws(draws, level, seed)
    check_shuffles(shuffles)
    x, y = check_features(features), np.asarray(labels)
    named = drawn_together(len(x), np.asarray(groups))
    unit = np.arange(len(x)) if units is None else np.asarray(units)
    right, held = np.zeros((1 + shuffles, len(x))), np.zeros(len(x), dtype=bool)
    classes = int(y.max()) + 1
    for fold, sides in enumerate(splits(named, split, seed=seed)):
        train, test = sides
        own = [
            with_shuffled(y[side], unit[side], shuffles=shuffles, seed=(seed, fold, at))
            for at, side in enumerate(sides)
        ]
        probes = fit_probes(x[train], own[0], recipe=recipe, n_classes=classes, seed=seed)
        held[test] = True
        right[:, test] = [probe.predict(x[test]) == row for probe, row in zip(probes, own[1], strict=True)]
    found = accuracies(right[:1, held].T, right[1:, held].T, named[held], seed=seed, draws=draws, level=level)
    shares = np.bincount(y[held]) / held.sum()
    return ProbeAccuracy(*found, float(shares.max()), int(held.sum()), len(set(named[held].tolist())))


def accuracies(
    right: Float[np.ndarray, "sample 1"],
    control: Float[np.ndarray, "sample shuffle"],
    groups: Shaped[np.ndarray, " sample"],
    **drawn: Any,
) -> tuple[Interval, Interval, Interval]:
    """Accuracy, that of the control, and what is between, each with its interval, as numbers."""
    options = {"seed": drawn["seed"], "n": drawn["draws"], "level": drawn["level"]}
    mean = control.mean(axis=1, keepdims=True)
    rows = np.hstack([right, mean, right - mean])
    found = mean_over_groups(rows, groups, **options, bounds=([0, 0, -1], [1, 1, 1]))
    ends = zip(found.estimate.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    first, second, third = (Interval(*each, found.level, found.draws) for each in ends)
    return first, second, third


def splits(
    groups: Shaped[np.ndarray, " token"], split: str, *, seed: int
) -> Iterator[tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]]:
    """Which tokens train and which test, no group in both; see `SPLITS`.

    Raises:
        InputError: the split is not known, or there are too few groups.
    """
    from sklearn.model_selection import GroupKFold

    if split not in SPLITS:
        raise InputError(f"split={split!r} is not known: use one of {', '.join(SPLITS)}")
    if split == "holdout":
        held = held_out(groups, seed=seed)
        yield np.flatnonzero(~held), np.flatnonzero(held)
        return
    names, codes = np.unique(groups.astype(str), return_inverse=True)
    if len(names) < FOLDS:
        raise InputError(
            f"{counted(len(names), 'group')} can not be held out in {FOLDS} folds: give {FOLDS} groups or more"
        )
    order = np.random.default_rng(seed).permutation(len(names))  # so that which groups share a fold is drawn
    yield from GroupKFold(FOLDS).split(codes, groups=order[codes])


def held_out(groups: Shaped[np.ndarray, " token"], *, seed: int, share: float = TEST_SHARE) -> np.ndarray:
    """Which samples are held out, bool: those of a share of the groups, drawn; two groups at least on each side.

    Raises:
        InputError: fewer than four groups, or a share that leaves fewer than two on one side.
    """
    from sklearn.model_selection import GroupShuffleSplit

    if not 0 < real(share) < 1:
        raise InputError(f"test_share={share!r}: give a share of the groups to hold out, between 0 and 1")
    names, codes = np.unique(groups.astype(str), return_inverse=True)
    count = int(np.ceil(share * len(names)))
    if min(count, len(names) - count) < 2:
        raise InputError(
            f"{counted(len(names), 'group')}, of which {count} {agree(count, 'is', 'are')} held out: a probe needs two "
            "groups at least to train on and two to be tested on: give more groups, or another test_share"
        )
    _, test = next(GroupShuffleSplit(1, test_size=count, random_state=seed).split(codes, groups=codes))
    held = np.zeros(len(codes), dtype=bool)
    held[test] = True
    return held


def with_shuffled(
    labels: Int[np.ndarray, " token"], units: Shaped[np.ndarray, " token"], *, shuffles: int, seed: Sequence[int]
) -> Int[np.ndarray, "row token"]:
    """The labels, and below them the same dealt anew among all units, each unit keeping one label for its tokens.

    Training and held-out tokens are dealt apart: dealt together, a class that the first have more of, the others have
    less of, and probes of nothing would score below chance.

    Args:
        labels: the class of each token, [token].
        units: what shares one label, [token].
        shuffles: how many times labels are dealt.
        seed: the seed of the deals.

    Returns:
        The labels, then those of each deal, [1 + shuffle, token].

    Raises:
        InputError: no deal, or a unit with two labels.
    """
    check_shuffles(shuffles)
    _, first, codes = np.unique(units, return_index=True, return_inverse=True)
    own = labels[first]
    if len(codes) != len(labels) or (own[codes] != labels).any():
        raise InputError("tokens of one unit have different labels: name units so that each has one")
    rng = np.random.default_rng([*seed, 1])  # another stream than that of splits and start values
    return np.stack([labels, *(own[rng.permutation(len(own))][codes] for _ in range(shuffles))])


def check_shuffles(shuffles: int) -> None:
    """Refuse a control of nothing.

    Raises:
        InputError: no whole number from 1 on.
    """
    if isinstance(shuffles, bool) or not isinstance(shuffles, int) or shuffles < 1:
        raise InputError(f"shuffles={shuffles!r}: give 1 or more, as there is no control without them")
