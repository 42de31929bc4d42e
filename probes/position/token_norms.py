"""Token norms: how long the image's tokens are, and how long the words, where the language model receives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from interp.compat import at_hand
from interp.errors import InputError
from interp.reprs import fits_a_cell
from probes.position.stream_norms import GROUPS, Kept, l2_norms, name_samples, norms_at
from probes.study.finite import refuse_overflow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

RECEIVED, PROJECTOR = "blocks.0.hook_resid_pre", "projector.hook_out"

DEFINITIONS = ("received", "paper")
"""What the norm of a token is.

`received`: of what enters the first block, `blocks.0.hook_resid_pre`, also in models that scale their embeddings.
`paper`: of the projector's output for an image token, `projector.hook_out`, and of the raw row of the embedding table
for any other token ("Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", its figure of input
norms, as its code computes it). The two are the same for LLaVA-1.5; Gemma multiplies rows by the root of its width.
"""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class TokenNorms:
    """The L2 norms of one prompt's tokens, padding left out.

    Attributes:
        sample_id: which sample.
        positions: int64 [token], in the padded prompt, ascending.
        kinds: the kind of each token, one of `interp.prompt.layout.KINDS`.
        tokens: the text of each token.
        norms: float32 [token], of what the first block receives.
        paper_norms: float32 [token], by the paper's definition; see `DEFINITIONS`.

    Example:
        >>> found.by_group()["image"].shape
        (64,)
    """

    sample_id: str
    positions: Int[np.ndarray, " token"]
    kinds: tuple[str, ...]
    tokens: tuple[str, ...]
    norms: Float[np.ndarray, " token"]
    paper_norms: Float[np.ndarray, " token"]

    def by_group(self, definition: str = "received") -> dict[str, Float[np.ndarray, " token"]]:
        """The norms of each of `GROUPS` that the prompt has; see `token_norms_by_group`."""
        return token_norms_by_group([self], definition)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per token: `sample, position, kind, token`, and `norm` and `paper_norm` as float32 columns."""
        import pandas as pd

        return pd.DataFrame(
            {
                "sample": self.sample_id,
                "position": self.positions,
                "kind": self.kinds,
                "token": self.tokens,
                "norm": self.norms,
                "paper_norm": self.paper_norms,
            }
        )

    def quartiles(self) -> pd.DataFrame:
        """One row per definition and group that the prompt has; see `token_norm_quartiles`."""
        return token_norm_quartiles([self], sample_id=self.sample_id)

    def plot(self, ax: Axes | None = None, *, definition: str = "received") -> Axes:
        """Draw the violins of the paper: image and words over each other, on a log axis, with their quartiles."""
        from probes.position.figures.token_norms import plot_token_norms

        return plot_token_norms(self.by_group(definition), ax, definition=definition)


def token_norms(
    vlm: HookedVLM, inputs: VLMInputs, *, sample_ids: Sequence[str] | None = None
) -> tuple[TokenNorms, ...]:
    """The L2 norm of each token of each prompt, as the language model receives it and as the paper defines it.

    For token t with vector x_t, norm(t) = ||x_t||_2. The two definitions are in `DEFINITIONS`; the second is that of
    "Beyond Semantics: Rediscovering Spatial Awareness in Vision-Language Models", whose words are those of captions
    with BOS among them. Here they are the prompt's, and BOS is a group of its own.

    Args:
        vlm: the model, which runs once. Under `vlm.intervene(...)`, what the intervention leaves is measured.
        inputs: a batch as `vlm.prepare` made it.
        sample_ids: a name for each sample; their places by default.

    Example:
        >>> (found,) = token_norms(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))
        >>> found.quartiles()

    Raises:
        InputError: names or layouts that do not fit the batch.
        ModelError: a norm is not finite.
    """
    names = name_samples(inputs, sample_ids)
    return token_norms_in(norms_at(vlm, inputs, token_points(vlm, inputs)), vlm, inputs, names)


