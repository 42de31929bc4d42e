"""Prefix: one prefill, many interventions on the last prompt row and on what follows, each at the price of one token.

Rows before the last one are the same whatever is done to the last one, so their keys and values are computed once and
kept. Where the cache can give back its last position, the same run tells what the untouched last row says. An
intervention that touches earlier rows does not fit and is refused.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from interp.compat import cache_in, cache_name
from interp.errors import HookError, InputError
from interp.hooks.attention import sharing
from interp.hooks.cache import Keep
from interp.hooks.rows import ROW_POINTS, RowHook
from interp.hooks.shared_keys import shared_cache, whole_cache
from interp.intervene.base import Hook, Intervention, PerSample, check_intervention, hooks_of, spread
from interp.intervene.position_hooks import DECODED, PositionHook, is_position_point
from interp.model.generation import Generation, as_generation, end_tokens, greedy_settings, same_positions
from interp.numeric import whole_number, whole_numbers
from interp.options import ANSWERS, known_options
from interp.prompt.layout import TokenLayout
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from transformers import DynamicCache

    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs


class KnownPhotos(Protocol):
    """The photos of a batch as the language model receives them, such as `ImageFeatures`."""

    def given_to(self, inputs: VLMInputs) -> AbstractContextManager[VLMInputs]:
        """Give them to a batch about the same photos, and hand it out without pixels."""


@fits_a_cell()
@dataclass(frozen=True)
class Step:
    """What the last prompt row says under each intervention.

    Attributes:
        logits: float32 next-token logits [intervention batch vocab].
        captured: kept activations by hook name, [intervention batch head row key].
    """

    logits: Float[Tensor, "intervention batch vocab"]
    captured: dict[str, Tensor]

    @property
    def confidence(self) -> list[list[float]]:
        """Largest next-token probability, over the whole vocabulary, fp32 and not rounded [intervention][sample]."""
        return self.logits.softmax(-1).amax(-1).tolist()


@fits_a_cell("vlm.origin.model length inputs chunk")
class Prefix:
    """The shared prefill of one batch of prompts.

    Example:
        >>> prefix = Prefix(vlm, vlm.prepare(photo, "Where is the mug in the photo?"))
        >>> prefix.step([ScaleImageLogits(alpha) for alpha in (0.5, 1.0, 1.5)]).logits.shape
        torch.Size([3, 1, 32064])

    Raises:
        HookError: hooks are on, which would be baked into the kept keys and values.
        InputError: a prompt of a single token, or that ends with the image, or a chunk that is none.
        RefusedError: a family whose earlier rows depend on the last one; see `share_prefill`.
    """

    @known_options()
    def __init__(
        self, vlm: HookedModel, inputs: VLMInputs, *, chunk: int = 64, features: KnownPhotos | None = None
    ) -> None:
        """Run the prompt once: up to its last token, and with it where its keys can be taken off again.

        Args:
            vlm: the model.
            inputs: one batch; its samples may differ in length.
            chunk: the most rows (interventions times samples) in one step, to bound memory.
            features: the `ImageFeatures` of this batch, where they are known: the vision tower is not run then.
        """
        self.vlm, self.inputs, self.chunk, self._features = vlm, inputs, whole_number(chunk, "chunk", 1), features
        self.length = inputs.input_ids.shape[1]
        if self.length < 2:
            raise InputError("the prompt has a single token, so there is nothing to share: run it as it is")
        if any(layout.kinds[-1] == "image" for layout in inputs.layouts):
            raise InputError("the prompt ends with the image, which can not be cut: let some text follow it")
        vlm.require("prefix")
        with vlm.turn():
            self._fill()

    def _fill(self) -> None:
        """Run what all interventions share; keep its keys and values, and what the last row says where it ran too."""
        self._check_ready()
        cache = whole_cache(self.vlm.model.config)
        with same_positions(self.vlm.model):
            output = self._prefill(cache)
            # of families whose positions count the image as fewer than its tokens
            self._position_shift = getattr(self.vlm.model.model, "rope_deltas", None)
        self._cache = cache_in(output)
        self._said = None if cache is None else output.logits[:, -1].float()

    @known_options()
    def step(
        self,
        interventions: Sequence[Intervention],
        *,
        capture: Sequence[str] = (),
        samples: Sequence[int] | None = None,
    ) -> Step:
        """Run the last prompt row once under each intervention.

        Args:
            interventions: any number; `PerSample` gives each of the samples its own.
            capture: hook names on logits, scores or pattern to keep for that row.
            samples: the samples of the batch to run; all by default.

        Raises:
            HookError: an intervention touches earlier rows, a name matches nothing, or hooks are on.
            InputError: no intervention, one for each of another number of samples, or samples that there are not.
        """
        _check_several(interventions)
        chosen = _read_samples(samples, len(self.inputs))
        with self.vlm.turn():
            parts = [step for _, _, step in self._parts(interventions, chosen, capture)]
        captured = {name: torch.cat([part.captured[name] for part in parts]) for name in parts[0].captured}
        return Step(torch.cat([part.logits for part in parts]), captured)

    @known_options(ANSWERS)
    def generate(self, interventions: Sequence[Intervention], max_new_tokens: int = 10) -> list[Generation]:
        """Answer greedily under each intervention; one `Generation` per intervention.

        Raises:
            HookError: see `step`.
        """
        _check_several(interventions)
        settings = greedy_settings(self.vlm, max_new_tokens)
        chosen = list(range(len(self.inputs)))
        answers: list[Generation] = []
        with self.vlm.turn():
            for part, cache, step in self._parts(interventions, chosen, ()):
                edits = [(name, hook) for name, hook in self._hooks(part, chosen) if hook.query_rows in DECODED]
                with self.vlm.hooks(edits), sharing(self.vlm.text_attentions, cache.layers):
                    tokens = self._decode(cache, step.logits.argmax(-1).flatten(), len(part), settings)
                apart = rearrange(tokens, "(times sample) step -> times sample step", times=len(part))
                answers += [
                    as_generation(self.vlm, own, settings, first) for own, first in zip(apart, step.logits, strict=True)
                ]
        return answers

    def last_row(self, hooks: Sequence[tuple[str, Callable[..., Any]]]) -> Float[Tensor, "batch vocab"]:
        """Run the last prompt row once under hook functions on it; next-token logits, in the model's own dtype.

        Gradients flow where they are on, from what the functions mark, and through the last row alone: no other row
        depends on it.

        Raises:
            HookError: a name that is no attention row of the language model, or hooks are on.
        """
        _check_names(hooks)
        with self.vlm.turn():
            self._check_ready()
            return self._last_rows(hooks, list(range(len(self.inputs))), 1)[1]

    def _prefill(self, cache: DynamicCache | None) -> Any:
        """The run that is shared: of the whole prompt into `cache` if there is one, else of all tokens but the last."""
        inputs = _without_last(self.inputs) if cache is None else self.inputs
        kept = {} if cache is None else {cache_name(self.vlm.model): cache}
        known = nullcontext(inputs) if self._features is None else self._features.given_to(inputs)
        with torch.no_grad(), known as given:
            return self.vlm.model(**given.tensors, **kept, use_cache=True, logits_to_keep=1)

    def _check_ready(self) -> None:
        self.vlm.check_ready(adding=True)
        if any(point.has_hooks() for point in self.vlm.hook_dict.values()):
            raise HookError("hooks are on: use a Prefix outside of them, and give it interventions instead")

    def _parts(
        self, interventions: Sequence[Intervention], samples: list[int], capture: Sequence[str]
    ) -> Iterator[tuple[list[Intervention], Any, Step]]:
        """Interventions by the chunk, with the cache and the step of each chunk.

        Where none of them edits anything, the prefill has said it all. Beside one that does, the untouched row is run
        like the others, so that what is compared was computed alike.
        """
        self._check_ready()
        known = self._said is not None and not capture and not self._edit_anything(interventions, samples)
        many = max(self.chunk // max(len(samples), 1), 1)
        for start in range(0, len(interventions), many):
            part = list(interventions[start : start + many])
            yield part, *(self._known(part, samples) if known else self._run(part, samples, capture))

    def _edit_anything(self, interventions: Sequence[Intervention], samples: list[int]) -> bool:
        return any(self._hooks([each], samples) for each in interventions)

    def _known(self, interventions: list[Intervention], samples: list[int]) -> tuple[Any, Step]:
        """The step of every (intervention, sample) pair that edits nothing: the last row of the prefill."""
        assert self._said is not None
        said = repeat(self._said[samples], "sample vocab -> times sample vocab", times=len(interventions))
        own = said.contiguous()  # no intervention's logits are a view of another's
        return shared_cache(self._cache, samples, self.length), Step(own, {})

    def _run(self, interventions: list[Intervention], samples: list[int], capture: Sequence[str]) -> tuple[Any, Step]:
        """One step of every (intervention, sample) pair, as rows of one batch."""
        hooks: list[tuple[Any, Callable[..., Any]]] = list(self._hooks(interventions, samples))
        kept: dict[str, Tensor] = {}
        if capture:
            hooks += [(name, RowHook(Keep(kept), "last", reads_only=True)) for name in self.vlm.matching(capture)]
        _check_names(hooks)
        with torch.no_grad():
            cache, logits = self._last_rows(hooks, samples, len(interventions))
        apart = partial(rearrange, pattern="(times sample) ... -> times sample ...", sample=len(samples))
        captured = {name: apart(value) for name, value in kept.items()}
        return cache, Step(apart(logits.float()), captured)

    def _last_rows(
        self, hooks: Sequence[tuple[Any, Callable[..., Any]]], samples: list[int], times: int
    ) -> tuple[Any, Float[Tensor, "row vocab"]]:
        """Run the last prompt row of these samples so many times under hook functions; the cache, and what it says."""
        cache = self._branch(samples, times)
        together = partial(repeat, pattern="sample pos -> (times sample) pos", times=times)
        ids, mask = together(self.inputs.input_ids[samples, -1:]), together(self.inputs.attention_mask[samples])
        self.vlm.resume_prompt(cache, self.length)
        with self.vlm.hooks(hooks), sharing(self.vlm.text_attentions, cache.layers):
            output = self.vlm.model(
                input_ids=ids,
                attention_mask=mask,
                **{cache_name(self.vlm.model): cache},
                use_cache=True,
                logits_to_keep=1,
                **self._positions(mask, samples),
            )
        return cache, output.logits[:, -1]

    def _hooks(self, interventions: list[Intervention], samples: list[int]) -> list[Hook]:
        """The hooks of every (intervention, sample) pair, as rows of one batch."""
        layouts = [self.inputs.layouts[sample] for sample in samples]
        parts = [part for each in interventions for part in spread(each, len(samples))]
        hooks = PerSample(tuple(parts)).hooks(self.vlm.cfg, layouts * len(interventions))
        for name, hook in hooks:
            if hook.query_rows not in ("last", *DECODED):
                raise HookError(
                    f"{', '.join(map(str, interventions))}: rows {hook.query_rows!r} of {name} are edited, but a "
                    "Prefix shares all rows before the last: run it with vlm.intervene(...) on the whole prompt"
                )
        return hooks

    def _branch(self, samples: list[int], times: int) -> Any:
        """A cache that begins with the samples' kept keys and values for each intervention, shared where it can be."""
        shared = shared_cache(self._cache, samples, self.length - 1)
        if shared is not None:
            return shared
        branch = copy.copy(self._cache)
        branch.layers = [copy.copy(layer) for layer in self._cache.layers]
        rows = samples * times
        if rows != list(range(len(self.inputs))):
            for layer in branch.layers:
                layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        return branch

    def _positions(self, mask: Tensor, samples: list[int]) -> dict[str, Tensor]:
        """Where one more token stands, temporal, height and width alike [3 row 1], for a model that can not tell."""
        if not hasattr(self.vlm.model.model, "rope_deltas"):
            return {}
        if self._position_shift is None:  # of words alone, whose positions are places in the padded prompt
            return {"position_ids": mask.new_full((3, len(mask), 1), mask.shape[1] - 1)}
        times = len(mask) // len(samples)
        shift = repeat(self._position_shift[samples], "sample 1 -> (times sample) 1", times=times)
        return {"position_ids": (mask.sum(1, keepdim=True) - 1 + shift).expand(3, -1, -1)}

    def _decode(self, cache: Any, first: Tensor, times: int, settings: Any) -> Tensor:
        """Continue greedily from the first tokens [row]; returns ids [row step], padded after each row's end."""
        ends = torch.tensor(end_tokens(settings), device=first.device)
        mask = repeat(self.inputs.attention_mask, "sample pos -> (times sample) pos", times=times)
        given = {cache_name(self.vlm.model): cache}
        tokens, done = [first], torch.isin(first, ends)
        while len(tokens) < settings.max_new_tokens and not bool(done.all()):
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            with torch.no_grad():
                output = self.vlm.model(
                    input_ids=tokens[-1][:, None],
                    attention_mask=mask,
                    **given,
                    use_cache=True,
                    **self._positions(mask, list(range(len(self.inputs)))),
                )
            following = output.logits[:, -1].float().argmax(-1)
            tokens.append(torch.where(done, settings.pad_token_id or 0, following))
            done = done | torch.isin(following, ends)
        return torch.stack(tokens, 1)


