"""Spatial-ID write: whether a head writes the place of an object along given axes, where the object's name is read.

Words of objects hold their object's place as a spatial ID (Kang et al., ICLR 2026, arXiv 2601.12626), along a
horizontal and a vertical axis of each layer. A head that puts it there is one whose own write, projected on these axes,
tells where the object lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.image.photos import check_image
from interp.numeric import read_flag, whole_number
from interp.stats.clusters import drawn_sums
from interp.stats.intervals import DRAWS, quantiles
from interp.stats.scores import codes_of
from interp.stats.shuffles import dealt_rows, pooled_p
from interp.study.prompter import prepare_samples
from probes.heads.activations.writes import output_rows
from probes.heads.activations.z_rows import z_at
from probes.heads.scorers.items import LEAST
from probes.heads.scorers.measured import flat_heads
from probes.heads.scorers.sampled import Drawing, Labels
from probes.heads.scores import KEPT, HeadScores
from probes.study.object_words import spans_of, word_ends
from probes.study.run import check_asked, check_model, measure_samples

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Object, Sample

STUDY = "head id writes"
"""What the study is called in its record."""

AXES = ("h", "v")
"""The axes that writes are projected on: across, and down."""

Axes = Float32[np.ndarray, "layer axis d_model"]
Projected = Float[np.ndarray, "word axis cell"]
Places = Float[np.ndarray, "word 2"]


def id_write_scores(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    axes: ArrayLike,
    *,
    by_object: bool = True,
    shuffles: int = 99,
    prompt: str = "chat",
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> HeadScores:
    """R^2 of (x, y), the centre of an object's box, from each head's write at the last token of the object's name.

    A head's write, z times its rows of the output projection, is projected on the two axes of its layer; R^2 is that of
    least squares of x and y on the two projections, of both together, in the samples it was fitted on, so that chance
    gives about 2 / words. By chance: places are dealt anew among words, all that a group has together, and what is
    left of R^2 is the null; p-values pool the heads that write anything along the axes, see
    `interp.stats.shuffles.pooled_p`. Intervals draw whole groups; like every R^2 they lie higher in draws.

    Axes that were fitted on these very samples make heads look better: fit them on others.

    Args:
        vlm: the model.
        samples: questions that name objects with boxes, behind the photo; `meta["functions"]` lists functions, and
            `group` is what is drawn together.
        axes: the horizontal and vertical axis that each layer's writes are projected on, [layer axis d_model]; or one
            slot more, such as `SpatialIDs.axes`, where the first is what enters layer 0 and is left out, so that
            layer l has the axes of the stream behind it. Layers whose axes are not finite have no scores.
        by_object: take from writes and places the mean over words of the same object, as a spatial ID is what an
            object's word has beyond its own mean; objects that are named once then say nothing and are left out.
        shuffles: how many, for the null.
        prompt: prompt style.
        seed: the seed of shuffles and draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Raises:
        InputError: axes of another model, samples that can not be asked or name no object with a box, or too few words;
            all but the last before the first pass.
        RefusedError: an output projection that can not be read.

    Example:
        >>> ids = spatial_ids(vlm, id_scenes(vocabulary))
        >>> id_write_scores(vlm, other_scenes, ids.axes).of().argmax()
    """
    drawing, by_object = Drawing(seed, draws, level), read_flag(by_object, "by_object")
    shuffles = whole_number(shuffles, "shuffles", 1)
    labels = Labels.of(samples)
    labels.refuse_few()
    work = IdWriteMeasurement.of(vlm, axes, prompt=prompt)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    table, settings = measure_samples(samples, work, STUDY, **how)
    words = _Words.of(table, samples, labels)
    words = words.beyond_objects() if by_object else words
    options = {"by_object": by_object, "shuffles": shuffles, **drawing.recorded(), "study": dict(settings)}
    return _scores(words, labels, (vlm.cfg.n_layers, vlm.cfg.n_heads), drawing, shuffles, options)


@dataclass(frozen=True, eq=False)
class IdWriteMeasurement:
    """What is measured of each batch: every head's write at the end of each object's name, along two axes.

    Attributes:
        vlm: the model.
        axes: [layer axis d_model].
        readers: of each layer, what takes z of each head to its places on the axes, [head axis d_head].
        prompt: prompt style.
    """

    vlm: HookedVLM
    axes: Axes = field(repr=False)
    readers: tuple[Float32[np.ndarray, "head axis d_head"], ...] = field(repr=False)
    prompt: str = "chat"

    @classmethod
    def of(cls, vlm: HookedVLM, axes: ArrayLike, *, prompt: str = "chat") -> IdWriteMeasurement:
        """Read what is asked for.

        Raises:
            InputError: no model, or axes that are not its.
            RefusedError: an output projection that can not be read.
        """
        check_model(vlm)
        own = _read_axes(axes, vlm.cfg.n_layers, vlm.cfg.d_model)
        pairs = zip(output_rows(vlm), own, strict=True)
        readers = tuple(np.einsum("hdm,am->had", rows.cpu().numpy(), two) for rows, two in pairs)
        return cls(vlm, own, readers, prompt)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        return {"axes": hashlib.sha256(self.axes.tobytes()).hexdigest(), "prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, or that name none of their objects, before the first pass.

        Raises:
            InputError: some can not or do not.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if without := [sample for sample in samples if not any(map(_is_read(sample), sample.objects))]:
            raise InputError(
                f"{len(without)} of {len(samples)} samples name no object that has a box, the first is "
                f"{without[0].id!r}: {without[0].question!r:.120}: name objects in the question and give them boxes, or "
                "leave these samples out"
            )

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample, one for each object: `object`, its place `x` and `y` in the photo, `h` and `v`."""
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        ends = word_ends(self.vlm, inputs, samples)
        read = [
            [(thing, int(end)) for thing, end in zip(sample.objects, own, strict=True) if end >= 0 and thing.box]
            for sample, own in zip(samples, ends, strict=True)
        ]
        z = z_at(self.vlm, inputs, [[end for _, end in own] for own in read])
        return [list(self._rows(*each)) for each in zip(samples, read, z, strict=True)]

    def _rows(
        self,
        sample: Sample,
        read: Sequence[tuple[Object, int]],
        z: Float32[np.ndarray, "layer word head d_head"],
    ) -> list[dict[str, Any]]:
        width, height = check_image(sample.image)
        along = np.stack([np.einsum("whd,had->wah", own, reader) for own, reader in zip(z, self.readers, strict=True)])
        rows = []
        for word, (thing, _) in enumerate(read):
            assert thing.box is not None
            x, y = thing.box.centre
            places = {"x": float(x / width), "y": float(y / height)}
            written = {name: flat_heads(along[:, word, axis]) for axis, name in enumerate(AXES)}
            rows.append({"object": thing.name, **places, **written})
        return rows


