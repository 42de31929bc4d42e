"""Position probes: is an object's place along an axis written into its image tokens, and into the background's too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange
from jaxtyping import Float, Float32, Int
from PIL import Image

from interp.errors import InputError
from interp.image.photos import check_image, load_image
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.stats.linear_probe import RECIPES, LinearProbe, check_features, fit_probes, prior_probe, varies
from interp.stats.probe_accuracy import TEST_SHARE, check_shuffles, held_out, with_shuffled
from interp.study.run import read_study
from probes.mechanisms.probe.measurements import ProbeTask, Readout, TrainingTokens, features_of_blank
from probes.mechanisms.probe.result import Photo, PositionProbe, ReadPhotos, measure_photos
from probes.mechanisms.probe.strips import strip_chance
from probes.mechanisms.tokens.object_tokens import ObjectTokens, strip_weights
from probes.study.run import check_asked, check_how, groups_of, measure_samples, measured_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

FEW = 16
"""Of so many training photos at most, the colour of the photo of nothing is taken."""

PARTS = ("train", "test")
"""The folders inside `out` that the two halves of a study are kept in."""


def position_probe(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    axis: str = "horizontal",
    labels: str = "slot",
    sites: str | Iterable[str] = "all",
    recipe: str = "logistic",
    test_share: float = TEST_SHARE,
    shuffles: int = 5,
    at_least: float = 0.5,
    blank: tuple[int, int, int] | None = None,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> PositionProbe:
    """Train linear probes of objects' places on object tokens, and read them on all patches of held-out photos.

        y = softmax(W h + b)

    h is an image token at one site, y over the objects' places along an axis (1st, 2nd, 3rd): the position probe of Cui
    et al., "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models", section 5.2.1, who read at the
    projector. It is trained on tokens inside the objects' boxes alone, and then read on every patch: where whole
    columns, background included, say which object is in them, the map shows strips.

    Three controls stand in the same result. Probes of shuffled labels tell what a probe can learn by heart. A probe of
    a photo of nothing, at the same places, tells what a token says about where it is, whatever is there: where objects
    always stand in the same places, it may be as accurate as the probe itself, and then accuracy says nothing of
    objects. Lines of background dealt anew tell how large a strip score gets by chance.

    Every photo is seen once: a share of the groups trains, and their object tokens are kept; the others are held out,
    and of them only what probes say is kept. `out` holds the two as studies of their own. Training tokens are written
    batch by batch, to `out` or to a temporary folder, and read one site at a time: one batch at all sites, or all
    photos at one, is the most that is in memory. On disk 1,000 tokens at 60 sites of 4,096 features take 1 GB.

    Args:
        vlm: the model.
        samples: scenes with the boxes of all their objects, as many in each, on one grid of image tokens; `group` says
            what is held out and drawn together.
        axis: `horizontal`, places from left to right; or `vertical`, from top to bottom.
        labels: `slot`, the object's place in the order; or `line`, its column (row), which several objects may share,
            for scenes on a grid.
        sites: names of sites such as `projector`, `blocks.3` and `vision.blocks.0`, or parts: `vision`, `projector`,
            `language`; `all`.
        recipe: `logistic` or `paper`, see `interp.stats.linear_probe.fit_probe`.
        test_share: share of the groups that is held out.
        shuffles: how many times labels are shuffled.
        at_least: share of a token's own area that has to lie in a box.
        blank: the colour of the photo of nothing, red, green and blue from 0 to 255; by default the median of what the
            first training photos have, which is that of the canvas where they are drawn on one.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are run together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the split, of shuffles, start values, deals and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = position_probe(vlm, scenes, axis="horizontal", sites=["projector", "language"])
        >>> found.value("accuracy"), found.value("strip"), found.strips()

    Raises:
        InputError: samples without boxes or without an order, photos of different grids, too few groups, options that
            mean nothing, or a folder that can not be used, all before the first pass; features that are not finite.
        RefusedError: a vision tower that the family can not show.
    """
    check_draws(draws, level, seed)
    how: dict[str, Any] = {"resume": resume, "batch": batch, "progress": progress, "record": record}
    check_how(out=out, parts=PARTS, **how)
    task = ProbeTask.of(vlm, sites=sites, axis=axis, labels=labels, at_least=at_least, prompt=prompt)
    _refuse_options(recipe, blank)
    groups = groups_of(samples)
    held = held_out(groups, seed=seed, share=test_share)
    check_shuffles(shuffles)
    tokens = task.tokens_of(samples)
    train, test = ([one for one, out_of in zip(samples, held, strict=True) if out_of == half] for half in (False, True))
    own = [tokens[sample.id] for sample in test]
    check_asked(vlm, samples, prompt, progress=progress)
    folders = [None if out is None else Path(out) / part for part in PARTS]
    labels_train = np.concatenate(_dealt([tokens[sample.id] for sample in train], shuffles, (seed, 0)), axis=1)
    learn = TrainingTokens(task, tokens)
    with measured_samples(train, learn, "probe-train", out=folders[0], flush_seconds=0, **how) as (folder, _):
        seen = read_study(folder, columns=["token", "label"])[0]
        probes, digest = _fit_sites(folder, task.names, labels_train, recipe=recipe, seed=seed)
    trained = {"recipe": recipe, "shuffles": shuffles, "probe_seed": seed, "trained_on": digest}
    shuffled = dict(zip((sample.id for sample in test), _dealt(own, shuffles, (seed, 1)), strict=True))
    work = Readout(task, tokens, probes, shuffled, trained)
    read, settings = measure_samples(test, work, "probe-test", out=folders[1], **how)
    first, colour = train[0], _colour(train) if blank is None else blank
    nothing = features_of_blank(task, first, tokens[first.id], Image.new("RGB", check_image(first.image), colour))
    told = {name: _read_nothing(nothing[name], seen, recipe=recipe, seed=seed) for name in task.names}
    photos = _photos(task, read, told, own, groups[held])
    measures, left_out = measure_photos(photos, task.sites, seed=seed, draws=draws, level=level)
    chances = _chances(read, own)
    return PositionProbe(
        sites=task.sites,
        probes={name: both[0] for name, both in probes.items()},
        maps=_as_maps(chances.mean(axis=0), own[0]),
        maps_position=_as_maps(np.stack([told[name] for name in task.names]), own[0]),
        photos=photos,
        measures=measures,
        left_out=left_out,
        chance=_commonest(own),
        p_values=np.stack(strip_chance(chances, own, seed=seed)[1:], axis=1).astype(np.float32),
        axis=axis,
        example=Photo(load_image(test[0].image), own[0].grid, own[0].boxes),
        n_train=len(train),
        n_test=len(test),
        settings={
            **settings, "test_share": test_share, "blank": list(colour), "seed": seed, "draws": draws, "level": level
        },
    )  # fmt: skip


def _refuse_options(recipe: str, blank: tuple[int, int, int] | None) -> None:
    if recipe not in RECIPES:
        raise InputError(f"recipe={recipe!r} is not known: use one of {', '.join(RECIPES)}")
    if blank is None:
        return
    if (
        not isinstance(blank, (tuple, list))
        or len(blank) != 3
        or not all(isinstance(part, int) and 0 <= part <= 255 for part in blank)
    ):
        raise InputError(f"blank={blank!r} is no colour: give red, green and blue, each from 0 to 255")


def _colour(samples: Sequence[Sample]) -> tuple[int, int, int]:
    """The median colour of a few photos: the median over photos of each one's median."""
    medians = [np.median(np.asarray(load_image(one.image)), axis=(0, 1)) for one in samples[:FEW]]
    red, green, blue = np.median(medians, axis=0).astype(int).tolist()
    return red, green, blue


