"""Confidence: how sure the untouched model is of its first answer token, by several measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from interp.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = {
    "probability": "largest probability over the whole vocabulary (the paper's)",
    "options": "probability of the likeliest option's first token among those of all options",
    "entropy": "one over the effective number of tokens, exp(-entropy)",
    "margin": "largest probability minus the second largest",
    "probability-rounded": "the largest probability rounded to two decimals, as the authors' code compares it",
    "raw-logit": "the largest logit itself, rounded to two decimals, as the authors' code compares it on VSR: a "
    "defect, kept to reproduce it",
}
"""What each measure is. All but the last lie in [0, 1], and grow with certainty."""


@dataclass(frozen=True, eq=False)
class OptionTokens:
    """The ids that can begin each option, for one sample.

    Attributes:
        options: the options as the sample lists them.
        ids: token ids for each option: of the word as it is and capitalised, at the start of a text and after a space.
    """

    options: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    @property
    def distinct(self) -> bool:
        """Whether there are options, and each can be said at all and be told from the others by its first token."""
        every = [token for own in self.ids for token in own]
        return bool(every) and all(self.ids) and len(set(every)) == len(every)

    def probabilities(self, logits: Float[Tensor, " vocab"]) -> list[float]:
        """Probability that the first token begins each option, over the whole vocabulary."""
        chances = logits.softmax(-1)
        return [float(chances[list(own)].sum()) for own in self.ids]


def option_tokens(tokenizer: Any, options: Sequence[str]) -> OptionTokens:
    """Find the ids that can begin each option.

    Example:
        >>> option_tokens(tokenizer, ("left", "right")).distinct
        True
    """
    return OptionTokens(tuple(options), tuple(_first_ids(tokenizer, option) for option in options))


def each_option_tokens(tokenizer: Any, options: Sequence[Sequence[str]]) -> list[OptionTokens]:
    """The option tokens of several samples, looked up once for each list of options that differs."""
    found = {listed: option_tokens(tokenizer, listed) for listed in {tuple(each) for each in options}}
    return [found[tuple(each)] for each in options]


def measure(logits: Float[Tensor, "batch vocab"], options: Sequence[OptionTokens]) -> list[dict[str, float]]:
    """Every measure of each sample's first token, from fp32 logits, unrounded but for the two of the authors' code.

    `options` is NaN where two options begin with the same token, or one with a token that the model lacks.

    Args:
        logits: the logits of the untouched model.
        options: one per sample.
    """
    import torch

    chances = logits.float().softmax(-1)
    top = chances.topk(2).values
    entropy = torch.special.entr(chances).sum(-1)
    found = []
    for sample, own in enumerate(options):
        best, second = top[sample].tolist()
        shares = own.probabilities(logits[sample].float()) if own.distinct else []
        found.append(
            {
                "probability": best,
                "options": max(shares) / sum(shares) if shares and sum(shares) > 0 else float("nan"),
                "entropy": float((-entropy[sample]).exp()),
                "margin": best - second,
                "probability-rounded": round(best, 2),
                "raw-logit": round(float(logits[sample].max()), 2),
            }
        )
    return found


def check_measure(name: str) -> str:
    """Return a measure's name as it is.

    Raises:
        InputError: there is no such measure.
    """
    if name not in MEASURES:
        raise InputError(f"confidence={name!r} is not known: use one of {', '.join(MEASURES)}")
    return name


def _first_ids(tokenizer: Any, option: str) -> tuple[int, ...]:
    """Ids of the first token of an option's spellings; none for words that the tokenizer does not know."""
    found = set()
    for word in (option, option.capitalize(), f" {option}", f" {option.capitalize()}"):
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        spoken = [token for token in ids if tokenizer.decode([token]).strip() and token != tokenizer.unk_token_id]
        found.update(spoken[:1] if ids and ids[-1] != tokenizer.unk_token_id else [])
    return tuple(sorted(found))