def token_points(vlm: HookedVLM, inputs: VLMInputs) -> tuple[str, ...]:
    """The hook points that `token_norms` reads: without an image, nothing passes the projector."""
    return (RECEIVED, PROJECTOR) if bool(_placeholders(vlm, inputs).any()) else (RECEIVED,)


def token_norms_in(kept: Kept, vlm: HookedVLM, inputs: VLMInputs, names: Sequence[str]) -> tuple[TokenNorms, ...]:
    """What `token_norms` gives, from the norms that `norms_at` kept at its points."""
    placeholders = _placeholders(vlm, inputs)
    of_image = placeholders.cpu().numpy()
    paper = np.empty_like(kept[RECEIVED])
    paper[of_image] = kept.get(PROJECTOR, 0)
    embedding = vlm.model.get_input_embeddings()
    with at_hand(embedding):
        words = inputs.input_ids[~placeholders].to(embedding.weight.device)
        paper[~of_image] = l2_norms(embedding.weight[words]).cpu().numpy()
    return tuple(
        _of_sample(name, layout, received, own)
        for name, layout, received, own in zip(names, inputs.layouts, kept[RECEIVED], paper, strict=True)
    )


def _placeholders(vlm: HookedVLM, inputs: VLMInputs) -> Bool[torch.Tensor, "batch pos"]:
    """Where the ids say that there is an image token."""
    return inputs.input_ids == vlm.model.config.image_token_id


def token_norms_by_group(
    results: Iterable[TokenNorms], definition: str = "received"
) -> dict[str, Float[np.ndarray, " token"]]:
    """The norms of all samples' tokens by group, float32 [token], in the order of `GROUPS`; groups that are there.

    Args:
        results: what `token_norms` gave, for as many samples as wanted.
        definition: one of `DEFINITIONS`.

    Raises:
        InputError: the definition is not known, or there is no result.
    """
    check_definition(definition)
    every = list(results)
    if not every:
        raise InputError("there are no token norms to group: give the results of at least one sample")
    kinds = np.concatenate([np.array(one.kinds, dtype=object) for one in every])
    norms = np.concatenate([one.norms if definition == "received" else one.paper_norms for one in every])
    found = {group: norms[np.isin(kinds, own)] for group, own in GROUPS.items()}
    return {group: values for group, values in found.items() if len(values)}


def check_definition(definition: str) -> None:
    """Refuse a definition that is not known.

    Raises:
        InputError: it is none of `DEFINITIONS`.
    """
    if definition not in DEFINITIONS:
        raise InputError(f"definition {definition!r} is not known: use one of {', '.join(DEFINITIONS)}")


def token_norm_quartiles(results: Iterable[TokenNorms], *, sample_id: str = "all") -> pd.DataFrame:
    """Quartiles of the tokens' norms, one row per definition and group that is there.

    Columns: `sample`, `definition`, `group`, `tokens` (how many), `first_quartile`, `median`, `third_quartile`.

    Raises:
        InputError: there is no result.
    """
    import pandas as pd

    every, rows = list(results), []
    for definition in DEFINITIONS:
        for group, values in token_norms_by_group(every, definition).items():
            first, median, third = np.quantile(values, (0.25, 0.5, 0.75)).astype(np.float32)
            rows.append((sample_id, definition, group, len(values), first, median, third))
    columns = ["sample", "definition", "group", "tokens", "first_quartile", "median", "third_quartile"]
    return pd.DataFrame(rows, columns=columns)


def _of_sample(
    name: str, layout: TokenLayout, received: Float[np.ndarray, " pos"], paper: Float[np.ndarray, " pos"]
) -> TokenNorms:
    """One sample's norms, without those of its padding."""
    own = np.flatnonzero(np.array(layout.kinds) != "pad")
    for norms in (received[own], paper[own]):
        refuse_overflow(norms, name)
    kinds, tokens = (tuple(texts[place] for place in own) for texts in (layout.kinds, layout.tokens))
    return TokenNorms(name, own, kinds, tokens, *(norms[own].astype(np.float32) for norms in (received, paper)))
