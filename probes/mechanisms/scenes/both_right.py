"""Both right: pairs are kept where the model answers the clean and the counterfactual sample rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from interp.numeric import read_flag, whole_number
from interp.reprs import fits_a_cell
from probes.mechanisms.scenes.pairs import Pair, check_pairs
from probes.mechanisms.scenes.vocabulary import plain_word
from probes.study.parts import parts_of
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

FEW = 10
"""A direction with fewer pairs than this is named: its numbers say little."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class BothRight:
    """Pairs by whether both of their answers are right.

    Attributes:
        asked: all pairs.
        clean: bool [pair], whether the clean answer is right.
        counterfactual: bool [pair], whether the counterfactual one is.
    """

    asked: tuple[Pair, ...]
    clean: Bool[np.ndarray, " pair"]
    counterfactual: Bool[np.ndarray, " pair"]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that are kept: both answers are right."""
        return [pair for pair, both in zip(self.asked, self.clean & self.counterfactual, strict=True) if both]

    def to_dataframe(self, *, level: float = 0.95) -> pd.DataFrame:
        """One row per direction, in the order asked, and one for all.

        Columns: `direction`, `pairs`, `clean_right`, `counterfactual_right` and `both_right` (numbers of pairs), and
        `both_right_share` with `low` and `high`, the interval of `clustered_share`, NaN where pairs lie in fewer than
        three groups.
        """
        import pandas as pd

        from interp.stats.clusters import clustered_share, group_names

        groups = group_names(pd.DataFrame({"group": [pair.group for pair in self.asked]}))
        directions = np.array([pair.clean.relation for pair in self.asked], dtype=object)
        both = self.clean & self.counterfactual
        whole, *each = parts_of(directions, alone=True).items()
        rows = []
        for name, own in (*each, whole):
            rows.append(
                {
                    "direction": name,
                    "pairs": int(own.sum()),
                    "clean_right": int(self.clean[own].sum()),
                    "counterfactual_right": int(self.counterfactual[own].sum()),
                    "both_right": int(both[own].sum()),
                    **clustered_share(both[own], groups[own], level=level).cells("both_right_share"),
                }
            )
        return pd.DataFrame(rows)

    def describe(self) -> str:
        """Say how many pairs are kept of each direction, and which directions keep few."""
        table = self.to_dataframe().iloc[:-1]
        told = ", ".join(f"{row.both_right} of {row.pairs} {row.direction}" for row in table.itertuples())
        said = f"both answers are right in {len(self.pairs)} of {len(self.asked)} pairs ({told})"
        few = [str(row.direction) for row in table.itertuples() if row.both_right < FEW]
        return f"{said}; fewer than {FEW} are left of {', '.join(few)}: these say little" if few else said


def keep_both_right(
    vlm: HookedVLM,
    pairs: Sequence[Pair],
    *,
    prompt: str = "chat",
    batch: int = 16,
    progress: bool = True,
) -> BothRight:
    """Ask the clean and the counterfactual sample of each pair, and find those where both are right.

    An answer is right if the most probable next token is the answer, but for capitals and anything that is no letter
    or digit: the paper's rule.

    Args:
        vlm: the hooked model.
        pairs: what is asked.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that share a pass.
        progress: show a progress bar.

    Raises:
        InputError: no pairs, two of one id, or samples that can not be asked.

    Example:
        >>> kept = keep_both_right(vlm, pairs)
        >>> kept.describe()
        'both answers are right in 187 of 200 pairs (50 of 50 left, 48 of 50 right, 45 of 50 above, 44 of 50 below)'
    """
    check_model(vlm)
    check_pairs(pairs)
    batch, progress = whole_number(batch, "batch", 1), read_flag(progress, "progress")
    samples = [sample for pair in pairs for sample in (pair.clean, pair.counterfactual)]
    for side in (samples[0::2], samples[1::2]):  # the two of a pair may have one id
        check_asked(vlm, side, prompt, progress=progress)
    right = _right(vlm, samples, prompt, batch, progress)
    return BothRight(tuple(pairs), right[0::2], right[1::2])


def says_first(token: str, answer: str) -> bool:
    """Whether a token is an answer, but for capitals and what is no letter or digit.

    Example:
        >>> says_first(" Red", "red"), says_first("Re", "red")
        (True, False)
    """
    return plain_word(token) == plain_word(answer) != ""


def _right(
    vlm: HookedVLM, samples: Sequence[Sample], prompt: str, batch: int, progress: bool
) -> Bool[np.ndarray, " sample"]:
    """Whether each sample's most probable next token is its answer."""
    import torch

    from interp.store.progress import ProgressBar
    from interp.study.prompter import batches, prepare_samples

    right = np.zeros(len(samples), dtype=bool)
    with (
        ProgressBar(total=len(samples), desc="asking pairs", unit="sample", disable=not progress) as bar,
        torch.no_grad(),
    ):
        for places in batches(samples, batch):
            own = [samples[place] for place in places]
            answer = vlm.generate(prepare_samples(vlm, own, prompt), 1)
            tokens = [vlm.processor.tokenizer.decode(ids) for ids in answer.first_logits.argmax(-1, keepdim=True)]
            right[places] = [says_first(token, sample.answer) for token, sample in zip(tokens, own, strict=True)]
            bar.update(len(places))
    return right
