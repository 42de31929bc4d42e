"""The rows of an overlap study: what each sample was asked and answered, and how attention agrees with its boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from interp.maps.tower_attention import tower_attention
from interp.maps.trajectory import trajectory
from interp.objects.sample import ROLES
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.normalised import normalised
from interp.overlap.nulls import (
    NULL_MEASURES,
    REGIONS,
    BoxPool,
    measure_centre,
    measure_draws,
    moved_boxes,
    null_column,
)
from interp.overlap.overlap import overlap
from interp.overlap.study import token_maps, vision
from interp.overlap.study.roles import Roles, as_text
from interp.overlap.study.vision import TWO_STAGE, patch_maps
from interp.study.prompter import Prompter

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.maps.tower_attention import TowerAttention
    from interp.maps.trajectory import Trajectory
    from interp.model.generation import GeneratedAttention, Generation
    from interp.objects.sample import Sample
    from interp.overlap.overlap import Overlap

UNION, CONTRAST = (REGIONS.index(name) for name in ("union", "first minus second"))


@dataclass(frozen=True, eq=False)
class OverlapMeasurement:
    """What a study calls with each batch of samples."""

    prompter: Prompter
    places: dict[str, int]
    roles: list[Roles]
    pool: BoxPool | None
    normalisations: tuple[str, ...]
    layers: tuple[int, ...]
    nulls: tuple[str, ...]
    draws: int
    seed: int
    sinks: Bool[np.ndarray, " token"] | None
    also: tuple[str, ...] = ()
    truth: list[Roles] | None = None

    @property
    def arrays(self) -> list[str]:
        """What is measured of each map; the columns of further maps have the map's name in front."""
        drawn = [null for null in self.nulls if null != "heads"]  # which is drawn from the arrays, afterwards
        nulls = [null_column(measure, null) for null in drawn for measure in NULL_MEASURES]
        return [*MEASURES, *MAP_MEASURES, *(null_column(measure, "even") for measure in MEASURES), *nulls]

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample of a batch."""
        answer, attention, inputs = self.prompter.answers(samples)
        neutral: Sequence[np.ndarray | None] = [None] * len(samples)
        if self.prompter.neutral_prompt:
            neutral = self.prompter.neutral(samples)
        fed: Sequence[TowerAttention | None] = [None] * len(samples)
        if set(self.also) & set(vision.ALSO):
            fed = tower_attention(self.prompter.vlm, inputs, through=None if TWO_STAGE in self.also else 1)
        tokens = token_maps.token_maps(self.prompter.vlm, inputs, answer.tokens[:, 0].tolist(), self.also)
        judged = _judged(samples, answer)
        return [
            [
                {
                    **judged[place],
                    **self._measured(
                        sample, attention[place], inputs.grids[place], neutral[place], fed[place], tokens[place]
                    ),
                }
            ]
            for place, sample in enumerate(samples)
        ]

    def _measured(
        self,
        sample: Sample,
        row: GeneratedAttention,
        grid: ImageGrid,
        neutral: np.ndarray | None,
        fed: TowerAttention | None,
        tokens: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """What was found in one sample, and how the attention agrees with it."""
        place = self.places[sample.id]
        roles, layers = self.roles[place], list(self.layers)
        looked = trajectory(row.pattern[layers][:, :, 0], row.layout, grid, sample_id=sample.id)
        extra: dict[str, Any] = {"sinks": self.sinks, "neutral": None if neutral is None else neutral[layers]}
        found = overlap(
            looked,
            grid,
            regions={role: roles.boxes.get(role, ()) for role in ROLES},
            contrast=ROLES,
            normalisations=self.normalisations,
            **extra,
        )
        maps = normalised_maps(looked, len(grid), self.normalisations, **extra)
        arrays = {name: found.measures[name][..., 0] for name in MEASURES}
        arrays |= {name: found.map_measures[name][..., 0] for name in MAP_MEASURES}
        arrays |= {null_column(name, "even"): found.even[name][..., 0] for name in MEASURES}
        arrays |= self._nulls(place, maps, grid)
        found_columns = _found_columns(roles, found, grid)
        whole = found_columns["complete"] and found_columns["visible"]
        columns = self._flat(arrays, roles, whole=whole)
        further = {name: token_maps.with_mean(own[layers], grid) for name, own in tokens.items()}
        if fed is not None:
            by_normalisation = {name: own for name, (own, _) in zip(self.normalisations, maps, strict=True)}
            patches = [name for name in self.also if name in vision.ALSO]
            further |= patch_maps(fed, by_normalisation, visible_keys=int(looked.visible_keys[0]), also=patches)
        for name in self.also:
            seen = further[name]
            own = seen.measured(roles.boxes) | self._nulls(place, [(one, None) for one in seen.maps], seen.grid)
            columns |= {f"{name}_{array}": values for array, values in self._flat(own, roles, whole=whole).items()}
        truth = {} if self.truth is None else {"true_boxes": as_text(self.truth[place])}
        return {**found_columns, **truth, **columns}

    def _flat(self, arrays: dict[str, np.ndarray], roles: Roles, *, whole: bool) -> dict[str, np.ndarray]:
        """Arrays as columns hold them: all objects together need boxes of all, and a difference two sets of boxes."""
        undefined = [UNION] * (not whole) + [CONTRAST] * roles.shared
        for region in undefined:
            for name, values in arrays.items():
                if name not in MAP_MEASURES:
                    values[:, region] = np.nan
        return {name: np.ascontiguousarray(arrays[name], np.float32).ravel() for name in self.arrays}

    def _nulls(
        self, place: int, several: list[tuple[np.ndarray, np.ndarray | None]], grid: ImageGrid
    ) -> dict[str, np.ndarray]:
        """The measures of maps under each null, [normalisation region layer head+1]."""
        boxes = self.roles[place].boxes
        drawn: dict[str, list[dict[str, list[Any]]]] = {}
        if self.pool is not None:
            drawn["shuffled"] = self.pool.draw(place, draws=self.draws, seed=self.seed)
        if "moved" in self.nulls:
            drawn["moved"] = moved_boxes(boxes, grid, place=place, draws=self.draws, seed=self.seed)
        found = []
        for maps, kept in several:
            own = measure_draws(maps, drawn, grid, kept=kept)
            found.append(own | (measure_centre(maps, boxes, grid, kept=kept) if "centre" in self.nulls else {}))
        return {name: np.stack([one[name] for one in found]) for name in found[0]}


def normalised_maps(
    looked: Trajectory,
    n_tokens: int,
    normalisations: Sequence[str],
    *,
    sinks: Bool[np.ndarray, "... token"] | None = None,
    neutral: Float[np.ndarray, "layer head ... token"] | None = None,
) -> list[tuple[Float[np.ndarray, "layer head_and_mean token"], Bool[np.ndarray, "layer head_and_mean token"] | None]]:
    """Maps with the head mean, [layer head+1 token], and which tokens take part, as `overlap` measures them."""
    found = [one.maps() for one in normalised(looked, n_tokens, normalisations, sinks=sinks, neutral=neutral)]
    return [(maps[:, :, 0], None if kept is None else kept[:, :, 0]) for maps, kept in found]


def _judged(samples: Sequence[Sample], answer: Generation) -> list[dict[str, Any]]:
    """What each sample asks, and whether its answer is right."""
    import pandas as pd

    from interp.answers.scoring import score

    asked = pd.DataFrame(
        {
            "text": answer.texts,
            "gold": [sample.answer for sample in samples],
            "options": [sample.options for sample in samples],
        }
    )
    judged = score(asked)
    columns = zip(samples, answer.texts, judged["predicted"], judged["correct"], answer.confidence, strict=True)
    return [
        {
            "dataset": str(sample.meta.get("dataset", "")),
            "photo": "" if hasattr(sample.image, "size") else str(sample.image),
            "question": sample.question,
            "relation": sample.relation,
            "group": sample.group,
            "gold": sample.answer,
            "options": "|".join(sample.options),
            "text": text,
            "predicted": predicted if isinstance(predicted, str) else None,
            "right": bool(right),
            "confidence": float(sure),
        }
        for sample, text, predicted, right, sure in columns
    ]


def _found_columns(roles: Roles, found: Overlap, grid: ImageGrid) -> dict[str, Any]:
    """What was found of the objects, and how much of it the model saw."""
    area = dict(zip(found.regions, found.area_share.tolist(), strict=True))
    seen = dict(zip(found.regions, found.coverage.tolist(), strict=True))
    return {
        "objects": "|".join(roles.names),
        "no_class": "|".join(roles.unknown),
        "found": roles.found,
        "complete": roles.found == "all",
        "visible": all(seen[role] > 0 for role in roles.boxes),
        "shared": roles.shared,
        "n_first": len(roles.first),
        "n_second": len(roles.second),
        "area_first": area["first"],
        "area_second": area["second"],
        "area_union": area["union"],
        "seen_union": seen["union"],
        "boxes": as_text(roles),
        "width": grid.image_size[0],
        "height": grid.image_size[1],
        "unseen_share": grid.unseen_share,
    }
