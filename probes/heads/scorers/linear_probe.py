"""Linear probes, one for each head and function: can the function be read from what the head writes, and is it luck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import whole_number
from interp.stats.draws import check_draws
from interp.stats.fold_probes import RECIPES, FoldProbes
from interp.stats.intervals import DRAWS, SHARE, spread_ends
from interp.stats.probe_accuracy import splits
from interp.stats.shuffles import dealt_rows, pooled_p
from interp.store.progress import ProgressBar
from probes.heads.activations.features import HeadFeatures, layer_of, read_features, with_layer_mean
from probes.heads.functions import FUNCTIONS
from probes.heads.scorers.items import Items
from probes.heads.scorers.measures import MEASURES, Parts, measured_parts, measured_values
from probes.heads.scores import KEPT, HeadScores

VARIANTS = ("one_vs_rest", "cogvision")
"""What a function is told from: all other items; or as many of them, all rightly answered, as CogVision has it."""


def linear_probe(
    features: HeadFeatures | np.ndarray,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    functions: Sequence[str] = FUNCTIONS,
    correct: ArrayLike | None = None,
    variant: str = "one_vs_rest",
    measure: str | None = None,
    recipe: str = "ridge",
    context: bool = False,
    shuffles: int = 50,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    progress: bool = True,
) -> HeadScores:
    """Score every head by how well a linear probe of it tells items of a function from others, main questions held out.

        score(l, m, c) = accuracy of sign(w . x_l^m + b) on main questions that w and b have not seen

    Probes of one head and all functions share their sums of products, and five folds are sums less those of one fold:
    the recipe `ridge` is the least squares of labels on standardised features, in closed form, with its threshold in
    the middle between the classes (Fisher's discriminant). `logistic` is scikit-learn's logistic regression with C = 1,
    which orders heads alike, but fits each function of each deal by itself: where 1,024 heads take a minute, it takes
    hours, so ask it for few shuffles.

    - `one_vs_rest`: each function against all other items, by balanced accuracy; an item may be of several functions.
    - `cogvision` (arXiv 2512.10300): rightly answered items of the function against as many rightly answered others,
      drawn by the seed, by accuracy. The paper reads them with `context=True`.

    Intervals draw the held-out main questions; that another training set would give another probe is not in them. The
    null deals labels anew, all that a main question is labelled together (see `dealt_rows`), and fits the probes again.
    Its p-values are those of `pooled_p`: of one function, all heads are read on the same items under the same deals.

    Args:
        features: [item layer head d_head], or a reader that gives them layer by layer, see `HeadFeatures`.
        labels: whether each item is of each function, bool [item function].
        groups: the main question of each item, held out, drawn and shuffled together, [item].
        functions: the names of the functions.
        correct: whether the model answered each item rightly, bool [item]; `cogvision` needs it.
        variant: one of `VARIANTS`.
        measure: one of `MEASURES`; by default that of the variant.
        recipe: `ridge` or `logistic`.
        context: read the mean over the heads of the layer too; then what one head knows raises its neighbours.
        shuffles: how many times labels are dealt for the null.
        seed: the seed of folds, deals, drawn others and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        progress: show a progress bar over layers.

    Example:
        >>> found = linear_probe(z, labels, main_question)  # z [item layer head d_head], labels [item 8]
        >>> found.of("spatial").argmax(), found.to_dataframe().query("p_any < 0.05")

    Raises:
        InputError: shapes that do not fit, options that mean nothing, or no function that can be scored; a function
            with fewer than ten items, ten others, or main questions is not scored, and `left_out` says so.
    """
    check_draws(draws, level, seed)
    whole_number(shuffles, "shuffles", 1)
    measured = _check_options(variant, measure, recipe, correct)
    read = read_features(features)
    items = Items.of(labels, groups, functions=functions, correct=correct, count=read.shape[0])
    used = items.correct if variant == "cogvision" and items.correct is not None else np.ones(read.shape[0], bool)
    folds = list(splits(items.groups, "folds", seed=seed))
    items = items.without_rare(used, [train for train, _ in folds])
    how = {"recipe": recipe, "prior": variant == "one_vs_rest" and measured == "accuracy"}
    chosen = _cogvision(items, used, seed) if variant == "cogvision" else [(np.arange(len(used)), slice(None))]
    tasks = [
        _Task.of(items, own, places, [test for _, test in folds], shuffles=shuffles, seed=seed, how=how)
        for own, places in chosen
    ]
    rows = []
    for layer in ProgressBar(range(read.shape[1]), desc="linear probes", unit="layer", disable=not progress):
        own = layer_of(read, layer)
        own = with_layer_mean(own) if context else own
        rows.append([task.of_layer(own, measured, seed=seed, draws=draws, level=level) for task in tasks])
    made = {name: np.stack([np.concatenate([one[name] for one in row]) for row in rows], 1) for name in rows[0][0]}
    settings = {
        "variant": variant, "measure": measured, "recipe": recipe, "context": context, "shuffles": shuffles,
        "folds": len(folds), "seed": seed, "draws": draws, "level": level,
    }  # fmt: skip
    pairs = zip(made["value"], made["null"], strict=True)
    p, p_any = zip(*(pooled_p(own.ravel(), drawn.reshape(-1, shuffles).T) for own, drawn in pairs), strict=True)
    shape = made["value"].shape
    sizes = [(len(task.rows), len(np.unique(task.groups))) for task in tasks for _ in range(task.truth.shape[1])]
    return HeadScores(
        scorer="linear_probe",
        functions=items.functions,
        values=made["value"],
        samples=tuple(size for size, _ in sizes),
        groups=tuple(size for _, size in sizes),
        low=made["low"],
        high=made["high"],
        null=made["null"].mean(axis=3, dtype=np.float64).astype(np.float32),
        p=np.stack(p).reshape(shape).astype(np.float32),
        p_any=np.stack(p_any).reshape(shape).astype(np.float32),
        draws=np.moveaxis(made["drawn"], 3, 0),
        left_out=items.left_out,
        settings=settings,
    )


@dataclass(frozen=True, eq=False)
class _Task:
    """Functions that are read on the same items.

    Attributes:
        rows: these items.
        truth: whether each is of each function, bool [item function].
        groups: the code of their main questions.
        labels: the truth and what it is dealt to, bool [item column], a function's own columns beside each other.
        probes: probes of all these columns.
    """

    rows: Int[np.ndarray, " item"]
    truth: Bool[np.ndarray, "item function"]
    groups: Int[np.ndarray, " item"]
    labels: Bool[np.ndarray, "item column"]
    probes: FoldProbes

    @classmethod
    def of(
        cls,
        items: Items,
        rows: Int[np.ndarray, " item"],
        places: Any,
        tests: Sequence[Int[np.ndarray, " test"]],
        *,
        shuffles: int,
        seed: int,
        how: dict[str, Any],
    ) -> _Task:
        truth, groups = items.labels[rows][:, places], np.unique(items.groups[rows], return_inverse=True)[1]
        dealt = dealt_rows(groups, shuffles, np.random.default_rng([seed, 1]))
        every = np.stack([truth, *(truth[own] for own in dealt)], axis=2)
        labels = rearrange(every, "item function column -> item (function column)")
        folds = [np.flatnonzero(np.isin(rows, test)) for test in tests]
        return cls(rows, truth, groups, labels, FoldProbes.of(labels, folds, **how))

    def of_layer(
        self, features: Float32[np.ndarray, "item head feature"], measure: str, *, seed: int, draws: int, level: float
    ) -> dict[str, Float[np.ndarray, "function head *axes"]]:
        """The scores of a layer's heads, their intervals, what they are under each deal, and in the first draws."""
        values, parts, columns = [], [], self.labels.shape[1] // self.truth.shape[1]
        for head in range(features.shape[1]):
            scores = self.probes.scores(features[self.rows, head])
            values.append(measured_values(scores, self.labels, measure).reshape(-1, columns))
            parts.append(measured_parts(scores[:, ::columns], self.truth, measure))
        whole, table = Parts.joined(parts), np.stack(values, axis=1)
        drawn = whole.drawn(self.groups, seed=seed, n=draws)
        here = rearrange(table[:, :, 0], "function head -> (head function)")
        low, high = spread_ends(here, drawn, level, units=whole.units(self.groups), bounds=SHARE)
        by_head = {"low": low, "high": high, "drawn": drawn[:KEPT].T}
        told = {
            name: rearrange(own, "(head function) ... -> function head ...", head=features.shape[1])
            for name, own in by_head.items()
        }
        told |= {"value": table[:, :, 0], "null": table[:, :, 1:]}
        return {name: own.astype(np.float32) for name, own in told.items()}


def _cogvision(
    items: Items, used: Bool[np.ndarray, " item"], seed: int
) -> Iterator[tuple[Int[np.ndarray, " item"], list[int]]]:
    """For each function, as many of its items as of others, drawn by the seed from those that are used."""
    for place in range(len(items.functions)):
        rng = np.random.default_rng([seed, 2, place])
        both = [np.flatnonzero(used & side) for side in (items.labels[:, place], ~items.labels[:, place])]
        least = min(map(len, both))
        yield np.sort(np.concatenate([rng.choice(own, least, replace=False) for own in both])), [place]


def _check_options(variant: str, measure: str | None, recipe: str, correct: Any) -> str:
    """What is measured; refuses options that mean nothing."""
    for name, given, known in (("variant", variant, VARIANTS), ("recipe", recipe, RECIPES)):
        if given not in known:
            raise InputError(f"{name}={given!r} is not known: use one of {', '.join(known)}")
    own = {"one_vs_rest": "balanced_accuracy", "cogvision": "accuracy"}[variant] if measure is None else measure
    if own not in MEASURES:
        raise InputError(f"measure={measure!r} is not known: use one of {', '.join(MEASURES)}")
    if (variant == "cogvision") != (correct is not None):
        raise InputError(
            f"variant={variant!r} and correct={'given' if correct is not None else None}: cogvision reads rightly "
            "answered items and needs correct; one_vs_rest reads all items, so select them before"
        )
    return own
