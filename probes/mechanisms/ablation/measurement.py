"""Answers with the order of items taken out: one batch, the vision tower run once for each photo and reference."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.image.digests import photo_digest
from interp.stats.draws import own_draws
from probes.mechanisms.ablation.ordered_photos import OrderedPhoto, with_ordering_kept, without_ordering
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from torch import Tensor

    from interp.image.photos import ImageSource
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

UNTOUCHED, ABLATED, KEPT, RANDOM = "untouched", "ordering removed", "ordering kept", "random tokens"
"""What a photo is asked with: as it is; without ordering; the same replaced and ordering kept; and as many tokens as
items have, drawn at random among the others, blank."""

ARMS = (UNTOUCHED, ABLATED, KEPT, RANDOM)

KNOWN = 64
"""Reference photos whose image tokens are kept for the next batches."""


@dataclass(frozen=True)
class AblationMeasurement:
    """What is asked of one batch of ordered photos: answers in each arm.

    It is what `run_study` calls, through samples that stand for the photos: `work(samples)` gives, for each, a row for
    each arm.
    """

    vlm: HookedVLM
    photos: dict[str, OrderedPhoto]
    prompt: str
    max_new_tokens: int
    seed: int
    known: OrderedDict[str, Tensor] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        photos: Sequence[OrderedPhoto],
        *,
        prompt: str = "chat",
        max_new_tokens: int = 10,
        seed: int = 0,
    ) -> AblationMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
            RefusedError: a model with DeepStack.
        """
        from interp.intervene.image_hooks import refuse_deepstack
        from interp.model.generation import greedy_settings
        from interp.stats.draws import check_seed

        check_model(vlm)
        check_seed(seed)
        refuse_deepstack(vlm.cfg, "the ablation of ordering")
        greedy_settings(vlm, max_new_tokens)
        if not isinstance(photos, Sequence):
            raise InputError(f"the photos are a {type(photos).__name__}: give a list of OrderedPhoto")
        if strangers := [one for one in photos if not isinstance(one, OrderedPhoto)]:
            raise InputError(f"{type(strangers[0]).__name__} is no OrderedPhoto: give such, with reference photos")
        return cls(vlm, {one.sample.id: one for one in photos}, prompt, max_new_tokens, int(seed))

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        settings = {"prompt": self.prompt, "max_new_tokens": self.max_new_tokens, "control_seed": self.seed}
        return {"arms": list(ARMS), **settings}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse photos that can not be asked, before the first pass.

        Raises:
            InputError: a sample that can not be asked, reference photos of another size or form, or items outside.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        for sample in samples:
            photo = self.photos[sample.id]
            try:
                photo.check_grid(self.vlm.grid_of(sample.image), self.vlm.grid_of)
            except InputError as error:
                raise InputError(f"photo {sample.id!r}: {error}") from error

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each photo of a batch, with the columns `arm`, `text` and `confidence`."""
        from interp.model.features import ImageFeatures
        from interp.study.prompter import prepare_samples

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        whole, features = ImageFeatures.with_answers(self.vlm, inputs, self.max_new_tokens)
        answers = {UNTOUCHED: whole}
        photos = [self.photos[sample.id] for sample in samples]
        for arm, edit in self.edits(photos, samples[0].question).items():
            answers[arm] = features.generate(self.max_new_tokens, intervention=edit)
        return [
            [
                {"arm": arm, "text": own.texts[place], "confidence": own.confidence[place]}
                for arm, own in answers.items()
            ]
            for place in range(len(samples))
        ]

    def edits(
        self, photos: Sequence[OrderedPhoto], question: str, arms: Sequence[str] = ARMS[1:]
    ) -> dict[str, Intervention]:
        """The edit of each of these arms, for a batch of photos; their references alone run, with this question."""
        from interp.intervene.base import PerSample

        each: dict[str, list[Intervention]] = {arm: [] for arm in arms}
        for photo in photos:
            needed = {ABLATED: photo.centred, KEPT: photo.placed, RANDOM: ()}
            references = [photo.blank, *(one for arm in arms for one in needed[arm])]
            blank, *others = self._tokens(references, question)
            for arm in arms:
                own = [others.pop(0) for _ in needed[arm]]
                each[arm].append(self._edit(arm, photo, own, blank))
        return {arm: PerSample(tuple(own)) for arm, own in each.items()}

    def _edit(self, arm: str, photo: OrderedPhoto, references: Sequence[Tensor], blank: Tensor) -> Intervention:
        """The edit of one arm, for one photo."""
        if arm == ABLATED:
            return without_ordering(photo.items, photo.middle, references, blank)
        return with_ordering_kept(photo.items, references, blank) if arm == KEPT else self._random(photo, blank)

    def _random(self, photo: OrderedPhoto, blank: Tensor) -> Intervention:
        """As many tokens as all items have, among those of no item, made blank; all of these if they are fewer."""
        from interp.intervene.image_replacement import ReplaceImageTokens

        others = photo.others(len(blank))
        rng = own_draws(self.seed, photo.sample.id)
        count = min(sum(map(len, photo.items)), len(others))
        return ReplaceImageTokens(blank, tuple(rng.choice(others, count, replace=False).tolist()))

    def _tokens(self, images: Sequence[ImageSource], question: str) -> list[Tensor]:
        """The image tokens of reference photos, which are the same whatever is asked; the last few are kept."""
        from interp.image.photos import load_image
        from interp.model.features import ImageFeatures

        photos = [load_image(image) for image in images]
        keys = [photo_digest(photo) for photo in photos]
        found = {key: self.known[key] for key in keys if key in self.known}
        missing = {key: photo for key, photo in zip(keys, photos, strict=True) if key not in found}
        if missing:
            prompt = self.prompt if self.prompt != "raw" else "chat"
            inputs = self.vlm.prepare(list(missing.values()), [question] * len(missing), prompt=prompt)
            tokens = ImageFeatures.capture(self.vlm, inputs).tokens()
            found |= {key: own.clone() for key, own in zip(missing, tokens, strict=True)}  # a part would keep them all
        for key in keys:
            self.known[key] = found[key]
            self.known.move_to_end(key)
        while len(self.known) > KNOWN:
            self.known.popitem(last=False)
        return [found[key] for key in keys]
