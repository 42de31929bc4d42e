"""Probe sites: image tokens in each layer of the vision tower, at the projector, and in each language layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from interp.errors import InputError, ModelError
from interp.numeric import listed

if TYPE_CHECKING:
    from interp.image.patches import Patches
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

PARTS = ("vision", "projector", "language")
"""Where a site lies: the vision tower, what the language model receives, or the language model."""

Use = Callable[[str, list[Float32[np.ndarray, "token feature"]]], None]
"""What is done with the features of one site, photo by photo, as they pass."""


@dataclass(frozen=True)
class Site:
    """One place that image tokens are read at: the residual stream after a block, or the projector's output.

    Attributes:
        name: `vision.blocks.3`, `projector` or `blocks.3`; blocks are 0-based, and read after them.
        part: one of `PARTS`.
        layer: which block; -1 for the projector.
    """

    name: str
    part: str
    layer: int

    @property
    def hook(self) -> str:
        """The hook point that shows it."""
        return "projector.hook_out" if self.part == "projector" else f"{self.name}.hook_resid_post"


def all_sites(vlm: HookedVLM) -> tuple[Site, ...]:
    """Every site of a model, in the order in which a photo passes them."""
    vision = (Site(f"vision.blocks.{layer}", "vision", layer) for layer in range(len(vlm.vision.blocks)))
    language = (Site(f"blocks.{layer}", "language", layer) for layer in range(vlm.cfg.n_layers))
    return (*vision, Site("projector", "projector", -1), *language)


def choose_sites(vlm: HookedVLM, chosen: str | Iterable[str]) -> tuple[Site, ...]:
    """The sites of these names, or of these parts; `all` of them.

    Raises:
        InputError: a name that is not known, given twice, or none.
        RefusedError: a vision tower that the family can not show.
    """
    every = all_sites(vlm)
    names = list(listed(chosen, "sites"))
    found: list[Site] = []
    for name in names:
        own = [site for site in every if name in ("all", site.name, site.part)]
        if not own:
            raise InputError(
                f"site {name!r} is not in this model: use all, {', '.join(PARTS)}, {every[0].name} to "
                f"vision.blocks.{len(vlm.vision.blocks) - 1}, or blocks.0 to {every[-1].name}"
            )
        found += own
    if not found or len(set(found)) < len(found):
        raise InputError(f"sites={names}: name at least one, and each once")
    if any(site.part == "vision" for site in found):
        vlm.require("vision")
    return tuple(site for site in every if site in found)


def read_sites(
    vlm: HookedVLM,
    inputs: VLMInputs,
    sites: Sequence[Site],
    tokens: Sequence[Int[np.ndarray, " token"]],
    use: Use,
) -> None:
    """Run a batch once, and hand on what some image tokens of each photo are at each site, as it passes.

    In the vision tower a token is the mean of the patches that it is made of, in the language model's grid: whatever
    order the tower has them in. Nothing else is kept, so that no more than one layer is ever held.

    Args:
        vlm: the model; hooks that are on act before.
        inputs: the batch.
        sites: where to read.
        tokens: which image tokens of each photo, by their number in its grid.
        use: is given the site's name, and [token feature] of each photo, float32.

    Raises:
        ModelError: what the vision tower shows is not the patches that its family says.
    """
    hooks = [(site.hook, _Read(site.name, _gather(vlm, inputs, site, tokens), use)) for site in sites]
    with torch.no_grad():
        vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1)


class _Read:
    """A hook function that hands on what it gathers, and never edits."""

    reads_only = True

    def __init__(self, name: str, gather: Callable[[Tensor], list[Tensor]], use: Use) -> None:
        self.name, self.gather, self.use = name, gather, use

    def __call__(self, tensor: Tensor, *, hook: Any) -> None:
        self.use(self.name, [part.float().cpu().numpy() for part in self.gather(tensor)])


def _gather(
    vlm: HookedVLM, inputs: VLMInputs, site: Site, tokens: Sequence[Int[np.ndarray, " token"]]
) -> Callable[[Tensor], list[Tensor]]:
    """What takes the tokens of each photo from what a site shows."""
    if site.part == "language":
        rows = [layout.image_positions[own] for layout, own in zip(inputs.layouts, tokens, strict=True)]
        return lambda tensor: [tensor[photo, own] for photo, own in enumerate(rows)]
    if site.part == "projector":
        starts = accumulate((len(layout.placeholders) for layout in inputs.layouts), initial=0)
        slots = [
            start + grid.slots[own] for start, grid, own in zip(starts, inputs.grids, tokens, strict=False)
        ]  # row ends are among the slots
        return lambda tensor: [tensor[own] for own in slots]
    from interp.maps.tower_patches import patches_of

    found = [patches_of(vlm, grid) for grid in inputs.grids]
    return lambda tensor: _of_patches(tensor, found, tokens)


def _of_patches(
    tensor: Float[Tensor, "view place d_vision"], found: list[Patches], tokens: Sequence[Int[np.ndarray, " token"]]
) -> list[Tensor]:
    """Tokens of each photo as means of their patches, from what the vision tower shows of all photos."""
    views, patches = [len(each.views) for each in found], [len(each.grid) for each in found]
    if tensor.shape[0] == sum(views) and {each.length for each in found} == {tensor.shape[1]}:
        starts, width = [start * tensor.shape[1] for start in accumulate(views, initial=0)], tensor.shape[1]
    elif tensor.shape[:2] == (1, sum(patches)):  # one sequence of all photos
        starts, width = list(accumulate(patches, initial=0)), None
    else:
        raise ModelError(
            f"the vision tower shows {tensor.shape[1]} places in {tensor.shape[0]} views, and the photos have "
            f"{patches} patches in {views} views: the model's settings do not fit its family's"
        )
    flat = tensor.flatten(0, 1)
    means = []
    for start, each, own in zip(starts, found, tokens, strict=False):
        view = np.searchsorted(each.views, each.grid.view, sorter=np.argsort(each.views))
        order = np.argsort(each.views)[view]  # which of the views, as the tower takes them
        places = start + order * (each.per_view if width is None else width) + each.places
        parts = flat[torch.from_numpy(places[each.sources[own]]).to(flat.device)].float()
        shares = torch.from_numpy(each.shares[own]).to(parts)
        means.append((parts * shares[..., None]).sum(dim=1))
    return means
