"""Answers to a harness: greedy answers up to a stop, and likelihoods of continuations, under a policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from adaptvis.harness.requests import Asked, read_continuation, read_generation
from adaptvis.harness.settings import Always
from adaptvis.policy.answering import of_policy
from adaptvis.policy.policies import Baseline, Policy, ScalingVis
from interp.errors import InputError, SpatialLensError
from interp.intervene.base import Intervention, PerSample, hooks_of
from interp.model.forced import forced_tokens
from interp.model.guided import generate_until, score_answers

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


class Answers:
    """A model under a policy, that answers requests of a harness, each with one photo or none.

    Attributes:
        vlm: the model.
        policy: which intervention each sample gets.
        prompt: the style of the prompts; without a photo `chat` stands for `paper` too.
        batch: samples that run together.
        name: model, policy and all that answers depend on, as text.
    """

    def __init__(self, vlm: HookedVLM, policy: Policy, *, prompt: str = "chat", batch: int = 1) -> None:
        """Keep what answers."""
        from interp.model.record import record

        self.vlm, self.policy, self.prompt, self.batch = vlm, policy, prompt, batch
        said = record(vlm)
        of_model = ("model", "revision", "processor", "image_backend", "adapters", "dtype")
        told = {name: said.get(name) for name in of_model}
        parts = (*told.values(), said["weights"]["sha256"], policy, getattr(policy, "confidence", ""), prompt)
        self.name = "spatial-lens | " + " | ".join(map(str, parts))

    def generate_until(self, requests: Sequence[tuple[Any, ...]], tasks: Mapping[str, Any]) -> list[str]:
        """Greedy answers; all requests are read before the first is asked.

        Args:
            requests: context, settings of the generation, `doc_to_visual`, document, task and split of each.
            tasks: documents by task and split.

        Raises:
            InputError: settings that are not greedy decoding, or that are not known; more than one photo, or none that
                can be read, or none where the policy edits the image; naming task and document.
        """
        asked = [read_generation(request, tasks, self.vlm.processor.image_token) for request in requests]
        self._check_without_photo(asked)
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, one in enumerate(asked):
            groups[one.photo is None, one.stops, one.max_new_tokens].append(place)
        answers = [""] * len(asked)
        for places in self._batches(groups.values()):
            own = [asked[place] for place in places]
            inputs, intervention = self._ready(own)
            most, stops = own[0].max_new_tokens, own[0].stops
            texts = generate_until(self.vlm, inputs, stops, max_new_tokens=most, intervention=intervention)
            for place, text in zip(places, texts, strict=True):
                answers[place] = text
        return answers

    def loglikelihood(self, requests: Sequence[tuple[Any, ...]], tasks: Mapping[str, Any]) -> list[tuple[float, bool]]:
        """The log-probability of each continuation in nats, and whether it is what the model would say greedily.

        A continuation is read as the answer to its context, white space around it left out: as the model would say it.
        Of an empty one the probability is one.

        Args:
            requests: context, continuation (a text, or a function of the document), `doc_to_visual`, document, task
                and split of each.
            tasks: documents by task and split.

        Raises:
            InputError: see `generate_until`.
        """
        asked = [read_continuation(request, tasks, self.vlm.processor.image_token) for request in requests]
        self._check_without_photo(asked)
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, one in enumerate(asked):
            if one.continuation.strip():
                groups[one.photo is None].append(place)
        found = [(0.0, True)] * len(asked)
        for places in self._batches(groups.values()):
            own = [asked[place] for place in places]
            inputs, intervention = self._ready(own)
            tokens = [
                forced_tokens(self.vlm, prompt, one.continuation)
                for prompt, one in zip(inputs.prompts, own, strict=True)
            ]
            chances, greedy = score_answers(self.vlm, inputs, tokens, intervention=intervention)
            for place, own_chances, best in zip(places, chances, greedy, strict=True):
                found[place] = float(own_chances.double().sum()), best
        return found

    def _batches(self, groups: Any) -> list[list[int]]:
        return [places[start : start + self.batch] for places in groups for start in range(0, len(places), self.batch)]

    def _ready(self, asked: Sequence[Asked]) -> tuple[VLMInputs, Intervention]:
        """A batch, and what its samples are answered under."""
        inputs = self._inputs(asked)
        chosen = PerSample(tuple(self.policy.choose(sure) for sure in self._confidences(inputs)))
        return inputs, chosen

    def _inputs(self, asked: Sequence[Asked]) -> VLMInputs:
        """A batch, all of it with photos or without."""
        photos, texts = [one.photo() for one in asked if one.photo is not None], [one.text for one in asked]
        try:
            if photos:
                return self.vlm.prepare(photos, texts, prompt=self.prompt)
            return self.vlm.prepare_words(texts, prompt="raw" if self.prompt == "raw" else "chat")
        except SpatialLensError as error:
            raise InputError(f"{', '.join(one.where for one in asked)}: {error}") from error

    def _check_without_photo(self, asked: Sequence[Asked]) -> None:
        """Refuse requests without a photo under a policy that edits the image, before anything is asked."""
        bare = [one for one in asked if one.photo is None]
        if not bare:
            return
        inputs = self._inputs(bare[:1])
        try:
            for sure in (0.0, 1.0):
                hooks_of(self.policy.choose(sure), self.vlm.cfg, inputs.layouts)
        except Exception as error:
            why = " ".join(str(error).split())[:240]
            more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
            raise InputError(
                f"{bare[0].where}{more}: {self.policy} can not be applied to a question without a photo "
                f"({type(error).__name__}: {why}): choose tasks of photos, or policy=baseline"
            ) from error

    def _confidences(self, inputs: VLMInputs) -> list[float]:
        """What the policy goes by; of one that goes by nothing no run is needed."""
        if isinstance(self.policy, (Baseline, ScalingVis, Always)):
            return [1.0] * len(inputs)
        with torch.no_grad():
            logits = self.vlm(inputs, logits_to_keep=1).logits[:, -1].float()
        return of_policy(self.policy, self.vlm.processor.tokenizer, logits, [()] * len(inputs))
