"""What is collected of a batch: its answers, whether they are right, and what every head puts out at their tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError
from interp.model.forced import forced_tokens
from interp.numeric import whole_number
from interp.study.prompter import batches, prepare_samples
from probes.heads.activations.checks import check_answers, check_items, check_lengths, functions_of
from probes.heads.activations.features import POSITIONS
from probes.heads.activations.hearing import HeardAnswers, hear_forced, hear_own
from probes.heads.activations.judged import judged
from probes.heads.activations.positions import ALIGNMENTS, SaidAnswer, choose
from probes.heads.activations.writes import WRITES, head_writes
from probes.heads.activations.z_shards import STORED, HeadAxes, narrowed, write_shard
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs

ANSWERS = ("own", "reference", "given")
"""Whose answers are heard: the model's own, greedy; the right ones; or such as an item's `meta["answer"]` has."""

GIVEN = "given_answer"
"""Where an item's `meta` has the answer that is forced."""

NOTHING = "the model said nothing"
"""Why an item has no activations."""

Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class HeadMeasurement:
    """What is collected of each batch of items.

    Attributes:
        vlm: the model.
        answers: whose answers, see `ANSWERS`.
        tokens: which tokens of an answer, see `probes.heads.activations.positions.choose`.
        k: how many tokens `topk` takes at most.
        alignment: `at` a chosen token, or at the position before it, which `predicts` it.
        read: `z`, what a head mixes, before the output projection; `write`, what that adds to the residual stream;
            `write_norm`, the length of that.
        store: what the numbers are kept as.
        max_new_tokens: the most tokens that an answer has.
        prompt: prompt style.
        folder: where shards are written; None writes none.
        numbers: by id of an item, the number of its batch.

    Example:
        >>> work = HeadMeasurement.of(vlm, items, tokens="last")
        >>> rows, z = work.measure(items[:4])
        >>> z.shape  # item layer head d_head
        (4, 6, 8, 16)
    """

    vlm: HookedVLM
    answers: str = "own"
    tokens: str = "topk"
    k: int = 3
    alignment: str = "at"
    read: str = "z"
    store: str = "float32"
    max_new_tokens: int = 32
    prompt: str = "chat"
    folder: Path | None = None
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_model(self.vlm)
        known = {
            "answers": ANSWERS,
            "tokens": POSITIONS,
            "alignment": ALIGNMENTS,
            "read": WRITES,
            "store": tuple(STORED),
        }
        for name, own in known.items():
            if getattr(self, name) not in own:
                raise InputError(f"{name}={getattr(self, name)!r:.60} is not known: use one of {', '.join(own)}")
        for name in ("k", "max_new_tokens"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, 1))

    @classmethod
    def of(cls, vlm: HookedVLM, items: Sequence[Sample], *, batch: int = 16, **settings: Any) -> HeadMeasurement:
        """The measurement of some items, whose shards go by their batches; settings are its attributes."""
        numbers = {items[place].id: number for number, own in enumerate(batches(items, batch)) for place in own}
        return cls(vlm, numbers=numbers, **settings)

    @property
    def axes(self) -> HeadAxes:
        """How many numbers each item has."""
        own = self._z_axes
        widths = {"z": own.width, "write": self.vlm.cfg.d_model, "write_norm": 1}
        return own._replace(width=widths[self.read])

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the items."""
        names = ("answers", "tokens", "k", "alignment", "read", "store", "max_new_tokens", "prompt")
        return {**{name: getattr(self, name) for name in names}, "axes": list(self.axes)}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse items that can not be asked, or whose answers can not be heard, before the first pass.

        Raises:
            InputError: no photo or one that can not be read, a prompt that can not be made or is too long for the
                model, functions that are no list of names, an answer to force that is empty or too long.
            RefusedError: an output projection that can not be read, where its writes are asked for.
        """
        check_items(samples)
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if self.read != "z":
            head_writes(self.vlm, np.zeros((1, *self._z_axes), np.float32))
        longest = self.max_new_tokens
        if self.answers != "own":
            longest = check_answers(self.vlm, samples, self.said_of, self.prompt, self.max_new_tokens)
        check_lengths(self.vlm, samples, self.prompt, longest)

    def said_of(self, sample: Sample) -> str:
        """The answer that is forced."""
        return str(sample.meta.get(GIVEN, "")) if self.answers == "given" else sample.answer

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The row of each item, once what its heads put out is on the disk.

        Raises:
            InputError: a shard that can not be written, or numbers too large to be kept.
            ModelError: numbers that are not finite.
        """
        rows, values = self.measure(samples)
        return [[row] for row in self.keep(samples, rows, values)]

    def keep(
        self,
        samples: Sequence[Sample],
        rows: Sequence[dict[str, Any]],
        values: Float[np.ndarray, "item layer head width"],
    ) -> list[dict[str, Any]]:
        """Write what the heads of a batch put out; the rows with the shard, its digest, and the place in it."""
        kept: list[str] = []
        number, told = self.numbers[samples[0].id], []
        for sample, row in zip(samples, rows, strict=True):
            told.append({**row, "shard": number, "place": None if row["why"] else len(kept)})
            if not row["why"]:
                kept.append(sample.id)
        known_by = write_shard(self.folder, number, values, kept) if self.folder is not None and kept else None
        return [{**row, "shard_sha256": known_by} for row in told]

    def measure(
        self, samples: Sequence[Sample]
    ) -> tuple[list[dict[str, Any]], Float[np.ndarray, "item layer head width"]]:
        """The row of each item, and what its heads put out; items that have no answer have none."""
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        heard = self.hear(inputs, samples)
        said = [SaidAnswer.of(own, self._decode) for own in heard.tokens]
        told = judged(samples, [own.answer for own in said])
        rows, found = [], []
        for place, sample in enumerate(samples):
            row, states = self._row(sample, said[place], heard, place, told[place])
            rows.append(row)
            if states:
                found.append(heard.mean(place, states).cpu().numpy())
        kept = [sample.id for sample, row in zip(samples, rows, strict=True) if row["why"] is None]
        z = np.stack(found) if found else np.zeros((0, *self._z_axes), np.float32)
        return rows, narrowed(self._read(z), self.store, kept)

    def hear(self, inputs: VLMInputs, samples: Sequence[Sample]) -> HeardAnswers:
        """Run a batch: the model answers, or is made to."""
        if self.answers == "own":
            options: Options = {"at_tokens": self.alignment == "at", "only_first": self.tokens == "first"}
            return hear_own(self.vlm, inputs, self.max_new_tokens, **options)
        texts = map(self.said_of, samples)
        return hear_forced(
            self.vlm, inputs, [forced_tokens(self.vlm, *own) for own in zip(inputs.prompts, texts, strict=True)]
        )

    def _row(
        self, sample: Sample, said: SaidAnswer, heard: HeardAnswers, place: int, right: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[int]]:
        """What is told of an item, and the states that its activations are the mean of."""
        chances, spoke = heard.log_probs[place], bool(said.span)
        choice = choose(self.tokens, said, chances, k=self.k, right=right["correct"]) if spoke else None
        chosen = choice.tokens if choice else ()
        row = {
            "group": sample.group or sample.id,
            "functions": json.dumps(list(functions_of(sample))),
            "gold": sample.answer,
            "text": said.text.strip(),
            "answer": said.answer,
            **right,
            "finished": heard.finished[place],
            "tokens": json.dumps([said.text[start:end] for start, end in said.pieces]),
            "log_probs": json.dumps([float(own) for own in chances]),
            "chosen": json.dumps(list(chosen)),
            "rule": choice.rule if choice else None,
            "log_prob": float(chances.sum(dtype=float)) if spoke else None,
            "perplexity": float(np.exp(-chances.mean(dtype=float))) if spoke else None,
            "why": None if spoke else NOTHING,
        }
        return row, [token + (self.alignment == "at") for token in chosen]

    def _read(self, z: Float32[np.ndarray, "item layer head d_head"]) -> Float32[np.ndarray, "item layer head width"]:
        """What is kept of the mean z of some items."""
        if self.read == "z":
            return z
        writes = head_writes(self.vlm, z)
        return writes if self.read == "write" else np.linalg.norm(writes, axis=-1, keepdims=True)

    def _decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens, without special ones."""
        options: Options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return str(self.vlm.processor.tokenizer.decode(list(tokens), **options))

    @property
    def _z_axes(self) -> HeadAxes:
        shape = self.vlm.cfg
        return HeadAxes(shape.n_layers, shape.n_heads, shape.d_head)