class WholePasses:
    """What a `Prefix` offers, each intervention by a run of the whole prompt: for families that can not share one."""

    def __init__(self, vlm: HookedModel, inputs: VLMInputs) -> None:
        """Keep the batch; nothing is run yet."""
        self.vlm, self.inputs = vlm, inputs

    @known_options()
    def step(
        self,
        interventions: Sequence[Intervention],
        *,
        capture: Sequence[str] = (),
        samples: Sequence[int] | None = None,
    ) -> Step:
        """Run the prompts under each intervention; see `Prefix.step`."""
        _check_several(interventions)
        chosen = _read_samples(samples, len(self.inputs))
        logits, captured = [], defaultdict(list)
        for intervention in interventions:
            kept: dict[str, Tensor] = {}
            keep = RowHook(Keep(kept), "last", reads_only=True)
            hooks = hooks_of(intervention, self.vlm.cfg, self.inputs.layouts)
            saving = [(name, keep) for name in (self.vlm.matching(capture) if capture else ())]
            with torch.no_grad(), self.vlm.hooks([*hooks, *saving]):
                logits.append(self.vlm(self.inputs, logits_to_keep=1).logits[chosen, -1].float())
            for name, value in kept.items():
                captured[name].append(value[chosen])
        return Step(torch.stack(logits), {name: torch.stack(values) for name, values in captured.items()})

    @known_options(ANSWERS)
    def generate(self, interventions: Sequence[Intervention], max_new_tokens: int = 10) -> list[Generation]:
        """Answer greedily under each intervention; see `Prefix.generate`."""
        _check_several(interventions)
        return [self.vlm.generate(self.inputs, max_new_tokens, intervention=each) for each in interventions]