def _is_read(sample: Sample) -> Any:
    """Whether an object of a sample has a box, and the question names it."""
    return lambda thing: thing.box is not None and bool(spans_of(thing.name, sample.question))


def _read_axes(given: ArrayLike, n_layers: int, d_model: int) -> Axes:
    """Axes of each layer."""
    try:
        own = np.ma.filled(np.ma.asarray(given, dtype=np.float32), np.nan)
    except (TypeError, ValueError):
        raise InputError(f"axes={given!r:.60} are no numbers: give an array [layer axis d_model]") from None
    if own.ndim != 3 or own.shape[1:] != (len(AXES), d_model) or own.shape[0] not in (n_layers, n_layers + 1):
        raise InputError(
            f"axes have shape {own.shape}, and this model {n_layers} layers and a stream {d_model} wide: give "
            f"{(n_layers, len(AXES), d_model)}, or one slot more for what enters layer 0, fitted on this model"
        )
    own = own[-n_layers:]
    if not np.isfinite(own).all(axis=(1, 2)).any():
        raise InputError("no layer has axes that are all finite: give axes of one layer at least")
    return np.ascontiguousarray(own)


@dataclass(frozen=True, eq=False)
class _Words:
    """Words of objects: what heads wrote there, and where the objects lie.

    Attributes:
        sample: the place of each word's sample.
        name: the object's name.
        written: [word axis cell], a cell being a head of a layer.
        places: (x, y) [word 2].
        groups: the group of each word's sample.
    """

    sample: Int[np.ndarray, " word"]
    name: Shaped[np.ndarray, " word"]
    written: Projected
    places: Places
    groups: Shaped[np.ndarray, " word"]

    @classmethod
    def of(cls, table: pd.DataFrame, samples: Sequence[Sample], labels: Labels) -> _Words:
        """The rows of a study, less the mean over all words."""
        number = {sample.id: place for place, sample in enumerate(samples)}
        sample = table["id"].map(number).to_numpy(dtype=int)
        written = np.stack([np.stack(list(table[name])) for name in AXES], axis=1).astype(np.float64)
        places = table[["x", "y"]].to_numpy(dtype=np.float64)
        return cls(sample, table["object"].to_numpy(dtype=object), written, places, labels.groups[sample])

    def beyond_objects(self) -> _Words:
        """Each word less the mean over the words of its object; without objects that are named once."""
        codes = pd.factorize(self.name)[0]
        counts = np.bincount(codes)
        written, places = (_less_means(own, codes, counts) for own in (self.written, self.places))
        kept = counts[codes] > 1
        return _Words(self.sample[kept], self.name[kept], written[kept], places[kept], self.groups[kept])

    def some(self, kept: Bool[np.ndarray, " word"]) -> _Words:
        """Some of the words, less their mean."""
        written, places = self.written[kept], self.places[kept]
        return _Words(
            self.sample[kept], self.name[kept], written - written.mean(0), places - places.mean(0), self.groups[kept]
        )


