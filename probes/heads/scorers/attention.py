"""Attention scores: scorers that look at where heads look, all from one capture of the last prompt row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.photos import check_image
from interp.maps.trajectory import trajectory
from interp.numeric import agree, listed, whole_number
from interp.stats.draws import check_seed
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.scorers.gaze import Gaze
from probes.heads.scorers.hit_rate import HitRate
from probes.heads.scorers.image_mass import ImageMass, SpatialEntropy
from probes.heads.scorers.items import LEAST
from probes.heads.scorers.looks import HeadLook, OnBoxes, asked_of, boxes_of
from probes.heads.scorers.measured import MeasuredHeads, as_row, measure_heads
from probes.heads.scorers.pointing import BoxOverlap, BoxPointing
from probes.heads.scorers.sampled import FLIPS, Drawing
from probes.study.run import check_asked, check_model, groups_of

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores

STUDY = "head looks"
"""What the study is called in its record."""


class LookScorer(Protocol):
    """A scorer that looks at the last row."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores that it gives."""

    @property
    def needs(self) -> str:
        """What samples need so that it says something of them: `boxes`, the `asked box`, or nothing."""

    def recorded(self) -> dict[str, Any]:
        """Its options."""

    def measure(self, look: HeadLook) -> dict[str, OnBoxes]:
        """Numbers of every head in one sample, by names that no other scorer has."""

    def scores(self, found: MeasuredHeads) -> dict[str, HeadScores]:
        """Scores from the numbers of all samples."""


SCORERS: Mapping[str, type[Any]] = {
    "image_mass": ImageMass,
    "spatial_entropy": SpatialEntropy,
    "overlap": BoxOverlap,
    "pointing": BoxPointing,
    "gaze": Gaze,
    "hit_rate": HitRate,
}
"""The scorers by name; `spatial_entropy` gives `selection_frequency` too."""