@known_options()
def share_prefill(vlm: HookedModel, inputs: VLMInputs, *, chunk: int = 64) -> Prefix | WholePasses:
    """A `Prefix`, or whole passes where the family refuses one: the same numbers, at the price of a run each."""
    return WholePasses(vlm, inputs) if "prefix" in vlm.family.refusals else Prefix(vlm, inputs, chunk=chunk)


def _without_last(inputs: VLMInputs) -> VLMInputs:
    """The batch without the last token of its prompts."""
    ids = inputs.input_ids.shape
    tensors = {name: value[:, :-1] if value.shape == ids else value for name, value in inputs.tensors.items()}
    layouts = tuple(TokenLayout(own.kinds[:-1], own.tokens[:-1]) for own in inputs.layouts)
    return replace(inputs, tensors=tensors, layouts=layouts)


def _check_names(hooks: Iterable[tuple[str, Any]]) -> None:
    """Refuse all but attention rows of the language model and edits of its positions: a single token has only these."""
    for name, hook in hooks:
        offered = name.endswith(ROW_POINTS) or (isinstance(hook, PositionHook) and is_position_point(name))
        if name.startswith("vision.") or not offered:
            raise HookError(
                f"{name} is no attention row of the language model: a Prefix step has only those, and the last "
                "position of what Patch, Steer and edits of heads change"
            )


def _read_samples(given: Sequence[int] | None, count: int) -> list[int]:
    """The chosen samples of a batch; all by default."""
    if given is None:
        return list(range(count))
    try:
        chosen = list(whole_numbers(given))
    except TypeError:
        chosen = []
    if not chosen or not 0 <= min(chosen) <= max(chosen) < count:
        raise InputError(f"samples={given!r:.60}: name some of the {count} of the batch, counted from 0")
    return chosen


def _check_several(interventions: Sequence[Intervention]) -> None:
    """Refuse a single intervention, or none, where several are expected."""
    if hasattr(interventions, "hooks"):
        raise InputError(f"{interventions} was given where a list is expected: write [{interventions}]")
    if not hasattr(interventions, "__len__"):
        raise InputError(f"{interventions!r:.80} is no list of interventions: give one")
    if not len(interventions):
        raise InputError("no intervention is given: use Untouched() for the baseline")
    for each in interventions:
        check_intervention(each)
