"""Orders: one batch asked with its image tokens in order, permuted and pooled, the vision tower run once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from interp.errors import InputError
from interp.numeric import listed
from interp.reprs import fits_a_cell
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.image.grid import ImageGrid
    from interp.intervene.base import Intervention
    from interp.model.features import ImageFeatures
    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs

ORIGINAL = "original"
"""The order of the untouched model; others are called `seed 3` and `side 4`."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class OrderAnswers:
    """What one sample is answered with its image tokens in order, permuted, and pooled.

    Attributes:
        sample_id: which sample.
        orders: `original`, then `seed 0` and so on for permutations, then `side 4` and so on.
        texts: the answer in each order.
        confidence: float32 [order], largest probability of the answer's first token.
        image_tokens: int32 [order], how many image tokens the prompt has.
    """

    sample_id: str
    orders: tuple[str, ...]
    texts: tuple[str, ...]
    confidence: Float[np.ndarray, " order"]
    image_tokens: Int[np.ndarray, " order"]

    @property
    def agreeing(self) -> float:
        """Share of the permutations under which the answer is that of the untouched model."""
        own = [text for order, text in zip(self.orders, self.texts, strict=True) if order.startswith("seed ")]
        return sum(text == self.texts[0] for text in own) / len(own)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per order: `sample`, `order`, `image_tokens`, `text`, `confidence`."""
        import pandas as pd

        return pd.DataFrame(
            {
                "sample": self.sample_id,
                "order": self.orders,
                "image_tokens": self.image_tokens,
                "text": self.texts,
                "confidence": self.confidence,
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the confidence in each order, with the answers written beside."""
        from probes.position.figures.order import plot_answers

        return plot_answers(self.orders, self.texts, self.confidence, ax)


