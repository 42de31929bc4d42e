"""Amplify: a data set asked with its image tokens amplified along a probe's directions, and along random ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from interp.errors import InputError
from interp.numeric import listed
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.study.keys import check_ids
from probes.mechanisms.amplify.answers import PROBE, AmplifyMeasurement
from probes.mechanisms.amplify.measures import ALL, Judged, measure_amplification
from probes.mechanisms.scenes.sides import SIDES
from probes.mechanisms.scenes.wordings import axis_of, in_both_orders
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

ON_TRAINED = ("refuse", "exclude")
"""What is done with samples that directions were trained on."""


@fits_a_cell("measures held_out chosen paper left_out untouched probe random")
@dataclass(frozen=True, eq=False)
class Amplified:
    """What amplification corrects, breaks and gains over a data set.

    Attributes:
        ids: the items that count: those that were asked, less the dropped ones.
        untouched: whether each is right with its options in either order, bool [item order].
        probe: the same at each alpha along the given directions, bool [item alpha order].
        random: the same along random directions, bool [item seed alpha order].
        alphas: in ascending order.
        seeds: of the random directions.
        measures: a row per axis, source (`untouched`, `probe`, `random`, `probe - random`), alpha and measure:
            `accuracy` (right in both orders), `corrected` (wrong before, right after), `broken` (right before, wrong
            after), `net` (corrected - broken), as shares of all items, with `low` and `high`.
        held_out: the same with alpha chosen on one half of the items and reported on the other, both ways.
        gain: whether a gain is claimed, `over_untouched` and `beyond_random`, and the p of a sign test.
        chosen: which alphas that were.
        paper: what the paper would report: right items never asked again, and alpha chosen on the items reported.
        dropped: items that were dropped as a reply was on no side of their axis, untouched.
        left_out: what can not be told, and why; items that directions were trained on, by name.
        answers: a row per item, source and alpha: both words, and by what part of their length tokens were `moved`.
        settings: what made it.
    """

    ids: tuple[str, ...]
    untouched: Bool[np.ndarray, "item order"]
    probe: Bool[np.ndarray, "item alpha order"]
    random: Bool[np.ndarray, "item seed alpha order"]
    alphas: tuple[float, ...]
    seeds: tuple[int, ...]
    measures: pd.DataFrame
    held_out: pd.DataFrame
    gain: Mapping[str, bool | float]
    chosen: pd.DataFrame
    paper: pd.DataFrame
    dropped: tuple[str, ...]
    left_out: pd.DataFrame
    answers: pd.DataFrame
    settings: Mapping[str, Any]

    def value(self, measure: str, source: str = PROBE, alpha: float | None = None, axis: str = ALL) -> float:
        """One measure at one alpha, or, without one, at alphas chosen on other items.

        Raises:
            InputError: it is not there.
        """
        table = self.held_out
        if alpha is not None:
            table = self.measures[(self.measures["alpha"] == np.float32(alpha)) & (self.measures["axis"] == axis)]
        own = table.query("measure == @measure and source == @source")["value"]
        if len(own) != 1:
            raise InputError(f"there is no {measure!r} of {source!r} at alpha {alpha}: see `measures` and `left_out`")
        return float(own.iloc[0])

    def to_dataframe(self) -> pd.DataFrame:
        """The measures: one row per axis, source, alpha and measure, with `low` and `high`."""
        return self.measures.copy()

    def plot(self, ax: Axes | None = None, *, measure: str = "net") -> Axes:
        """Draw a measure against alpha, along the probe's and along random directions, with bands."""
        from probes.mechanisms.amplify.figure import plot_amplified

        return plot_amplified(self.measures, ax, measure=measure, level=self.settings["level"])