def attention_scores(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    scorers: str | Sequence[str | LookScorer] = tuple(SCORERS),
    *,
    others: Mapping[str, Sequence[Box]] | None = None,
    sinks: ArrayLike | None = None,
    moves: int = 8,
    prompt: str = "chat",
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    flips: int = FLIPS,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> dict[str, HeadScores]:
    """Score every head by where the last prompt row looks; the model runs once for all scorers.

    Args:
        vlm: the model.
        samples: questions about photos; `meta["functions"]` lists what it takes to answer, `group` is what is drawn
            together, and `objects` with boxes, the one that is asked about first, are what scorers with boxes need.
            Samples without boxes do not count in these.
        scorers: names of `SCORERS`, or scorers with options of their own, such as `HitRate(by="half")`.
        others: by id, boxes of objects that are in the photo and not asked about, the control of `gaze`; by default,
            a sample's objects behind the first.
        sinks: bool [token], image tokens that are left out, such as `mass_sinks` gives, from all but the image mass;
            all photos need as many image tokens. By default none.
        moves: how often boxes are moved for the null.
        prompt: prompt style.
        seed: the seed of all draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        flips: flips of signs, for p-values.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Returns:
        The scores by name.

    Raises:
        InputError: no such scorer, samples that can not be asked, or too few of them or of their boxes; before the
            first pass.

    Example:
        >>> found = attention_scores(vlm, step_samples(synthetic_steps(50)))
        >>> found["gaze"].of("spatial").argmax(), found["gaze"].p_any.min()
    """
    drawing = Drawing(seed, draws, level, flips)
    chosen = read_scorers(scorers)
    work = LookMeasurement.of(vlm, samples, chosen, others=others, sinks=sinks, moves=moves, prompt=prompt, seed=seed)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    found = measure_heads(samples, work, STUDY, drawing=drawing, **how)
    return {name: scores for scorer in chosen for name, scores in scorer.scores(found).items()}


def read_scorers(given: str | Sequence[str | LookScorer]) -> tuple[LookScorer, ...]:
    """Scorers by name, or as they are.

    Raises:
        InputError: there is none, one is not known, or two give the same scores.
    """
    chosen: list[LookScorer] = []
    for one in listed(given, "scorers"):
        if isinstance(one, str) and one in SCORERS:
            chosen.append(SCORERS[one]())
        elif not isinstance(one, (str, type)) and hasattr(one, "measure") and hasattr(one, "names"):
            chosen.append(one)
        else:
            raise InputError(f"scorer {one!r:.60} is not known: use some of {', '.join(SCORERS)}")
    names = [name for scorer in chosen for name in scorer.names]
    if not chosen or len(set(names)) < len(names):
        raise InputError(f"scorers={given!r:.80}: name some of {', '.join(SCORERS)}, each once")
    return tuple(chosen)


@dataclass(frozen=True, eq=False)
class LookMeasurement:
    """What is measured of each batch of samples, from the last row of one pass.

    Attributes:
        vlm: the model.
        scorers: what is measured.
        prompt: prompt style.
        moves: how often boxes are moved.
        seed: the seed of what is drawn.
        numbers: by id of a sample, the number of its group.
        others: by id, boxes of what is not asked about.
        sinks: image tokens that are left out.
    """

    vlm: HookedVLM
    scorers: tuple[LookScorer, ...]
    prompt: str = "chat"
    moves: int = 8
    seed: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)
    others: Mapping[str, Sequence[Box]] = field(default_factory=dict, repr=False)
    sinks: Bool[np.ndarray, " token"] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        samples: Sequence[Sample],
        scorers: tuple[LookScorer, ...],
        *,
        others: Mapping[str, Sequence[Box]] | None = None,
        sinks: ArrayLike | None = None,
        moves: int = 8,
        prompt: str = "chat",
        seed: int = 0,
    ) -> LookMeasurement:
        """The measurement of some samples.

        Raises:
            InputError: no model, no moves, boxes of what is no sample, or sinks that are no truth values.
        """
        check_model(vlm)
        check_seed(seed)
        groups = groups_of(samples).tolist()
        places = {name: place for place, name in enumerate(dict.fromkeys(groups))}
        numbers = {sample.id: places[group] for sample, group in zip(samples, groups, strict=True)}
        given = {} if others is None else others
        if not isinstance(given, Mapping) or (strange := [name for name in given if name not in numbers]):
            told = "no mapping" if not isinstance(given, Mapping) else f"boxes of {strange[0]!r}, which is no sample"
            raise InputError(f"others are {told}: give lists of boxes by the ids of samples")
        boxes = {name: tuple(own) for name, own in given.items()}
        if wrong := [name for name, own in boxes.items() if not all(isinstance(box, Box) for box in own)]:
            raise InputError(f"others of {wrong[0]!r} are {boxes[wrong[0]]!r:.60}: give a list of Box")
        left_out = None if sinks is None else _read_sinks(sinks)
        return cls(vlm, scorers, prompt, whole_number(moves, "moves", 1), int(seed), numbers, boxes, left_out)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        options = {name: scorer.recorded() for scorer in self.scorers for name in scorer.names[:1]}
        said = json.dumps([[name, [box.xyxy for box in own]] for name, own in sorted(self.others.items())])
        others = hashlib.sha256(said.encode()).hexdigest() if self.others else ""
        sinks = [] if self.sinks is None else np.flatnonzero(self.sinks).tolist()
        drawn = {"moves": self.moves, "seed": self.seed}
        return {"scorers": options, "prompt": self.prompt, **drawn, "others": others, "sinks": sinks}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, or too few with boxes where a scorer needs such.

        Raises:
            InputError: some can not be asked, or they are too few.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if self.sinks is not None:
            counts = {len(self.vlm.grid_of(size)) for size in {check_image(sample.image) for sample in samples}}
            if counts != {len(self.sinks)}:
                raise InputError(
                    f"sinks are of {len(self.sinks)} image tokens, and photos of these samples have "
                    f"{', '.join(map(str, sorted(counts)))}: give sinks of the same grid, or photos of one size"
                )
        boxed = {
            "": len(samples),
            "boxes": sum(bool(boxes_of(sample)) for sample in samples),
            "asked box": sum(bool(asked_of(sample)) for sample in samples),
        }
        for scorer in self.scorers:
            if (count := boxed[scorer.needs]) < min(LEAST, len(samples)):
                what = {"boxes": "any box", "asked box": "a box of their first object"}[scorer.needs]
                raise InputError(
                    f"{scorer.names[0]}: {count} of {len(samples)} samples {agree(count, 'has', 'have')} {what}: give "
                    f"objects with boxes to {LEAST} or more, or leave this scorer out"
                )

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample: the numbers of all scorers."""
        import torch

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(self.vlm.cfg.n_layers)]
        with torch.no_grad():
            _, cache = self.vlm.run_with_cache(inputs, names_filter=names, logits_to_keep=1)
        rows = np.stack([cache[name][:, :, 0].float().cpu().numpy() for name in names], axis=1)
        found = []
        for sample, own, layout, grid in zip(samples, rows, inputs.layouts, inputs.grids, strict=True):
            looked = trajectory(own, layout, grid, sample_id=sample.id)
            look = HeadLook(
                sample=sample,
                maps=looked.image_attention[:, :, 0],
                even=float(looked.token_share("image")),
                grid=grid,
                number=self.numbers.get(sample.id, 0),
                draws=self.moves,
                seed=self.seed,
                others=self.others.get(sample.id, ()),
                sinks=self.sinks,
            )
            found.append([as_row({name: own for scorer in self.scorers for name, own in scorer.measure(look).items()})])
        return found


def _read_sinks(given: ArrayLike) -> Bool[np.ndarray, " token"]:
    """Which image tokens are left out."""
    own = np.asarray(given)
    if own.ndim != 1 or own.dtype != bool or own.all():
        raise InputError(
            f"sinks have shape {own.shape} and type {own.dtype}: give one truth value for each image token, not all "
            "true"
        )
    return own