def _less_means(values: np.ndarray, codes: Int[np.ndarray, " word"], counts: Int[np.ndarray, " object"]) -> np.ndarray:
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, codes, values)
    return values - (sums / counts.reshape(-1, *[1] * (values.ndim - 1)))[codes]


def _scores(
    words: _Words, labels: Labels, axes: tuple[int, int], drawing: Drawing, shuffles: int, options: Mapping[str, Any]
) -> HeadScores:
    """The scores of all functions that enough words are of."""
    told, found, sizes = {}, [], []
    for place, name in enumerate(labels.functions):
        kept = labels.table[words.sample, place]
        groups = len(set(words.groups[kept]))
        if kept.sum() < LEAST or groups < 2:
            told[name] = f"{int(kept.sum())} words in {groups} groups: at least {LEAST} in two groups are needed"
            continue
        found.append(_of_words(words.some(kept), drawing, shuffles))
        sizes.append((name, len(set(words.sample[kept].tolist())), groups))
    if not found:
        raise InputError(
            "no function can be scored: " + "; ".join(f"{name}: {why}" for name, why in told.items()) + " (by_object "
            "leaves out objects that are named once)"
        )

    def made(name: str) -> Float32[np.ndarray, "function layer head"]:
        return np.stack([one[name].reshape(axes) for one in found]).astype(np.float32)

    return HeadScores(
        scorer="id_write",
        functions=tuple(name for name, _, _ in sizes),
        values=made("value"),
        samples=tuple(count for _, count, _ in sizes),
        groups=tuple(count for _, _, count in sizes),
        low=made("low"),
        high=made("high"),
        null=made("null"),
        p=made("p"),
        p_any=made("p_any"),
        draws=np.stack([one["drawn"].reshape(-1, *axes) for one in found], axis=1).astype(np.float32),
        left_out=tuple({"function": name, "why": why} for name, why in told.items()),
        settings=options,
    )


def _of_words(words: _Words, drawing: Drawing, shuffles: int) -> dict[str, Float[np.ndarray, ...]]:
    """R^2 of each head, its interval, and what it is where places are dealt anew."""
    x, y = words.written, words.places
    products = [x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2]
    mixed = [x[:, axis] * y[:, [side]] for axis in range(2) for side in range(2)]
    sizes = np.broadcast_to((y**2).sum(axis=1, keepdims=True), (len(y), 1))
    value = explained(*(own.sum(axis=0) for own in (*products, *mixed, sizes)))
    sums = drawn_sums([*products, *mixed, sizes], words.groups, seed=drawing.seed, n=drawing.draws)
    drawn = explained(*sums)
    low, high = quantiles(drawn, drawing.level)
    codes, _ = codes_of(words.groups, len(y), "groups")
    dealt = dealt_rows(codes, shuffles, np.random.default_rng([drawing.seed, 5]))
    whole = [own.sum(axis=0) for own in products]
    null = np.stack(
        [
            explained(*whole, *(x[:, axis].T @ y[own, side] for axis in range(2) for side in range(2)), sizes.sum(0))
            for own in dealt
        ]
    )
    writes = (whole[0] + whole[2] > 0) & np.isfinite(value)
    p, p_any = pooled_p(np.where(writes, value, np.nan), np.where(writes, null, np.nan))
    still = np.isfinite(value) & ~writes
    return {
        "value": value,
        "low": low,
        "high": high,
        "drawn": drawn[:KEPT],
        "null": null.mean(axis=0),
        "p": np.where(still, 1.0, p),
        "p_any": np.where(still, 1.0, p_any),
    }


def explained(
    hh: Float[np.ndarray, "*axes"],
    hv: Float[np.ndarray, "*axes"],
    vv: Float[np.ndarray, "*axes"],
    hx: Float[np.ndarray, "*axes"],
    hy: Float[np.ndarray, "*axes"],
    vx: Float[np.ndarray, "*axes"],
    vy: Float[np.ndarray, "*axes"],
    size: Float[np.ndarray, ...],
) -> Float[np.ndarray, "*axes"]:
    """R^2 of x and y together from h and v, from sums of their products; 0 where neither varies, NaN where they are.

    Where h and v say the same, one of them alone.
    """
    det = hh * vv - hv**2
    two = vv * (hx**2 + hy**2) - 2 * hv * (hx * vx + hy * vy) + hh * (vx**2 + vy**2)
    alone, larger = np.where(hh >= vv, hx**2 + hy**2, vx**2 + vy**2), np.maximum(hh, vv)
    plane = det > 1e-9 * hh * vv
    one = np.divide(alone, larger, out=np.zeros_like(det), where=larger > 0)
    both = np.divide(two, det, out=one, where=plane)
    r2 = np.divide(both, size, out=np.full_like(both, np.nan), where=size > 0)
    return np.where(np.isnan(det), np.nan, r2)