def _dealt(
    known: Sequence[ObjectTokens], shuffles: int, seed: tuple[int, int]
) -> list[Int[np.ndarray, "row object_token"]]:
    """Labels of each photo's object tokens, and below them the same dealt anew among all objects of these photos."""
    inside = [own.inside for own in known]
    labels = np.concatenate([own.labels[places] for own, places in zip(known, inside, strict=True)])
    starts = np.cumsum([0, *(len(own.boxes) for own in known)])
    units = [start + own.units[places] for start, own, places in zip(starts, known, inside, strict=False)]
    every = with_shuffled(labels, np.concatenate(units), shuffles=shuffles, seed=seed)
    return np.split(every, np.cumsum([len(places) for places in inside])[:-1], axis=1)


def _fit_sites(
    folder: Path, sites: Sequence[str], labels: Int[np.ndarray, "probe token"], *, recipe: str, seed: int
) -> tuple[dict[str, tuple[LinearProbe, ...]], str]:
    """By site, the probe and those of shuffled labels, one site in memory at a time.

    And a digest of all that they were trained on, so that probes of other features are never mixed with these.
    """
    probes, digest = {}, hashlib.sha256(labels[0].astype(np.int64).tobytes())
    for name in sites:
        features = np.stack(list(read_study(folder, columns=[name])[0][name]))
        digest.update(features.tobytes())
        probes[name] = _fit_or_count(features, labels, name, recipe=recipe, seed=seed)
    return probes, digest.hexdigest()


