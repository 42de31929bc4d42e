"""Axis probes: which side of the other an object is on, read from the mean of its tokens as the language model gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.stats.linear_probe import RECIPES, LinearProbe, check_features, fit_probes
from interp.stats.probe_accuracy import accuracies, check_shuffles, with_shuffled
from probes.mechanisms.probe.saved import load_probes, save_probes
from probes.mechanisms.probe.sites import choose_sites, read_sites
from probes.mechanisms.scenes.sides import SIDES
from probes.mechanisms.tokens.object_tokens import whole_view
from probes.study.run import ONE_GROUP, check_asked, check_model, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

CLASSES = {side: (axis, place) for axis, sides in SIDES.items() for place, side in enumerate(sides)}
"""By the word for where the first object is: the axis, and the first object's class; the second has the other one."""

NEUTRAL = "Describe the image."
"""What is asked while tokens are read."""

TRAIN_SHARE = 0.95


@fits_a_cell("probes")
@dataclass(frozen=True, eq=False)
class AxisProbe:
    """Two-class linear probes along both axes: which side an object is on, from the mean of its image tokens.

    Attributes:
        probes: by axis, the probe; class 0 is left, or above.
        measures: a row per axis and measure: `axis`, `measure`, `value`, `low`, `high`, `samples`, `groups`. `accuracy`
            is over held-out objects, `control` that of probes of shuffled labels, `selectivity` accuracy - control, and
            `train_accuracy`, whose interval says nothing of other photos, over the objects trained on.
        left_out: a row per axis and measure that can not be told, with the reason.
        dropped: samples whose tokens contradict their label, or that have none in a box, with the reason.
        settings: what made it.
        trained_on: the ids of the samples that trained a probe.

    Example:
        >>> found = axis_probe(vlm, right_ones)
        >>> found.weights["horizontal"].shape, found.save("out/axes.safetensors")
        >>> amplified = amplify(vlm, samples, found.weights, trained_on=found.trained_on)
    """

    probes: Mapping[str, LinearProbe]
    measures: pd.DataFrame = field(repr=False)
    left_out: pd.DataFrame = field(repr=False)
    dropped: pd.DataFrame = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    trained_on: tuple[str, ...] = field(repr=False)

    @property
    def weights(self) -> dict[str, Float32[np.ndarray, "d_model 2"]]:
        """W by axis: column 0 reads left or above, column 1 right or below."""
        return {axis: probe.weights for axis, probe in self.probes.items()}

    def to_dataframe(self) -> pd.DataFrame:
        """The measures, one row per axis and measure."""
        return self.measures.copy()

    def save(self, path: str | Path) -> Path:
        """Keep the probes in one safetensors file; `load_axis_probes` reads them."""
        return save_probes(path, self.probes)


def load_axis_probes(path: str | Path) -> dict[str, LinearProbe]:
    """The probes by axis, as `AxisProbe.save` kept them.

    Raises:
        InputError: the file can not be read, or holds none of both axes.
    """
    found = load_probes(path)
    axes = set(SIDES)
    if not set(found) <= axes:
        raise InputError(f"{str(path)!r} holds probes of {', '.join(found)}: name a file of axis probes")
    return found


