"""Swap under ablation: tokens of items exchanged between two runs that both have lost the order of their items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.mechanisms.ablation_measurement import ABLATED, KEPT, AblationMeasurement
from probes.mechanisms.interchange import _as_result
from probes.mechanisms.interchange_measurement import CONTROL, InterchangeMeasurement
from probes.mechanisms.ordered_photos import OrderedPhoto, photo_of_line
from probes.mechanisms.pairs import measured_as_samples
from probes.mechanisms.token_sets import IMAGE_SETS
from probes.study.run import groups_of, measure_samples

if TYPE_CHECKING:
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.interchange_result import Interchange
    from probes.mechanisms.pairs import Pair

EDITS = {"removed": ABLATED, "kept": KEPT}
"""What both runs have lost: their order; or, as a control, nothing but their own photo."""


class AblatedInterchange:
    """What patching does to the answers of a batch of pairs both of whose sides are ablated first.

    It is an `InterchangeMeasurement` in all but that the runs it makes are under the ablation.
    """

    def __init__(self, inner: InterchangeMeasurement, ordering: str) -> None:
        """Keep what is measured, and what both runs lose first."""
        self.inner, self.ordering = inner, ordering
        self.ablation = AblationMeasurement.of(inner.vlm, [], prompt=inner.prompt, seed=inner.seed)

    @property
    def vlm(self) -> HookedVLM:
        """The model."""
        return self.inner.vlm

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the pairs."""
        return {**self.inner.recorded(), "ordering": self.ordering}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse pairs that can not be asked, patched or ablated, before the first pass.

        Raises:
            InputError: there are some; see `InterchangeMeasurement.check` and `photo_of_line`.
        """
        self.inner.check(samples, progress=progress)
        for sample in samples:
            pair = self.inner.pairs[sample.id]
            for side in (pair.clean, pair.counterfactual):
                self._photo(side)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each pair, as `InterchangeMeasurement` gives them."""
        inner, pairs = self.inner, [self.inner.pairs[sample.id] for sample in samples]
        here, there = inner._prepared(pairs)
        sets = inner._sets(pairs, here, there)
        with self.vlm.intervene(self._edit([pair.counterfactual for pair in pairs]), there):
            other, kept = inner._counterfactual(there, sets)
        with self.vlm.intervene(self._edit([pair.clean for pair in pairs]), here):
            swept = inner._sweeps(here, sets, kept)
        return [inner._rows(pair, place, sets, other[place], swept) for place, pair in enumerate(pairs)]

    def _edit(self, samples: Sequence[Sample]) -> Intervention:
        photos = [self._photo(sample) for sample in samples]
        arm = EDITS[self.ordering]
        return self.ablation.edits(photos, samples[0].question, [arm])[arm]

    def _photo(self, sample: Sample) -> OrderedPhoto:
        grid_of = self.ablation.grid_of
        photo, grid = photo_of_line(sample, grid_of(sample.image)), grid_of(sample.image)
        photo.check_grid(grid, grid_of)
        return photo


def swap_under_ablation(
    vlm: HookedVLM,
    pairs: Sequence[Pair],
    positions: str = "object",
    *,
    ordering: str = "removed",
    slots: Iterable[int] | None = None,
    control: str | None = CONTROL,
    keep_wrong: bool = False,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> Interchange:
    """Where does the language model make order anew? Swap the items' tokens in two runs without the vision tower's.

        y = f(x without order; h_l <- h_l(x' without order))

    (Cui et al. 2026, arXiv:2603.22278, section 5.3.2.) Both runs are ablated at the projector, see `ablate_ordering`,
    then patched at one slot; at slot 0 the ablation comes first. Pairs of a line and its reverse hold the same contents
    at the places that are swapped, so that at slot 0 the swap does nothing, and where it flips the answer, the
    language model has written order into these tokens. `interchange` says what is measured, and pairs count that are
    right on both sides under the ablation: they may be few, and `counts` of the result tells how many.

    Args:
        vlm: the model.
        pairs: lines of items, as `line_pairs` draws them.
        positions: which image tokens, by name; see `token_set`.
        ordering: `removed`, or `kept` for the control in which as much is replaced and order stays.
        slots: layer slots; all by default.
        control: the token set beside it; None for none.
        keep_wrong: let all numbers be of all pairs, also of those that are wrong on a side under the ablation.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: pairs that are measured together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap, of the sign flips, and of the control's tokens.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Raises:
        InputError: pairs that are no lines, or can not be patched; see `interchange`; all before the first pass.
        RefusedError: a model with DeepStack.
    """
    check_draws(draws, level, seed)
    if ordering not in EDITS:
        raise InputError(f"ordering={ordering!r}: use one of {', '.join(EDITS)}")
    if positions not in IMAGE_SETS or control not in (None, *IMAGE_SETS):
        raise InputError(f"positions={positions!r}, control={control!r}: name image tokens, {', '.join(IMAGE_SETS)}")
    options: dict[str, Any] = {"control": control, "slots": slots, "prompt": prompt, "seed": seed}
    inner = InterchangeMeasurement.of(vlm, pairs, positions, **options)
    work = AblatedInterchange(inner, ordering)
    samples, _ = measured_as_samples(pairs, inner.measure)
    groups = groups_of(samples)
    table, settings = measure_samples(
        samples, work, "ablated-swap", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    settings |= {"seed": seed, "draws": draws, "level": level, "keep_wrong": keep_wrong}
    directions = np.array([pair.clean.relation or pair.axis for pair in pairs], dtype=object)
    return _as_result(table, inner, groups, directions, settings)