@dataclass(frozen=True)
class OrderMeasurement:
    """What is asked of one batch: answers in order, under each permutation, and with each number of tokens.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each order.

    Example:
        >>> work = OrderMeasurement.of(vlm, seeds=range(5), sides=(4, 2, 1))
        >>> work.ask(vlm.prepare(photo, "Where is the mug in the photo?"))[0].texts
        ('left', 'left', 'right', 'left', 'left', 'left', 'left', 'left', 'right')
    """

    vlm: HookedVLM
    seeds: tuple[int, ...]
    sides: tuple[int, ...]
    within: str
    prompt: str
    max_new_tokens: int

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        seeds: Iterable[int],
        sides: Iterable[int] = (),
        *,
        within: str = "all",
        prompt: str = "chat",
        max_new_tokens: int = 10,
    ) -> OrderMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
        """
        from interp.intervene.image_pooling import PoolImageTokens
        from interp.intervene.image_tokens import WITHIN, check_seeds
        from interp.model.generation import greedy_settings

        check_model(vlm)
        if within not in WITHIN:
            raise InputError(f"within={within!r} is not known: use one of {', '.join(WITHIN)}")
        pools = tuple(PoolImageTokens(side).side for side in listed(sides, "sides"))
        if len(set(pools)) < len(pools):
            raise InputError(f"sides={pools}: give each once")
        greedy_settings(vlm, max_new_tokens)
        return cls(vlm, check_seeds(seeds), pools, within, prompt, max_new_tokens)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {
            "seeds": list(self.seeds),
            "sides": list(self.sides),
            "within": self.within,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
        }

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked in all of these orders, before the first pass.

        Raises:
            InputError: some can not.
            RefusedError: a family whose prompts can not be shortened.
        """
        from interp.image.photos import check_image
        from interp.intervene.image_pooling import PoolImageTokens
        from interp.study.prompter import prepare_samples

        check_asked(self.vlm, samples, self.prompt, progress=progress)
        known: set[tuple[int, int]] = set()
        for sample in samples:
            size = check_image(sample.image)
            if size in known and self.within not in ("boxes", "outside"):
                continue
            known.add(size)
            grid = self.vlm.grid_of(size)
            try:
                self._permuted([grid], [sample], self.seeds[0])
                for side in self.sides:
                    PoolImageTokens(side).grid(grid)
            except InputError as error:
                raise InputError(f"sample {sample.id!r}: {error}") from error
        if self.sides:
            self._check_prompts(prepare_samples(self.vlm, samples[:1], self.prompt))

    def check_inputs(self, inputs: VLMInputs) -> None:
        """Refuse one prepared batch that can not be asked in all of these orders, before the first pass.

        Raises:
            InputError: it can not.
            RefusedError: a family whose prompts can not be shortened.
        """
        self._permuted(inputs.grids, (), self.seeds[0])
        self._check_prompts(inputs)

    def _check_prompts(self, inputs: VLMInputs) -> None:
        from interp.intervene.image_pooling import PoolImageTokens
        from interp.model.features import kept_in_prompts

        for side in self.sides:
            kept_in_prompts(self.vlm, inputs, PoolImageTokens(side))

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch, with the columns `order`, `image_tokens`, `text` and `confidence`."""
        from interp.study.prompter import prepare_samples

        found = self.ask(prepare_samples(self.vlm, samples, self.prompt), samples)
        return [own.to_dataframe().drop(columns="sample").to_dict("records") for own in found]

    def ask(self, inputs: VLMInputs, samples: Sequence[Sample] = ()) -> list[OrderAnswers]:
        """The answers of each sample of a prepared batch; `samples` tell the boxes, where these are asked for.

        Raises:
            ModelError: what the model says is not finite.
        """
        from interp.model.features import ImageFeatures

        answer, features = ImageFeatures.with_answers(self.vlm, inputs, self.max_new_tokens)
        found = self.ask_again(features, answer, samples)
        for own in found:
            refuse_overflow(own.confidence, own.sample_id, "confidences")
        return found

    def ask_again(
        self,
        features: ImageFeatures,
        answer: Generation,
        samples: Sequence[Sample] = (),
        *,
        edit: Intervention | None = None,
    ) -> list[OrderAnswers]:
        """The same of features that are known, beside their answer in order, all of it under an edit of the tokens."""
        from interp.intervene.base import Chain, Untouched

        inputs, before = features.inputs, Untouched() if edit is None else edit
        found: dict[str, tuple[ImageFeatures, Generation]] = {ORIGINAL: (features, answer)}
        for seed in self.seeds:
            both = Chain((before, self._permuted(inputs.grids, samples, seed)))
            found[f"seed {seed}"] = features, features.generate(self.max_new_tokens, intervention=both)
        for side in self.sides:
            fewer = features.pooled(side)
            found[f"side {side}"] = fewer, fewer.generate(self.max_new_tokens, intervention=edit)
        names = [sample.id for sample in samples] or [""] * len(inputs)
        return [_of_sample(name, place, found) for place, name in enumerate(names)]

    def _permuted(self, grids: Sequence[ImageGrid], samples: Sequence[Sample], seed: int) -> Intervention:
        from interp.intervene.image_tokens import permute_image_tokens

        boxes = None
        if self.within in ("boxes", "outside"):
            boxes = [[thing.box for thing in sample.objects if thing.box is not None] for sample in samples]
            for sample, own in zip(samples, boxes, strict=True):
                if not own:
                    raise InputError(f"within={self.within!r}, but no object of {sample.id!r} has a box")
        return permute_image_tokens(list(grids), seed, within=self.within, boxes=boxes)


def _of_sample(name: str, place: int, found: dict[str, tuple[ImageFeatures, Generation]]) -> OrderAnswers:
    """The answers of one sample of a batch."""
    return OrderAnswers(
        sample_id=name,
        orders=tuple(found),
        texts=tuple(answer.texts[place] for _, answer in found.values()),
        confidence=np.array([answer.confidence[place] for _, answer in found.values()], dtype=np.float32),
        image_tokens=np.array([len(own.inputs.grids[place]) for own, _ in found.values()], dtype=np.int32),
    )