def axis_probe(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    recipe: str = "paper",
    question: str = NEUTRAL,
    shuffles: int = 5,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> AxisProbe:
    """Train probes of the side that an object is on, from the mean of the projector's outputs over its box.

    The probes by which Cui et al., "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models", amplify what
    tokens say of places in photos of COCO. Each sample gives two vectors: the mean over the tokens that the first
    object's box touches, and the same of the second object; the class is the side, from the sample's relation (or its
    answer): `left`, `right`, `above` or `below`, where the first object is. Samples whose tokens contradict that,
    or whose tokens' centres are one, are dropped by name (the released code keeps some of the latter for some models).
    95 % of the groups train, the others test; the paper's own split has no seed.

    The paper trains on samples that the model answers rightly: give these.

    Args:
        vlm: the model.
        samples: each with two objects that have boxes.
        recipe: see `interp.stats.linear_probe.fit_probe`.
        question: what is asked in place of the samples' own questions.
        shuffles: how many times labels are shuffled for the control.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are run together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the split, of shuffles, start values and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Raises:
        InputError: samples without two boxes or without a side, too few groups, options that mean nothing, or a folder
            that can not be used; all before the first pass.
    """
    check_draws(draws, level, seed)
    if recipe not in RECIPES:
        raise InputError(f"recipe={recipe!r} is not known: use one of {', '.join(RECIPES)}")
    check_shuffles(shuffles)
    check_model(vlm)
    groups_of(samples)
    sides = {sample.id: side_of(sample) for sample in samples}
    tokens, dropped = _tokens(vlm, samples, sides)
    kept = [replace(sample, question=question) for sample in samples if sample.id in tokens]
    by_axis = {axis: [one for one in kept if sides[one.id][0] == axis] for axis in SIDES}
    groups = {axis: groups_of_axis(axis, own) for axis, own in by_axis.items() if own}
    if not groups:
        raise InputError(f"all {len(samples)} samples were dropped, first {dropped[0][0]!r}: {dropped[0][1]}")
    work = BoxMeans(vlm, tokens, prompt)
    table, settings = measure_samples(
        kept, work, "axis-probe", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    found = {
        axis: _fit_axis(table, by_axis[axis], sides, own, recipe=recipe, shuffles=shuffles, seed=seed)
        for axis, own in groups.items()
    }
    return _result(found, dropped, {**settings, "recipe": recipe, "seed": seed, "draws": draws, "level": level})


def side_of(sample: Sample) -> tuple[str, int]:
    """The axis of a sample, and the class of its first object.

    Raises:
        InputError: neither its relation nor its answer is a side, or it has no two objects with boxes.
    """
    found = CLASSES.get(sample.relation) or CLASSES.get(sample.answer)
    if found is None:
        raise InputError(
            f"sample {sample.id!r} has the relation {sample.relation!r} and the answer {sample.answer!r}: give "
            f"{', '.join(CLASSES)}"
        )
    boxes = [thing.box for thing in sample.objects[:2] if thing.box is not None]
    if len(boxes) < 2:
        raise InputError(f"sample {sample.id!r} has {len(boxes)} objects with boxes: give two, the subject first")
    return found


def box_tokens(sample: Sample, grid: ImageGrid) -> tuple[tuple[Int[np.ndarray, " token"], ...], str]:
    """The image tokens that each of the two boxes touches, and why the sample is to be dropped, if it is."""
    whole, places = whole_view(grid, sample.id)
    touched = [np.flatnonzero(whole.membership(thing.box) > 0) for thing in sample.objects[:2] if thing.box]
    if not all(map(len, touched)):
        return (), "an object has no image token"
    axis, first = side_of(sample)
    lines = whole.cols if axis == "horizontal" else whole.rows
    apart = lines[touched[0]].mean() - lines[touched[1]].mean()
    if apart == 0 or (apart < 0) != (first == 0):
        return (), "its tokens' centres contradict the relation"
    return tuple(places[own] for own in touched), ""


def _tokens(
    vlm: HookedVLM, samples: Sequence[Sample], sides: Mapping[str, Any]
) -> tuple[dict[str, tuple[Int[np.ndarray, " token"], ...]], list[tuple[str, str]]]:
    """The tokens of both objects by sample, and the samples that are dropped, with the reason."""
    tokens, dropped = {}, []
    for sample in samples:
        own, why = box_tokens(sample, vlm.grid_of(sample.image))
        if why:
            dropped.append((sample.id, why))
        else:
            tokens[sample.id] = own
    return tokens, dropped


@dataclass(frozen=True, eq=False)
class BoxMeans:
    """What is kept of each sample: for each of its two objects, the mean of what the projector gives over its box."""

    vlm: HookedVLM
    tokens: Mapping[str, tuple[Int[np.ndarray, " token"], ...]] = field(repr=False)
    prompt: str

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass."""
        check_asked(self.vlm, samples, self.prompt, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """Two rows of each sample: `object`, 0 or 1, and `features`, float32 [d_model]."""
        from interp.study.prompter import prepare_samples

        kept: dict[str, list[np.ndarray]] = {}
        both = [self.tokens[sample.id] for sample in samples]
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        together = [np.concatenate(own) for own in both]
        read_sites(self.vlm, inputs, choose_sites(self.vlm, "projector"), together, kept.__setitem__)
        return [
            [
                {"object": place, "features": part.mean(axis=0)}
                for place, part in enumerate(np.split(features, [len(own[0])]))
            ]
            for features, own in zip(kept["projector"], both, strict=True)
        ]


def groups_of_axis(axis: str, samples: Sequence[Sample]) -> Shaped[np.ndarray, " sample"]:
    """The groups of the samples of one axis.

    Raises:
        InputError: there are fewer than two, so that none could be held out.
    """
    try:
        return groups_of(samples)
    except InputError as error:
        raise InputError(f"{axis} axis: {error}") from None


def train_items(
    n: int, order: Int[np.ndarray, " item"]
) -> tuple[Int[np.ndarray, " train_item"], Int[np.ndarray, " test_item"]]:
    """Which items train and which test, in an order: 95 % train, and one at least tests."""
    count = max(1, min(int(TRAIN_SHARE * n), n - 1))
    return order[:count], order[count:]


def _fit_axis(
    table: pd.DataFrame,
    samples: Sequence[Sample],
    sides: Mapping[str, tuple[str, int]],
    groups: Shaped[np.ndarray, " sample"],
    *,
    recipe: str,
    shuffles: int,
    seed: int,
) -> dict[str, Any]:
    """The probe of one axis, and what it and its control are right about in held-out objects."""
    own = table[table["id"].isin([sample.id for sample in samples])]
    features = check_features(np.stack(list(own["features"])), "image tokens at the projector")
    first = np.array([sides[name][1] for name in own["id"]])
    labels = np.where(own["object"].to_numpy(dtype=np.int64) == 0, first, 1 - first)
    of = dict(zip((sample.id for sample in samples), groups, strict=True))
    together = np.array([of[name] for name in own["id"]], dtype=object)
    names = np.array(list(dict.fromkeys(together.tolist())), dtype=object)
    _, test = train_items(len(names), np.random.default_rng(seed).permutation(len(names)))
    held = np.isin(together.astype(str), names[test].astype(str))
    every = np.empty((1 + shuffles, len(labels)), dtype=np.int64)
    for at, side in enumerate((~held, held)):
        every[:, side] = with_shuffled(labels[side], np.arange(side.sum()), shuffles=shuffles, seed=(seed, at))
    probes = fit_probes(features[~held], every[:, ~held], recipe=recipe, n_classes=2, seed=seed)
    right = np.stack([probe.predict(features) == row for probe, row in zip(probes, every, strict=True)], axis=1)
    return {"probe": probes[0], "right": right.astype(float), "held": held, "groups": together, "ids": own["id"]}


def _result(found: Mapping[str, Any], dropped: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> AxisProbe:
    """The measures of both axes."""
    import pandas as pd

    rows, missing = [], []
    for axis, own in found.items():
        held, right, groups = own["held"], own["right"], own["groups"]
        drawn = {name: settings[name] for name in ("seed", "draws", "level")}
        tested = accuracies(right[held, :1], right[held, 1:], groups[held], **drawn)
        trained = accuracies(right[~held, :1], right[~held, 1:], groups[~held], **drawn)[:1]
        names = ("accuracy", "control", "selectivity", "train_accuracy")
        for name, one in zip(names, (*tested, *trained), strict=True):
            part = ~held if name == "train_accuracy" else held
            counts = {"samples": own["ids"][part].nunique(), "groups": len(set(groups[part].tolist()))}
            if np.isfinite([one.estimate, one.low, one.high]).all():
                rows.append({"axis": axis, "measure": name, **one.cells("value"), **counts})
            else:
                missing.append({"axis": axis, "measure": name, "why": ONE_GROUP})
    return AxisProbe(
        probes={axis: own["probe"] for axis, own in found.items()},
        measures=pd.DataFrame(rows, columns=["axis", "measure", "value", "low", "high", "samples", "groups"]).astype(
            dict.fromkeys(("value", "low", "high"), np.float32)
        ),
        left_out=pd.DataFrame(missing, columns=["axis", "measure", "why"]),
        dropped=pd.DataFrame(dropped, columns=["id", "why"]),
        settings=settings,
        trained_on=tuple(dict.fromkeys(name for own in found.values() for name in own["ids"][~own["held"]])),
    )
