"""The scorer of "Attention in Space": gradient times activation of each head in one network that names functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float32, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import ratio, real, whole_number
from interp.reprs import fits_a_cell
from interp.stats.clusters import clustered_mean, drawn_sums, groups_with
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, SHARE, Interval, spread_ends
from interp.stats.probe_accuracy import held_out
from interp.stats.shuffles import dealt_rows, pooled_p
from probes.heads.activations.features import HeadFeatures, layer_of, read_features, with_layer_mean
from probes.heads.functions import FUNCTIONS
from probes.heads.scorers.items import Items
from probes.heads.scorers.network import (
    DECAY,
    DROPOUT,
    EPOCHS,
    RATE,
    SHARED,
    JointNetwork,
    check_loss,
    importance,
    predicted,
    train_network,
)
from probes.heads.scores import KEPT, HeadScores

TEST_SHARE = 0.2
"""Of the main questions, so many are held out where nobody says which: one of five, as CogQA has it."""


@fits_a_cell("scorer functions values samples accuracy")
@dataclass(frozen=True, eq=False)
class JointScores(HeadScores):
    """Head scores of a joint network: `values` are the absolute importances, the papers' mean over the shared map.

    Attributes:
        signed: the importances with their sign, mean over the dimensions of the shared map.
        summed: the same, summed over these dimensions: the textbook's product, 64 times as large.
        accuracy: how often the network names the function of a held-out item; by `bce` the share of right yes and no.
        control: the same of networks of dealt labels, mean over deals.
        losses: the mean loss of each epoch.
        network: the trained network.
    """

    signed: Float32[np.ndarray, "function layer head"] | None = None
    summed: Float32[np.ndarray, "function layer head"] | None = None
    accuracy: Interval | None = None
    control: float = float("nan")
    losses: tuple[float, ...] = ()
    network: JointNetwork | None = field(default=None, repr=False)


def joint_network(
    features: HeadFeatures | np.ndarray,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    functions: Sequence[str] = FUNCTIONS,
    primary: ArrayLike | None = None,
    test: ArrayLike | None = None,
    loss: str = "ce",
    context: bool = True,
    epochs: int = EPOCHS,
    batch: int = 1,
    rate: float = RATE,
    decay: float = DECAY,
    dropout: float = DROPOUT,
    shuffles: int = 5,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    progress: bool = True,
) -> JointScores:
    """Train one network on the features of all heads, and score each head by what the right function's logit owes it.

        I_j^c = mean over held-out items of c of mean_d (d y_c / d p_jd) p_jd,    p_j = A x_j + a

    "Attention in Space" (arXiv 2603.20662), section 3, and CogQA (arXiv 2512.10978): x_j is [head ; mean of the layer's
    heads], A maps it to 64 dimensions for all heads alike; AdamW in steps of one item, in their order, 100 epochs.
    Heads are ranked by the size of I; its sign is kept. Memory and time grow with the heads: 33 million weights for
    1,024 heads. Where steps of one item are too slow, larger ones make another network, and the settings say so.

    Intervals draw the held-out main questions; that another training would give another network is not in them. The
    null trains networks of dealt labels, see `interp.stats.shuffles.dealt_rows`, and takes their importances.

    Args:
        features: [item layer head d_head], or a reader that gives them layer by layer; all are held in memory.
        labels: whether each item is of each function, bool [item function].
        groups: the main question of each item, [item].
        functions: the names of the functions.
        primary: by `ce` the name of the main function of each item, [item], where some are of several; importance is
            taken on items of that function.
        test: which items are held out, bool [item]; by default those of a fifth of the main questions, by the seed.
        loss: `ce` or `bce`, see `LOSSES`.
        context: read the mean over the heads of the layer too.
        epochs: how often every item is seen.
        batch: items of a step.
        rate: the learning rate.
        decay: the weight decay of AdamW.
        dropout: the share of the hidden layer that is dropped in training.
        shuffles: how many networks of dealt labels are trained for the null; each takes as long as the network.
        seed: the seed of weights, dropout, split, deals and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        progress: show a progress bar.

    Example:
        >>> found = joint_network(z, labels, main_question)  # z [item layer head d_head], labels [item 8]
        >>> found.accuracy.estimate > found.control, found.of("spatial").argmax()

    Raises:
        InputError: shapes that do not fit, options that mean nothing, a main question on both sides of the split, or
            no function that can be scored.
    """
    check_draws(draws, level, seed)
    sizes = {"epochs": epochs, "batch": batch, "shuffles": shuffles}
    rates = {"rate": rate, "decay": decay, "dropout": dropout}
    _check_options(sizes, rates)
    read = read_features(features)
    items = Items.of(labels, groups, functions=functions, count=read.shape[0]).with_primary(primary)
    check_loss(loss, items.labels)
    held = _held(items, test, seed)
    items = items.without_rare(np.ones(len(held), bool), [np.flatnonzero(~held), np.flatnonzero(held)])
    recipe = _Recipe(loss, epochs, batch, rate, decay, dropout, seed)
    work = _Work.of(read, items, held, context)
    network, losses = work.trained(work.labels, recipe, progress=progress)
    own = work.importances(network, work.labels)
    signed, (low, high), drawn = _drawn(own, work, seed=seed, n=draws, level=level)
    null, control = [], []
    for dealt in work.dealt(shuffles, seed):
        other, _ = work.trained(dealt, recipe)
        null.append(np.abs([each.mean(axis=0) for each in work.importances(other, dealt)]))
        control.append(work.right(other, dealt, loss).mean())
    ps = [pooled_p(*each) for each in zip(np.abs(signed), np.stack(null, axis=1), strict=True)]
    tables = {
        "values": np.abs(signed), "low": low, "high": high, "null": np.mean(null, axis=0), "signed": signed,
        "summed": signed * SHARED, "p": [one for one, _ in ps], "p_any": [one for _, one in ps],
    }  # fmt: skip
    shape = (len(items.functions), *read.shape[1:3])
    right = work.right(network, work.labels, loss)
    return JointScores(
        scorer="joint_network",
        functions=items.functions,
        samples=tuple(work.labels[work.test].sum(axis=0).tolist()),
        groups=tuple(len(np.unique(work.groups[work.test][here])) for here in work.labels[work.test].T),
        draws=np.abs(drawn[:KEPT]).astype(np.float32).reshape(-1, *shape),
        left_out=items.left_out,
        settings={
            "loss": loss, **sizes, **rates, "context": context, "seed": seed, "draws": draws, "level": level,
            "train": len(work.train), "test": len(work.test),
        },
        accuracy=clustered_mean(right, work.groups[work.test], seed=seed, n=draws, level=level, bounds=SHARE),
        control=float(np.mean(control)),
        losses=losses,
        network=network,
        **{name: np.asarray(own, dtype=np.float32).reshape(shape) for name, own in tables.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class _Recipe:
    """How a network is trained; see `joint_network`."""

    loss: str
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    seed: int


@dataclass(frozen=True, eq=False)
class _Work:
    """What networks are trained and tested on.

    Attributes:
        z: the features of all layers and heads.
        labels: whether each item is of each function.
        groups: the code of each item's main question.
        train: the items that networks are trained on.
        test: the items that are held out.
        context: whether the mean over the heads of a layer is read too.
    """

    z: Float32[np.ndarray, "item layer head d_head"]
    labels: Bool[np.ndarray, "item function"]
    groups: Int[np.ndarray, " item"]
    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    context: bool

    @classmethod
    def of(cls, read: HeadFeatures, items: Items, held: Bool[np.ndarray, " item"], context: bool) -> _Work:
        """Read all layers of the items that are of a function that can be scored."""
        kept = items.labels.any(axis=1)
        z = np.empty((int(kept.sum()), *read.shape[1:]), np.float32)
        for layer in range(read.shape[1]):
            z[:, layer] = layer_of(read, layer)[kept]
        sides = [np.flatnonzero(held[kept] == side) for side in (False, True)]
        return cls(z, items.labels[kept], items.groups[kept], sides[0], sides[1], context)

    def features(self, rows: Int[np.ndarray, " row"]) -> Float32[np.ndarray, "row head feature"]:
        """The features of some items, layers one after another."""
        own = with_layer_mean(self.z[rows]) if self.context else self.z[rows]
        return rearrange(own, "row layer head feature -> row (layer head) feature")

    def trained(
        self, labels: Bool[np.ndarray, "item function"], recipe: _Recipe, *, progress: bool = False
    ) -> tuple[JointNetwork, tuple[float, ...]]:
        """A network of these labels and its losses; torch's own generator stays as it is."""
        width = self.z.shape[3] * (2 if self.context else 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = JointNetwork(self.z.shape[1] * self.z.shape[2], width, labels.shape[1], dropout=recipe.dropout)
            losses = train_network(
                network,
                lambda rows: self.features(self.train[rows]),
                labels[self.train],
                loss=recipe.loss,
                epochs=recipe.epochs,
                batch=recipe.batch,
                rate=recipe.rate,
                decay=recipe.decay,
                progress=progress,
            )
        return network, losses

    def importances(
        self, network: JointNetwork, labels: Bool[np.ndarray, "item function"]
    ) -> list[Float32[np.ndarray, "_ head"]]:
        """For each function, the importance of each head on each held-out item of it."""
        own = [self.test[here] for here in labels[self.test].T]
        return [
            np.concatenate([importance(network, self.features(part), place) for part in _parts(rows)]) / SHARED
            for place, rows in enumerate(own)
        ]

    def right(
        self, network: JointNetwork, labels: Bool[np.ndarray, "item function"], loss: str
    ) -> Float32[np.ndarray, " test"]:
        """How right the network is on each held-out item, from 0 to 1."""
        logits = np.concatenate([predicted(network, self.features(part)) for part in _parts(self.test)])
        own = labels[self.test]
        if loss == "ce":
            return own[np.arange(len(own)), logits.argmax(axis=1)].astype(np.float32)
        return ((logits > 0) == own).mean(axis=1, dtype=np.float32)

    def dealt(self, shuffles: int, seed: int) -> Iterator[Bool[np.ndarray, "item function"]]:
        """Labels dealt anew, those of both sides apart."""
        rng = np.random.default_rng([seed, 1])
        sides = [
            (own, dealt_rows(np.unique(self.groups[own], return_inverse=True)[1], shuffles, rng))
            for own in (self.train, self.test)
        ]
        for place in range(shuffles):
            labels = np.empty_like(self.labels)
            for own, rows in sides:
                labels[own] = self.labels[own[rows[place]]]
            yield labels


def _drawn(
    own: Sequence[Float32[np.ndarray, "_ head"]], work: _Work, *, seed: int, n: int, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean importances [function head], both ends of the interval of their size, and draws [draw function head]."""
    groups = work.groups[work.test]
    means, ends, drawn = [], [], []
    for values, here in zip(own, work.labels[work.test].T, strict=True):
        every = np.zeros((len(here), values.shape[1]))
        every[here] = values
        above, below = drawn_sums([every, here[:, None].astype(float)], groups, seed=seed, n=n)
        means.append(values.mean(axis=0, dtype=np.float64))
        draws = ratio(above, below)
        low, high = spread_ends(means[-1], draws, level, units=groups_with(here, groups))
        size = np.stack(
            [np.where((low <= 0) & (high >= 0), 0, np.minimum(*np.abs([low, high]))), np.maximum(*np.abs([low, high]))]
        )
        ends.append(size)
        drawn.append(draws[:KEPT])
    return np.stack(means), np.stack(ends, axis=1), np.stack(drawn, axis=1)


def _parts(rows: Int[np.ndarray, " row"], most: int = 64) -> list[Int[np.ndarray, " part"]]:
    """Rows, so many at a time."""
    return [rows[place : place + most] for place in range(0, len(rows), most)]


def _held(items: Items, test: ArrayLike | None, seed: int) -> Bool[np.ndarray, " item"]:
    """Which items are held out: as given, if no main question is on both sides, or a share of the main questions."""
    if test is None:
        return held_out(items.groups, seed=seed, share=TEST_SHARE)
    held = np.asarray(test)
    if held.shape != (len(items.labels),) or not np.isin(held, (0, 1)).all():
        raise InputError(f"test has shape {held.shape} for {len(items.labels)} items: give one truth value for each")
    held = held.astype(bool)
    both = np.intersect1d(items.groups[held], items.groups[~held])
    if len(both):
        raise InputError(
            f"{len(both)} main questions are on both sides of the split, with "
            f"{int(np.isin(items.groups, both).sum())} items: hold out whole main questions"
        )
    return held


def _check_options(sizes: dict[str, int], rates: dict[str, float]) -> None:
    """Refuse sizes and rates that train nothing."""
    for name, given in sizes.items():
        whole_number(given, name, 1)
    for name, rate in rates.items():
        if not (0 < real(rate) if name == "rate" else 0 <= real(rate) < 1):
            raise InputError(
                f"{name}={rate!r} trains nothing: give a number {'above 0' if name == 'rate' else 'from 0, below 1'}"
            )