def _fit_or_count(
    features: Float32[np.ndarray, "token feature"],
    labels: Int[np.ndarray, "probe token"],
    site: str,
    *,
    recipe: str,
    seed: int,
) -> tuple[LinearProbe, ...]:
    """Probes; where no feature varies, what is known without any: how often each class is there."""
    own, classes = check_features(features, f"image tokens at {site}"), int(labels.max()) + 1
    if varies(own).any():
        return fit_probes(own, labels, recipe=recipe, n_classes=classes, seed=seed)
    return tuple(prior_probe(each, own.shape[1], classes, recipe) for each in labels)


def _read_nothing(
    nothing: Float32[np.ndarray, "token feature"], seen: pd.DataFrame, *, recipe: str, seed: int
) -> Float[np.ndarray, "token class"]:
    """What a probe says of every place, that was trained at the same places on a photo of nothing."""
    labels = seen["label"].to_numpy(dtype=np.int64)[None]
    places = seen["token"].to_numpy(dtype=np.int64)
    (probe,) = _fit_or_count(nothing[places], labels, "a photo of nothing", recipe=recipe, seed=seed)
    return probe.probabilities(nothing)


def _photos(
    task: ProbeTask,
    read: pd.DataFrame,
    told: Mapping[str, Float[np.ndarray, "token class"]],
    own: Sequence[ObjectTokens],
    groups: np.ndarray,
) -> ReadPhotos:
    """What was read, as arrays [sample site]; rows of the table come by sample, then by site."""
    assert read["site"].tolist() == list(task.names) * len(own)
    column = {
        name: rearrange(_numbers(read[name]), "(sample site) -> sample site", sample=len(own))
        for name in ("right", "control", "strip", "control_strip")
    }
    right, strip = (np.full(column["right"].shape, np.nan) for _ in range(2))
    for place, name in np.ndindex(right.shape):
        each, chances = own[place], told[task.names[name]]
        right[place, name] = (chances[each.inside].argmax(axis=-1) == each.labels[each.inside]).sum()
        weights = strip_weights(each)
        strip[place, name] = np.nan if weights is None else (chances * weights).sum()
    return ReadPhotos(
        tokens=np.array([len(each.inside) for each in own]),
        right=column["right"],
        control=column["control"],
        position=right,
        strip=column["strip"],
        strip_control=column["control_strip"],
        strip_position=strip,
        groups=groups,
    )


def _numbers(column: pd.Series) -> Float[np.ndarray, " row"]:
    """A column of numbers, or of the means of arrays, with NaN for what is not there."""
    return np.array([np.nan if one is None else np.mean(one) for one in column], dtype=np.float64)


def _chances(read: pd.DataFrame, own: Sequence[ObjectTokens]) -> Float[np.ndarray, "sample site token class"]:
    """What the probes said of every token."""
    flat = np.stack(list(read["probabilities"]))
    return rearrange(flat, "(sample site) (token k) -> sample site token k", sample=len(own), token=len(own[0].places))


def _as_maps(chances: Float[np.ndarray, "site token k"], own: ObjectTokens) -> Float32[np.ndarray, "site k row col"]:
    """Laid out in rows and columns."""
    return own.grid.as_grid(rearrange(chances, "site token k -> site k token")).astype(np.float32)


def _commonest(own: Sequence[ObjectTokens]) -> float:
    """Share of the commonest class among the object tokens."""
    counts = np.bincount(np.concatenate([each.labels[each.inside] for each in own]))
    return float(counts.max() / counts.sum())
