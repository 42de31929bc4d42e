"""Before and after: a sample whose answer a policy changed, and its attention untouched and in the changed run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.policy.policies import is_policy
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import confidence_of
from interp.errors import InputError
from interp.intervene.base import Intervention, Untouched
from interp.model.prefix import share_prefill
from interp.numeric import percentage
from interp.plots.canvas import panel_size
from interp.plots.maps import plot_before_after
from interp.plots.style import cut_wide, figure_of, new_grid
from interp.study.prompter import prepare_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.image.boxes import Box
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

WORDS = 16
"""How wide an answer in a title may be, in letters of the widest kind: so many fit above a panel."""


def telling_sample(evaluation: Evaluation, policy: str) -> tuple[str, str]:
    """The id of the least sure sample whose answer a policy changed, or failing that touched; and which it is."""
    before = evaluation.rows("baseline").set_index("id")
    after = evaluation.rows(policy).set_index("id").loc[before.index]
    touched = after[after["setting"] != UNTOUCHED]
    changed = touched[touched["text"] != before.loc[touched.index, "text"]]
    kinds = (
        (changed, "The least sure sample whose answer the intervention changed."),
        (touched, "The intervention changed no answer; this is the least sure sample that it touched."),
        (after, "The chosen policy leaves every sample as it is; this is the least sure one."),
    )
    candidates, words_of = next((rows, words) for rows, words in kinds if len(rows))
    return str(candidates["confidence"].idxmin()), words_of


def draw_before_after(
    vlm: HookedVLM,
    evaluation: Evaluation,
    sample: Sample,
    *,
    policy: str = "adaptvis",
    layers: Sequence[int],
    prompt: str,
    boxes: Iterable[Box] = (),
) -> Figure:
    """Attention of the last prompt row over the photo, head mean: untouched, from the changed run, and the difference.

    Args:
        vlm: the model.
        evaluation: which settings and answers the sample has.
        sample: what is asked.
        policy: which policy changes it, by name.
        layers: 0-based; a row of panels each.
        prompt: prompt style.
        boxes: the boxes to draw over the photo.

    Raises:
        InputError: the policy is a way of decoding, which changes no attention.
    """
    before, after = (
        rows[rows["id"] == sample.id].iloc[0] for rows in (evaluation.rows("baseline"), evaluation.rows(policy))
    )
    chosen = evaluation.policies[policy]
    if not is_policy(chosen):
        raise InputError(f"policy {policy!r} changes no attention, so there is nothing to draw: name another one")
    plan = chosen.choose(float(confidence_of(before.to_frame().T, chosen.confidence).iloc[0]))
    changed = "untouched too" if after["setting"] == UNTOUCHED else f"alpha {after['alpha']:g}"
    said = (str(before["text"]), str(after["text"]))
    return draw_under(vlm, sample, plan, name=changed, said=said, layers=layers, prompt=prompt, boxes=boxes)


def draw_under(
    vlm: HookedVLM,
    sample: Sample,
    intervention: Intervention,
    *,
    name: str,
    said: tuple[str, str],
    layers: Sequence[int],
    prompt: str,
    boxes: Iterable[Box] = (),
) -> Figure:
    """The same under one intervention: each map has the image's share of the layer's attention in its title.

    Args:
        vlm: the model.
        sample: what is asked.
        intervention: what changes it.
        name: what the intervention is called.
        said: the answers before and after.
        layers: 0-based; a row of panels each.
        prompt: prompt style.
        boxes: the boxes to draw over the photo.
    """
    inputs = prepare_samples(vlm, [sample], prompt)
    hooks = [f"blocks.{layer}.attn.hook_pattern" for layer in layers]
    kept = share_prefill(vlm, inputs).step([Untouched(), intervention], capture=hooks).captured
    panels = new_grid(3 * len(layers), columns=3, cell=panel_size(inputs.grids[0], width=3.0)).reshape(-1, 3)
    every = list(boxes)
    for layer, hook, row in zip(layers, hooks, panels, strict=True):
        maps = kept[hook][:, 0, :, 0].mean(1).cpu().numpy()[:, inputs.layouts[0].image_positions]
        shares = maps.sum(-1)
        titles = [
            f"layer {layer}, head mean\n{which}\n{cut_wide(text, WORDS) or '–'}\n"
            f"image: {percentage(share)}% of all attention"
            for which, text, share in zip(("untouched", name), said, shares, strict=True)
        ]
        within = maps / shares[:, None]
        photo, grid = inputs.images[0], inputs.grids[0]
        plot_before_after(photo, grid, within[0], within[1], boxes=every, titles=(titles[0], titles[1]), axes=list(row))
    return figure_of(panels[0, 0])
