"""Residual norms: how long the residual stream is at the image's positions and at the words', layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64, Int

from interp.errors import InputError
from interp.numeric import ratio
from interp.reprs import fits_a_cell
from probes.position.stream_norms import Kept, name_samples, norms_at, positions_by_group
from probes.study.finite import refuse_overflow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

FINAL = "ln_final.hook_out"
"""The hook point after the final norm; what passes there is no depth of the residual stream."""

CONVENTIONS = ("stream", "paper")
"""What the last depth is, and what the ratio of image to words is where the words' norm is zero.

`stream`: depth L is what leaves the last block, and there is no ratio over zero. `paper`: depth L is what leaves the
final norm, as the last of Hugging Face's `hidden_states` is, so that the paper's curves bend there; a ratio over zero
is 1, and 1e-12 is added to what is divided by ("Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language
Models", its figure of norms by depth, as its code computes it).
"""

FLOOR = 1e-12


@fits_a_cell("sample_id norms groups tokens d_model normalized")
@dataclass(frozen=True, eq=False)
class ResidualNorms:
    """Mean L2 norm of the residual stream of one prompt, by depth and group of positions.

    Depth l, 0 to L - 1 of L blocks, is what enters block l (`blocks.l.hook_resid_pre`, with what is added between
    blocks); depth L is what leaves the last one.

    Attributes:
        sample_id: which sample.
        d_model: width of the stream.
        groups: those of `probes.position.stream_norms.GROUPS` that the prompt has.
        tokens: int64 [group], how many positions each has.
        norms: float32 [depth group], mean over the group's positions.
        normalized: float32 [group], the same after the final norm (`ln_final.hook_out`).

    Example:
        >>> found.of("image").shape, found.image_over_text().shape  # 12 blocks
        ((13,), (13,))
    """

    sample_id: str
    d_model: int
    groups: tuple[str, ...]
    tokens: Int[np.ndarray, " group"]
    norms: Float[np.ndarray, "depth group"]
    normalized: Float[np.ndarray, " group"]

    @property
    def rms(self) -> Float[np.ndarray, "depth group"]:
        """The norms as root mean squares over the stream's width: the norm over the root of `d_model`."""
        return self.norms / np.float32(self.d_model**0.5)

    def of(self, group: str, convention: str = "stream") -> Float[np.ndarray, " depth"]:
        """The norms of one group by depth; what the last depth is, see `CONVENTIONS`.

        Raises:
            InputError: the prompt has no such group, or the convention is not known.
        """
        check_convention(convention)
        place = place_of(group, self.groups)
        last = self.normalized if convention == "paper" else self.norms[-1]
        return np.append(self.norms[:-1, place], last[place])

    def image_over_text(self, convention: str = "stream") -> Float[np.ndarray, " depth"]:
        """The image's norm over the words', float32 [depth]; see `CONVENTIONS`. NaN where the words' is zero."""
        return ratio_of(self.of("image", convention), self.of("text", convention), convention).astype(np.float32)

    @property
    def after_final_norm(self) -> dict[str, float]:
        """The norms after the final norm, by group, and as `image_over_text` their ratio; NaN over zero."""
        found = {group: float(norm) for group, norm in zip(self.groups, self.normalized, strict=True)}
        return found | {"image_over_text": float(ratio(found["image"], found["text"]))}

    def to_dataframe(self) -> pd.DataFrame:
        """One row per depth and group, and last those after the final norm, told apart by `point`, the hook's name.

        Columns: `sample, depth, point, group, tokens`, and `norm` and `rms` as float32 columns.
        """
        norms = np.vstack([self.norms, self.normalized])
        return table_of_norms(self.sample_id, self.d_model, self.groups, {"tokens": self.tokens}, norms)

    def ratios_to_dataframe(self) -> pd.DataFrame:
        """One row per depth, and last the one after the final norm: `sample, depth, point, ratio` (image over words).

        A depth at which the words' norm is zero has no ratio and no row.
        """
        import pandas as pd

        values = np.append(self.image_over_text(), np.float32(self.after_final_norm["image_over_text"]))
        depth, point = rows_of_table(len(self.norms))
        table = pd.DataFrame({"sample": self.sample_id, "depth": depth, "point": point, "ratio": values})
        return table[np.isfinite(values)].reset_index(drop=True)

    def plot(self, axes: Sequence[Axes] | None = None) -> np.ndarray:
        """Draw the three panels of the paper: norm of the words, of the image, and log10 of their ratio, by depth."""
        from probes.position.figures.residual_norms import plot_residual_norms

        curves = self.of("text"), self.of("image"), self.image_over_text()
        return plot_residual_norms(*curves, after=self.after_final_norm, axes=axes)


def residual_norms(
    vlm: HookedVLM, inputs: VLMInputs, *, sample_ids: Sequence[str] | None = None
) -> tuple[ResidualNorms, ...]:
    """Mean norm of the residual stream of each prompt, by depth and group of positions.

    With h_l,t the stream at depth l and position t, and G a group of positions of the prompt,

        N_G(l) = mean over t in G of ||h_l,t||_2      R(l) = N_image(l) / N_text(l)

    ("Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", its figure of norms by depth). Where
    the paper's last depth and ratio differ from ours, see `CONVENTIONS`. A norm is taken where the stream passes, so no
    more than one layer of it is held at a time.

    Args:
        vlm: the model, which runs once. Under `vlm.intervene(...)`, what the intervention leaves is measured.
        inputs: a batch as `vlm.prepare` made it; padding is in no group.
        sample_ids: a name for each sample; their places by default.

    Example:
        >>> (found,) = residual_norms(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))
        >>> found.plot()

    Raises:
        InputError: names or layouts that do not fit the batch, or a prompt without image or without words.
        ModelError: a norm is not finite.
    """
    names = name_samples(inputs, sample_ids)
    places = groups_in(inputs, names)
    return residual_norms_in(norms_at(vlm, inputs, stream_points(vlm)), vlm, names, places)


def groups_in(inputs: VLMInputs, names: Sequence[str]) -> list[dict[str, Int[np.ndarray, " position"]]]:
    """Of each sample, the positions of each group that its prompt has.

    Raises:
        InputError: a prompt without image or without words.
    """
    return [_groups_of(name, layout) for name, layout in zip(names, inputs.layouts, strict=True)]


def stream_points(vlm: HookedVLM) -> tuple[str, ...]:
    """The hook points that `residual_norms` reads: those of all depths, and the one after the final norm."""
    return (*depth_points(vlm.cfg.n_layers), FINAL)


def residual_norms_in(
    kept: Kept,
    vlm: HookedVLM,
    names: Sequence[str],
    places: Sequence[Mapping[str, Int[np.ndarray, " position"]]],
) -> tuple[ResidualNorms, ...]:
    """What `residual_norms` gives, from the norms that `norms_at` kept at its points."""
    depths = np.stack([kept[point] for point in stream_points(vlm)], axis=1)
    return tuple(
        _of_sample(name, groups, own, vlm.cfg.d_model) for name, groups, own in zip(names, places, depths, strict=True)
    )


def ratio_of(
    image: Float[np.ndarray, "*axes"], text: Float[np.ndarray, "*axes"], convention: str = "stream"
) -> Float64[np.ndarray, "*axes"]:
    """The norm of the image over that of the words, as one of `CONVENTIONS` has it; what is NaN stays NaN.

    By the paper's it is image / (text + 1e-12), and 1 where the words' norm is zero; else NaN where it is zero.

    Example:
        >>> ratio_of(np.array([6.0, 6.0]), np.array([2.0, 0.0]), "paper")
        array([3., 1.])

    Raises:
        InputError: the convention is not known.
    """
    check_convention(convention)
    above, below = np.asarray(image, dtype=np.float64), np.asarray(text, dtype=np.float64)
    return np.where(below == 0, 1.0, above / (below + FLOOR)) if convention == "paper" else ratio(above, below)


def depth_points(n_layers: int) -> tuple[str, ...]:
    """The hook points of the depths 0 to `n_layers`."""
    entered = tuple(f"blocks.{layer}.hook_resid_pre" for layer in range(n_layers))
    return (*entered, f"blocks.{n_layers - 1}.hook_resid_post")


def rows_of_table(n_depths: int, convention: str = "stream") -> tuple[Int[np.ndarray, " row"], tuple[str, ...]]:
    """Depth and hook point of each row of a table.

    The row after the final norm is last and has the last depth; by the paper's convention it is the last depth.
    """
    depth, points = np.arange(n_depths, dtype=np.int32), depth_points(n_depths - 1)
    if convention == "paper":
        return depth, (*points[:-1], FINAL)
    return np.append(depth, depth[-1]), (*points, FINAL)


def table_of_norms(
    sample_id: str,
    d_model: int,
    groups: tuple[str, ...],
    counts: dict[str, Int[np.ndarray, " group"]],
    norms: Float[np.ndarray, "row group"],
    convention: str = "stream",
) -> pd.DataFrame:
    """Norms as a table, one row per row and group, with what was counted of each group."""
    import pandas as pd

    depth, point = rows_of_table(len(norms) - (convention == "stream"), convention)
    row, group = (axis.ravel() for axis in np.indices(norms.shape))
    return pd.DataFrame(
        {
            "sample": sample_id,
            "depth": depth[row],
            "point": np.array(point, dtype=object)[row],
            "group": np.array(groups, dtype=object)[group],
            **{name: values[group] for name, values in counts.items()},
            "norm": norms.ravel(),
            "rms": (norms / np.float32(d_model**0.5)).ravel(),
        }
    )


def check_convention(convention: str) -> None:
    """Refuse a convention that is not known.

    Raises:
        InputError: it is none of `CONVENTIONS`.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"convention {convention!r} is not known: use one of {', '.join(CONVENTIONS)}")


def place_of(group: str, groups: Sequence[str]) -> int:
    """The place of a group among those that are there.

    Raises:
        InputError: it is not.
    """
    if group not in groups:
        raise InputError(f"no position is in group {group!r}: this has {', '.join(groups)}")
    return groups.index(group)


def _groups_of(name: str, layout: TokenLayout) -> dict[str, Int[np.ndarray, " position"]]:
    """The groups of one prompt, which must have an image and words."""
    groups = positions_by_group(layout)
    if missing := [group for group in ("image", "text") if group not in groups]:
        raise InputError(
            f"sample {name!r} has no position in group {' or '.join(missing)}: ask about an image, in words"
        )
    return groups


def _of_sample(
    name: str, places: Mapping[str, Int[np.ndarray, " position"]], norms: Float[np.ndarray, "row pos"], d_model: int
) -> ResidualNorms:
    """One sample's result, from the norms at its positions, those after the final norm last."""
    means = np.stack([norms[:, own].mean(axis=1, dtype=np.float64) for own in places.values()], axis=1)
    refuse_overflow(means, name)
    mean = means.astype(np.float32)
    counts = np.array([len(own) for own in places.values()], dtype=np.int64)
    return ResidualNorms(name, d_model, tuple(places), counts, mean[:-1], mean[-1])
