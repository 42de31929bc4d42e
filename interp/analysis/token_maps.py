"""Maps over the image tokens of one photo beside raw attention: by gradients, by a neutral prompt, by the lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.analysis.vision import best_cosine
from interp.errors import InputError
from interp.layers import HEAD_MEAN
from interp.maps.answer_lens import answer_lens
from interp.maps.gradients import answer_gradient
from interp.maps.trajectory import Trajectory, normalise
from interp.model.answer_token import answer_tokens, token_of
from interp.model.frozen import refuse_quantised
from interp.overlap.overlap import Overlap, overlap
from interp.overlap.regions import UNION
from interp.overlap.study.token_maps import BY_GRADIENT, LENS
from interp.overlap.study.vision import ROWS
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float32

    from interp.image.boxes import Boxes
    from interp.image.grid import ImageGrid
    from interp.model.answer_token import AnswerToken
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

RELATIVE = "relative"

OF_ANSWER = (*BY_GRADIENT, LENS)
"""Those that are of one token of the answer."""

ALSO = (*BY_GRADIENT, RELATIVE, LENS)
"""Maps over the image tokens that can be made as well, see `TokenMaps`."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class TokenMaps:
    """Maps of one photo over the image tokens, as raw attention has them.

    * `gradient`: attention of the last prompt row times what the answer's log-probability would gain from more of it;
      `gradient-alone`: that gain without the attention; `gradcam`: attention times one such gain for each head. See
      `interp.maps.gradients.KINDS`.
    * `relative`: attention over that under a neutral prompt, as `normalise` has it.
    * `lens`: how probable the answer's token is at each image token, by the model's own unembedding; it has no heads.
      See `interp.maps.answer_lens`.

    Attributes:
        name: one of `ALSO`.
        maps: none negative, float32 [layer head step token]; of `lens` with one head. Of `relative` shares of one.
        weights: the head mean's, as shares of one over the image tokens, float32 [layer step token]; NaN where there is
            nothing.
        grid: the geometry of the image tokens.
        overlap: the maps against the boxes; None where there are none.
        answer: the token that they are of; None for `relative`.
        sample_id: which photo.

    Example:
        >>> analyze(photo, question, also=["gradient"]).also["gradient"].maps.shape  # layer head step token
        (12, 8, 1, 64)
    """

    name: str
    maps: Float32[np.ndarray, "layer head step token"]
    weights: Float32[np.ndarray, "layer step token"]
    grid: ImageGrid
    overlap: Overlap | None
    answer: AnswerToken | None = None
    sample_id: str = ""

    @property
    def layers(self) -> tuple[int, ...]:
        """The number of each layer, 0-based."""
        return tuple(range(len(self.weights)))

    @property
    def normalisation(self) -> str:
        """What `overlap` calls that by which these maps were divided."""
        return RELATIVE if self.name == RELATIVE else "image"

    def describe(self) -> str:
        """Say in one line what they are of, and how well they agree with the boxes."""
        of = "" if self.answer is None else f" of {self.answer.text!r}"
        said = f"{self.name}{of}: maps over {len(self.grid)} image tokens"
        if self.answer is not None and len(self.answer.pieces) > 1:
            said += f", the first of the tokens {', '.join(map(repr, self.answer.pieces))}"
        if self.overlap is None:
            return said
        return f"{said}; {best_cosine(self.overlap, self.layers, normalisation=self.normalisation)}"

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer, step and image token, head mean.

        The columns are `sample, maps, layer, step, image_token, view, row, col, weight`.
        """
        import pandas as pd

        layer, step, token = (axis.ravel().astype(np.int32) for axis in np.indices(self.weights.shape))
        columns: dict[str, Any] = {"sample": self.sample_id, "maps": self.name, "layer": layer, "step": step}
        columns["image_token"] = token
        places = {"view": self.grid.view, "row": self.grid.rows, "col": self.grid.cols}
        columns |= {place: np.asarray(values, dtype=np.int32)[token] for place, values in places.items()}
        return pd.DataFrame(columns | {"weight": self.weights.ravel()})

    def overlap_table(self) -> pd.DataFrame:
        """The table of `Overlap.to_dataframe`; of `lens`, which has no heads, under the head mean alone.

        Raises:
            InputError: there were no boxes.
        """
        if self.overlap is None:
            raise InputError("these maps were compared with no boxes: give analyze a detector that finds some")
        table = self.overlap.to_dataframe()
        table = table[table["head"] == HEAD_MEAN] if self.name == LENS else table
        return table.assign(maps=self.name)


def check_token_maps(vlm: HookedVLM, inputs: VLMInputs, names: Sequence[str], answer: str | None) -> AnswerToken | None:
    """Refuse now, rather than after the model has run, what can not be made; the token that was asked for, if any."""
    if set(names) & set(BY_GRADIENT):
        refuse_quantised(vlm, "a gradient map")
    return None if answer is None else answer_tokens(vlm, inputs, answer)[0]


def token_maps(
    vlm: HookedVLM,
    inputs: VLMInputs,
    looked: Trajectory,
    names: Sequence[str],
    boxes: Boxes | None,
    *,
    answer: AnswerToken | int,
    neutral: VLMInputs | None,
    features: ImageFeatures,
) -> dict[str, TokenMaps]:
    """Make maps over the image tokens, each by a run of the language model, and the gradients together by one.

    Args:
        vlm: the model.
        inputs: the photo and the question.
        looked: its raw attention.
        names: some of `ALSO`.
        boxes: the objects.
        answer: the token of which they are, or its number.
        neutral: the photo under a neutral prompt, for `relative`.
        features: the photo as the language model receives it.
    """
    grid, token = inputs.grids[0], token_of(vlm, answer) if isinstance(answer, int) else answer
    found: dict[str, np.ndarray] = {}
    if set(names) & set(BY_GRADIENT):
        (slopes,) = answer_gradient(vlm, inputs, token.id, features=features)
        found |= {name: slopes.maps(name)[:, :, None] for name in BY_GRADIENT if name in names}
    if LENS in names:
        ((_, chance),) = answer_lens(vlm, inputs, token.id, features=features)
        found[LENS] = chance[:, None, None]
    made: dict[str, TokenMaps] = {}
    for name in dict.fromkeys(names):
        of, who = (token if name in OF_ANSWER else None), looked.sample_id
        if name == RELATIVE:
            assert neutral is not None
            made[name] = _relative(vlm, looked, neutral, grid, boxes, features)
            continue
        weights = normalise(found[name].mean(axis=1, dtype=np.float64), "image")
        against = None if boxes is None else overlap(found[name], grid, boxes, sample_id=who)
        made[name] = TokenMaps(name, found[name], weights, grid, against, of, who)
    return made


def overlap_by_map(looked: Overlap, also: Mapping[str, TokenMaps]) -> pd.DataFrame:
    """Raw attention and the maps beside it under the same measures, so that one sees which map finds the object.

    Returns:
        The head mean's rows of `Overlap.to_dataframe` on the union of the boxes, at the row behind the first token,
        with a column `maps`: `rows` is raw attention.
    """
    import pandas as pd

    tables = [looked.to_dataframe().assign(maps=ROWS), *(maps.overlap_table() for maps in also.values())]
    kept = [one[(one["head"] == HEAD_MEAN) & (one["region"] == UNION) & (one["step"] == 0)] for one in tables]
    return pd.concat(kept, ignore_index=True).drop(columns=["head", "step", "region"])


def _relative(
    vlm: HookedVLM,
    looked: Trajectory,
    asked: VLMInputs,
    grid: ImageGrid,
    boxes: Boxes | None,
    features: ImageFeatures,
) -> TokenMaps:
    """Attention over that under the neutral prompt, for every row that was captured."""
    import torch

    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(vlm.cfg.n_layers)]
    with torch.no_grad(), features.given_to(asked) as blind:
        _, cache = vlm.run_with_cache(blind, names_filter=names, logits_to_keep=1)
    other = np.stack([cache[name][0, :, 0].float().cpu().numpy() for name in names])
    other = other[..., asked.layouts[0].image_positions][:, :, None]
    rows, who = looked.image_attention, looked.sample_id
    mean = [each.mean(axis=1, dtype=np.float64) for each in (rows, other)]
    neutral = np.broadcast_to(other, rows.shape)
    against = (
        None
        if boxes is None
        else overlap(
            rows if looked.generated else rows[:, :, 0],
            grid,
            boxes,
            sample_id=who,
            normalisations=[RELATIVE],
            neutral=neutral if looked.generated else neutral[:, :, 0],
        )
    )
    maps = normalise(rows, RELATIVE, neutral=neutral)
    return TokenMaps(RELATIVE, maps, normalise(mean[0], RELATIVE, neutral=mean[1]), grid, against, None, who)
