"""What is measured of a batch: its answers, and what the model thinks of the right ones, under the edit of each arm."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.intervene.base import Intervention, Untouched
from interp.model.features import ImageFeatures
from interp.model.forced import forced_tokens
from interp.model.prefix import Prefix
from interp.numeric import read_flag, whole_number
from interp.objects.refusals import all_of
from interp.study.prompter import prepare_samples
from probes.heads.activations.checks import check_answers, check_lengths
from probes.heads.activations.judged import judged
from probes.heads.evaluation.edits import check_regions
from probes.heads.evaluation.forced import forced_chances
from probes.heads.evaluation.where import check_positions, positions_of
from probes.study.finite import refuse_overflow, refuse_unsaid
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from probes.heads.evaluation.arms import Arm
    from probes.heads.evaluation.edits import HeadEdit

MAIN, CONTROL, TEXTS = "main", "control", "texts"
"""Tasks: the questions that the heads should serve, others that they should not, and texts that are only read."""

NO_LIMIT = 10**9
"""Of the tokens of a text that is only read; whether it fits the model is checked beside it."""


@dataclass(frozen=True, eq=False)
class HeadEvaluationMeasurement:
    """What is measured of each batch under each arm.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each arm.

    Attributes:
        vlm: the model.
        edit: what is done with heads.
        arms: the arms, the untouched one first.
        tasks: by id of a sample, its task.
        prompt: prompt style.
        max_new_tokens: the most tokens of an answer.
        perplexity: whether right answers are forced as well.
        train: what tells training samples from others, for the record.
    """

    vlm: HookedVLM
    edit: HeadEdit
    arms: tuple[Arm, ...]
    tasks: Mapping[str, str] = field(repr=False)
    prompt: str = "chat"
    max_new_tokens: int = 10
    perplexity: bool = True
    train: str = ""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_model(self.vlm)
        object.__setattr__(self, "max_new_tokens", whole_number(self.max_new_tokens, "max_new_tokens", 1))
        object.__setattr__(self, "perplexity", read_flag(self.perplexity, "perplexity"))

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        own, sinks = self.edit, self.edit.sinks
        digest = (
            "" if sinks is None else hashlib.sha256(np.packbits(np.asarray(sinks, dtype=bool)).tobytes()).hexdigest()
        )
        counts = {task: list(self.tasks.values()).count(task) for task in (MAIN, CONTROL, TEXTS)}
        return {
            **{name: getattr(own, name) for name in ("edit", "positions", "scope", "unit")},
            "sinks": digest,
            "edit_seed": own.seed,
            "arms": [{**asdict(arm), "heads": [list(head) for head in arm.heads]} for arm in self.arms],
            "tasks": counts,
            "train": self.train,
            **{name: getattr(self, name) for name in ("prompt", "max_new_tokens", "perplexity")},
        }

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be measured, before the first pass.

        Raises:
            InputError: a sample that can not be asked, an answer that can not be forced, a prompt that is too long, no
                word that names an object where these are edited, no box of some size to turn heads towards, or a photo
                with another number of tokens than sinks are given for.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        longest = self.max_new_tokens
        if self.perplexity:
            forced = check_answers(self.vlm, samples, lambda sample: sample.answer, self.prompt, NO_LIMIT)
            longest = max(longest, forced)
        check_lengths(self.vlm, samples, self.prompt, longest)
        check_positions(self.edit.positions, self.vlm, samples, self.prompt)
        if self.edit.edit == "bias":
            check_regions(self.vlm, samples)
        if self.edit.edit == "redistribute":
            self._check_sinks(samples)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample: `task`, `arm`, what is said and whether it is right, and the right answer's chance.

        Raises:
            ModelError: numbers that are not finite, as happens where an edit takes a model out of its range.
        """
        features = ImageFeatures.capture(self.vlm, prepare_samples(self.vlm, samples, self.prompt))
        edits = self.edits(samples, features.inputs)
        done = [Untouched(), *edits.values()]  # an arm that edits nothing is the untouched one, and is not run again
        shares = self.edit.alone and "prefix" not in self.vlm.family.refusals
        prefix = Prefix(self.vlm, features.inputs, features=features) if shares else None
        said = self._said(features, prefix, samples, done)
        known = self._known(features, prefix, samples, done)
        place = {name: number for number, name in enumerate(edits, start=1)}
        return [
            [
                {
                    "task": self.tasks[sample.id],
                    "arm": arm.name,
                    "edits": arm.name in edits,
                    **said[place.get(arm.name, 0)][own],
                    **known[place.get(arm.name, 0)][own],
                }
                for arm in self.arms
            ]
            for own, sample in enumerate(samples)
        ]

    def edits(self, samples: Sequence[Sample], inputs: VLMInputs) -> dict[str, Intervention]:
        """What each arm does with a batch; those that do nothing are left out."""
        positions = positions_of(self.edit.positions, self.vlm, samples, inputs)
        every = {arm.name: self.edit.of_batch(arm, samples, inputs, positions) for arm in self.arms}
        return {name: edit for name, edit in every.items() if edit.hooks(self.vlm.cfg, inputs.layouts)}

    def _said(
        self,
        features: ImageFeatures,
        prefix: Prefix | None,
        samples: Sequence[Sample],
        edits: Sequence[Intervention],
    ) -> list[list[dict[str, Any]]]:
        """What each sample is answered under each edit, and whether that is right; texts are not asked."""
        nothing = dict.fromkeys(("text", "predicted", "correct", "parsed", "confidence"))
        asked = [self.tasks[sample.id] != TEXTS for sample in samples]
        if not any(asked):
            return [[nothing] * len(samples)] * len(edits)
        found = []
        for answer in self._answers(features, prefix, edits):
            refuse_unsaid(answer, [sample.id for sample in samples])
            each = zip(answer.texts, judged(samples, answer.texts), answer.confidence, asked, strict=True)
            rows = [{"text": text, **told, "confidence": sure} if ask else nothing for text, told, sure, ask in each]
            found.append(rows)
        return found

    def _answers(
        self, features: ImageFeatures, prefix: Prefix | None, edits: Sequence[Intervention]
    ) -> list[Generation]:
        """Greedy answers under each edit: from one prefill where no row before the last one is edited."""
        if prefix is not None:
            return prefix.generate(edits, self.max_new_tokens)
        return [features.generate(self.max_new_tokens, intervention=edit) for edit in edits]

    def _known(
        self,
        features: ImageFeatures,
        prefix: Prefix | None,
        samples: Sequence[Sample],
        edits: Sequence[Intervention],
    ) -> list[list[dict[str, Any]]]:
        """The log-probability of each right answer under each edit, its tokens summed, and how many these are."""
        if not self.perplexity:
            return [[{"log_prob": None, "tokens": None}] * len(samples)] * len(edits)
        each = zip(features.inputs.prompts, samples, strict=True)
        answers = [forced_tokens(self.vlm, prompt, sample.answer) for prompt, sample in each]
        found = []
        for chances in forced_chances(features, answers, edits, prefix=prefix):
            sums = [float(own.double().sum()) for own in chances]
            for sample, one in zip(samples, sums, strict=True):
                refuse_overflow(np.array([one]), sample.id, "log-probabilities")
            pairs = zip(sums, answers, strict=True)
            found.append([{"log_prob": one, "tokens": len(answer)} for one, answer in pairs])
        return found

    def _check_sinks(self, samples: Sequence[Sample]) -> None:
        sinks = np.asarray(self.edit.sinks)
        counts = {sample.id: len(self.vlm.grid_of(sample.image)) for sample in samples}
        errors = [
            InputError(
                f"sample {name!r} has {count} image tokens, and sinks are given for {sinks.shape[-1]}: give samples "
                "whose photos lie on one grid, and sinks of that"
            )
            for name, count in counts.items()
            if count != sinks.shape[-1]
        ]
        if errors:
            raise all_of(errors, f"of {len(samples)} samples do not fit the sinks")
