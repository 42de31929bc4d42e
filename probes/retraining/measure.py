"""Measure one trained model on held-out scenes, the same for all models of a comparison; resumed after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import reduce
from jaxtyping import Bool, Float, Shaped

from interp.datasets.synthetic.shapes import KINDS, shapes
from interp.errors import InputError
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

PERMUTATIONS = 5
PROMPT = "chat"
LEAST = 8  # scenes of a kind of question: two of each answer of the kinds with four answers
TEST_SEED = 0


@dataclass(frozen=True)
class Scenes:
    """What every model of a comparison is measured on: test scenes, which no training has seen.

    Attributes:
        answers: scenes of each kind of question, for accuracies and the index of order.
        probes: scenes of relation questions, the first of those, for RoPE sensitivity and the length of the stream.
    """

    answers: int = 400
    probes: int = 100

    def check(self) -> None:
        """Refuse numbers that leave an interval without scenes.

        Raises:
            InputError: there are too few, or more scenes to probe than to ask about.
        """
        for name in ("answers", "probes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < LEAST:
                raise InputError(f"{name}={value!r}: give a number of scenes, {LEAST} or more")
        if self.probes > self.answers:
            raise InputError(
                f"probes={self.probes} and answers={self.answers}: scenes to probe are some of those asked"
            )

    def of(self, kind: str) -> list[Sample]:
        """The scenes of one kind of question; their answers are balanced."""
        return shapes(self.answers, split="test", seed=TEST_SEED, kinds=(kind,))


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class ModelMeasures:
    """What one model gave, scene by scene.

    Attributes:
        kinds: kind of question, [scene].
        groups: what is drawn together, [scene].
        chance: what a blind guess scores, [scene].
        original: bool [scene], whether the answer is right, tokens in order.
        permuted: bool [scene permutation], the same under each permutation.
        probe_groups: what is drawn together, [probe].
        abs_delta_g_v: float32 [probe layer], mean over heads of |delta g_V|.
        delta_alpha_v: float32 [probe layer], mean over heads of delta alpha_V.
        ratio: float32 [probe depth], length of the stream at the image over that at the words.
    """

    kinds: Shaped[np.ndarray, " scene"]
    groups: Shaped[np.ndarray, " scene"]
    chance: Float[np.ndarray, " scene"]
    original: Bool[np.ndarray, " scene"]
    permuted: Bool[np.ndarray, "scene permutation"]
    probe_groups: Shaped[np.ndarray, " probe"]
    abs_delta_g_v: Float[np.ndarray, "probe layer"]
    delta_alpha_v: Float[np.ndarray, "probe layer"]
    ratio: Float[np.ndarray, "probe depth"]


def measure_model(
    vlm: HookedVLM, scenes: Scenes, out: str | Path | None = None, *, batch: int = 32, progress: bool = True
) -> ModelMeasures:
    """Measure accuracy, sensitivity to order, RoPE sensitivity, and the length of the stream by depth.

    Args:
        vlm: the model.
        scenes: on what.
        out: a folder that keeps what was measured; the same command goes on with it.
        batch: scenes that are asked together.
        progress: show progress bars.

    Raises:
        InputError: too few scenes, or a folder that holds other measures.
    """
    scenes.check()
    places = {name: None if out is None else Path(out) / name for name in (*KINDS, "probes")}
    asked = [_ask(vlm, scenes.of(kind), places[kind], batch, progress) for kind in KINDS]
    probed = scenes.of("relation")[: scenes.probes]
    table = _probe(vlm, probed, places["probes"], batch, progress)
    parts = {name: np.concatenate([part[name] for part in asked]) for name in asked[0]}
    columns = {name: np.stack(table[name].to_list()) for name in ("abs_delta_g_v", "delta_alpha_v", "ratio")}
    return ModelMeasures(**parts, probe_groups=np.array([one.group for one in probed]), **columns)


def _ask(vlm: HookedVLM, samples: list[Sample], out: Path | None, batch: int, progress: bool) -> dict[str, np.ndarray]:
    """Answers to one kind of question, in order and permuted; [scene ...] each."""
    from probes.position.order import psi

    settings: dict[str, Any] = {"batch": batch, "out": out, "resume": out is not None, "progress": progress}
    found = psi(vlm, samples, range(PERMUTATIONS), prompt=PROMPT, max_new_tokens=2, draws=2, **settings)
    return {
        "kinds": np.array([sample.meta["kind"] for sample in samples]),
        "groups": np.array([sample.group for sample in samples]),
        "chance": np.array([1 / len(sample.options) for sample in samples]),
        "original": found.original,
        "permuted": found.permuted,
    }


def _probe(vlm: HookedVLM, samples: list[Sample], out: Path | None, batch: int, progress: bool) -> Any:
    """A row of measures for each sample, as a table."""
    from interp.model.record import record
    from interp.study.run import run_study

    settings = record(vlm, study="retraining", prompt=PROMPT, query_row="last", delta=1.0)
    more: dict[str, Any] = {"batch": batch, "resume": out is not None, "progress": progress, "label": "probing"}
    return run_study(samples, _Probes(vlm), out, settings=settings, **more)


@dataclass(frozen=True)
class _Probes:
    """What `run_study` calls: two measures of a batch."""

    vlm: HookedVLM

    def __call__(self, samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample."""
        from interp.study.prompter import prepare_samples
        from probes.position.residual_norms import residual_norms
        from probes.position.rope import rope_sensitivity

        inputs = prepare_samples(self.vlm, list(samples), PROMPT)
        both = zip(rope_sensitivity(self.vlm, inputs), residual_norms(self.vlm, inputs), strict=True)
        return [
            [
                {
                    "abs_delta_g_v": _mean_of_heads(np.abs(rope.delta_g_v)),
                    "delta_alpha_v": _mean_of_heads(rope.delta_alpha_v),
                    "ratio": stream.image_over_text(),
                }
            ]
            for rope, stream in both
        ]


def _mean_of_heads(values: Float[np.ndarray, "layer head"]) -> Float[np.ndarray, " layer"]:
    return reduce(values.astype(np.float64), "layer head -> layer", "mean").astype(np.float32)
