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
from jaxtyping import Float32
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.image.photos import check_image
from interp.model.object_words import spans_of, word_ends
from interp.numeric import agree, read_flag, whole_number
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.activations.writes import output_rows
from probes.heads.activations.z_rows import z_at
from probes.heads.scorers.measured import flat_heads
from probes.heads.scorers.placed_words import PlacedWords, place_scores
from probes.heads.scorers.sampled import Drawing, Labels
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model, measure_samples

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Object, Sample
    from probes.heads.scores import HeadScores

STUDY = "head id writes"
"""What the study is called in its record."""

AXES = ("h", "v")
"""The axes that writes are projected on: across, and down."""

Axes = Float32[np.ndarray, "layer axis d_model"]


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

    Axes that were fitted on these very samples make heads look better: fit them on others. In decoders that scale or
    normalise what attention adds, such as Gemma's, a write is what it is before that.

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
    words = PlacedWords.of(table, samples, labels, AXES)
    words = words.beyond_objects() if by_object else words
    options = {"by_object": by_object, "shuffles": shuffles, **drawing.recorded(), "study": dict(settings)}
    return place_scores(words, labels, (vlm.cfg.n_layers, vlm.cfg.n_heads), drawing, shuffles, options)


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
        if without := [sample for sample in samples if not names_placed(sample)]:
            raise InputError(
                f"{len(without)} of {len(samples)} samples {agree(len(without), 'names', 'name')} no object that has "
                f"a box, the first is {without[0].id!r}: {without[0].question!r:.120}: name objects in the question, "
                "give them boxes, or leave these samples out"
            )

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample, one for each object: `object`, its place `x` and `y` in the photo, `h` and `v`.

        Raises:
            ModelError: activations that are not finite.
        """
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        ends = word_ends(self.vlm, inputs, samples)
        read = [
            [
                (thing, int(end))
                for thing, end in zip(sample.objects, own, strict=True)
                if end >= 0 and thing.box is not None
            ]
            for sample, own in zip(samples, ends, strict=True)
        ]
        z = z_at(self.vlm, inputs, [[end for _, end in own] for own in read])
        for sample, own in zip(samples, z, strict=True):
            refuse_overflow(own, sample.id, "activations")
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


def names_placed(sample: Sample) -> bool:
    """Whether a question names an object that has a box."""
    return any(one.box is not None and spans_of(one.name, sample.question) for one in sample.objects)


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
