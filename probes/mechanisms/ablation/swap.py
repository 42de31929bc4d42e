"""Swap under ablation: tokens of items exchanged between two runs that both have lost the order of their items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.mechanisms.ablation.measurement import ABLATED, KEPT, AblationMeasurement
from probes.mechanisms.ablation.ordered_photos import OrderedPhoto, photo_of_line
from probes.mechanisms.interchange.measurement import CONTROL, InterchangeMeasurement
from probes.mechanisms.interchange.sweep import sweep
from probes.mechanisms.tokens.token_sets import IMAGE_SETS

if TYPE_CHECKING:
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.interchange.result import Interchange
    from probes.mechanisms.scenes.pairs import Pair

EDITS = {"removed": ABLATED, "kept": KEPT}
"""What both runs have lost: their order; or, as a control, nothing but their own photo."""


@dataclass(frozen=True, eq=False)
class LostOrdering:
    """What both runs of a pair of lines are made under: the ablation of ordering, or its control."""

    ablation: AblationMeasurement
    ordering: str

    def recorded(self) -> dict[str, Any]:
        """Which of the two."""
        return {"ordering": self.ordering}

    def check(self, sample: Sample) -> None:
        """Refuse what is no line of items, see `photo_of_line`; nothing is run.

        Raises:
            InputError: it is none.
        """
        self._photo(sample)

    def __call__(self, samples: Sequence[Sample]) -> Intervention:
        """The edit of a batch of lines."""
        photos = [self._photo(sample) for sample in samples]
        arm = EDITS[self.ordering]
        return self.ablation.edits(photos, samples[0].question, [arm])[arm]

    def _photo(self, sample: Sample) -> OrderedPhoto:
        grid_of = self.ablation.vlm.grid_of
        grid = grid_of(sample.image)
        photo = photo_of_line(sample, grid)
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
    under = LostOrdering(AblationMeasurement.of(vlm, [], prompt=prompt, seed=seed), ordering)
    options: dict[str, Any] = {"control": control, "slots": slots, "prompt": prompt, "seed": seed, "under": under}
    work = InterchangeMeasurement.of(vlm, pairs, positions, **options)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    return sweep(work, "ablated-swap", seed=seed, draws=draws, level=level, keep_wrong=keep_wrong, **how)