def amplify(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    directions: Mapping[str, Any],
    *,
    alphas: Iterable[float] = range(1, 16),
    seeds: Iterable[int] = range(3),
    mode: str = "rescale",
    axes: str = "query",
    wording: str = "where_in_relation",
    same_angle: bool = True,
    trained_on: Iterable[str] = (),
    on_trained: str = "refuse",
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> Amplified:
    """Does making a probe's directions larger in the image tokens help: "The Dual Mechanisms", section 5.4.

        e <- e + alpha sum_k <e, w_k> / (||w_k||^2 + 1e-8) w_k        (`rescale`, the released code)
        e <- e + alpha sum_k w_k / ||w_k||                            (`additive`, as printed)

    for every image token, without training. The released code takes the probe of the axis that is asked about
    (`axes="query"`): what it knows of the question is the axis, not the side. `both` knows nothing of the question.

    **Scoring.** Every item is asked twice, the second time with its options in the other order, and is right only if
    the likeliest next word is right both times: two blind guesses are so in a quarter of the cases. An item is dropped,
    as by the authors, if untouched a reply is on no side of its axis (`dropped`; so accuracies are of the others); at
    other alphas such a reply is wrong. The vision tower runs once a photo.

    **Counting.** All items are asked again at every alpha, so that what breaks is seen: net = corrected - broken. The
    paper asks neither right items again, nor the order of half-failed ones that was right, and reports the alpha that
    was best on the same items (`Probe`; `Probe*` takes any alpha, item by item): it can not lose, and gains from any
    noise. Its counts stand beside, in `paper`, as `probe` and `probe_any`; ties for the best alpha take the smallest.
    Here alpha is chosen on one half of the groups and reported on the other, both ways (`held_out`). A gain is claimed
    from there alone, see `gain`: an alpha picked from `measures` by its interval is one of many.

    **Control.** Random directions, as long as the given ones and, unless `same_angle=False` as in the paper, at the
    same angle: opposite columns amplify along one line by 1 + 2 alpha, and others do not. They are several, and their
    alphas chosen in the same way. `probe - random` asks whether the probe's directions do more than one more random
    direction would; with three seeds its interval is wide. `moved` in `answers` says how far tokens went: random
    directions hold less of them, and as a rule move them less.

    **Items that directions were trained on** are not to be reported. The paper trains on items that are right, drops
    those whose token centres contradict the label, and on ties keeps an item labelled right or below for Qwen and
    Pixtral, where for Gemma it drops it. Name what a probe has seen in `trained_on`.

    Args:
        vlm: the model.
        samples: items of two objects whose relation and answer is left, right, above or below; `group` says what is
            drawn together, and stays in one half.
        directions: [d_model 2] for `horizontal`, `vertical` or both: the columns of a position probe.
        alphas: how much; the untouched model is asked anyway.
        seeds: of the random directions; one says nothing of how far these lie apart.
        mode: `rescale` or `additive`.
        axes: `query` or `both`.
        wording: `where_in_relation`, `qwen` or `gemma`, see `probes.mechanisms.scenes.wordings`.
        same_angle: whether random directions lie to each other as the given ones do.
        trained_on: ids or groups of the samples that directions were trained on.
        on_trained: `refuse` samples that are among these, or share a group with one that is; or `exclude` them.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap, and of the halves.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = amplify(vlm, samples, {"horizontal": probe.weights}, trained_on=probe.ids)
        >>> found.value("net"), found.gain["over_untouched"], found.paper

    Raises:
        InputError: no samples or fewer than two groups, samples that are not as above or were trained on, directions
            of another width, zero or not finite, or none for an axis that is asked about, alphas, seeds or names that
            mean nothing, words of several tokens, or a folder that can not be used; all before the first pass. No item
            that is left.
        RefusedError: a model with DeepStack.
    """
    check_draws(draws, level, seed)
    check_ids(samples)
    work = AmplifyMeasurement.of(
        vlm, directions, alphas, seeds, mode=mode, axes=axes, wording=wording, prompt=prompt, same_angle=same_angle
    )
    in_both_orders(samples, wording)
    asked, excluded = without_trained(samples, trained_on, on_trained)
    groups = groups_of(asked)
    table, settings = measure_samples(
        asked, work, "amplify", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    answers = table.drop(columns="key").astype({"moved": np.float32, "alpha": np.float32})
    judged, kept = judge(answers, asked, groups, work.alphas, work.seeds)
    found = measure_amplification(judged, seed=seed, n=draws, level=level)
    return Amplified(
        ids=tuple(one.id for one, own in zip(asked, kept, strict=True) if own),
        untouched=judged.untouched,
        probe=judged.probe,
        random=judged.random,
        alphas=work.alphas,
        seeds=work.seeds,
        measures=found.measures,
        held_out=found.held_out,
        gain=found.gain,
        chosen=found.chosen,
        paper=found.paper,
        dropped=tuple(one.id for one, own in zip(asked, kept, strict=True) if not own),
        left_out=_with_items(found.left_out, excluded),
        answers=answers,
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def without_trained(
    samples: Sequence[Sample], trained_on: Iterable[str], on_trained: str = "refuse"
) -> tuple[list[Sample], list[Sample]]:
    """Samples that directions were not trained on, and those that they were, or that share a group with one.

    Raises:
        InputError: there are such samples and they are to be refused, none would be left, or what is named is no list.
    """
    if on_trained not in ON_TRAINED:
        raise InputError(f"on_trained={on_trained!r} is not known: use one of {', '.join(ON_TRAINED)}")
    if isinstance(trained_on, str):
        raise InputError(f"trained_on={trained_on!r:.60} is one text: give a list of ids or groups")
    named = set(map(str, listed(trained_on, "trained_on")))
    seen = {one.group for one in samples if one.group and (one.id in named or one.group in named)}
    own = [one.id in named or bool(one.group and one.group in seen) for one in samples]
    kept = [one for one, trained in zip(samples, own, strict=True) if not trained]
    trained = [one for one, trained in zip(samples, own, strict=True) if trained]
    if trained and on_trained == "refuse":
        some = ", ".join(repr(one.id) for one in trained[:3])
        raise InputError(
            f"directions were trained on {len(trained)} of {len(samples)} samples, or on their groups: {some}"
            f"{', ...' * (len(trained) > 3)}: leave them out, or say on_trained='exclude'"
        )
    return kept, trained


def judge(
    answers: pd.DataFrame,
    samples: Sequence[Sample],
    groups: np.ndarray,
    alphas: tuple[float, ...],
    seeds: tuple[int, ...],
) -> tuple[Judged, Bool[np.ndarray, " sample"]]:
    """Which answers are right, of the samples whose replies untouched are on their axis; and which samples those are.

    Raises:
        InputError: there is none of them.
    """
    of = {sample.id: sample for sample in samples}
    names = [sample.id for sample in samples]
    per_item = len(answers) // len(names)
    wide = answers[["first", "second"]].to_numpy(dtype=object).reshape(len(names), per_item, 2)
    gold = np.array([of[name].answer for name in names], dtype=object)
    axes = np.array([axis_of(of[name]) for name in names], dtype=object)
    right = wide == gold[:, None, None]
    kept = np.array([set(said) <= set(SIDES[axis]) for said, axis in zip(wide[:, 0], axes, strict=True)])
    if not kept.any():
        shown = ", ".join(sorted({repr(word) for word in wide[:, 0].ravel()})[:5])
        raise InputError(
            f"no reply of the untouched model is on a side of its axis, but {shown}: try another wording or prompt"
        )
    own, count = right[kept], len(alphas)
    random = own[:, 1 + count :].reshape(len(own), len(seeds), count, 2)
    return Judged(own[:, 0], own[:, 1 : 1 + count], random, alphas, seeds, axes[kept], groups[kept]), kept


def _with_items(left_out: pd.DataFrame, excluded: Sequence[Sample]) -> pd.DataFrame:
    """What is left out, with the items that directions were trained on."""
    import pandas as pd

    why = "directions were trained on it, or on its group"
    rows = [{"table": "answers", "axis": axis_of(one), "source": one.id, "measure": "", "why": why} for one in excluded]
    return pd.concat([left_out, pd.DataFrame(rows, columns=left_out.columns)], ignore_index=True)
