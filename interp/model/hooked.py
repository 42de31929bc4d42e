"""HookedModel: what holds a vision-language model whose activations can be read and edited by name, and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from interp.compat import call_options, named_cache
from interp.errors import HookError, RefusedError
from interp.families import CAPABILITIES, family_of
from interp.hooks.batches import Batch, OfBatch
from interp.hooks.cache import Keep, VLMCache, check_kept
from interp.hooks.links import refuse_compiled
from interp.hooks.parts import find_parts
from interp.hooks.points import (
    LatePoint,
    ModelPoints,
    NormPoints,
    OnePoint,
    ProjectorPoints,
    TowerPoints,
    check_function,
    matching,
    pairs_of,
)
from interp.hooks.rows import ROW_POINTS, QueryRows, RowHook, check_fits, check_has_rows, check_rows
from interp.hooks.shape import ModelShape
from interp.hooks.towers import submodule, text_tower, vision_tower
from interp.hooks.wiring import Wiring
from interp.image.photos import check_image
from interp.intervene.base import Intervention, check_intervention, holds_samples, hooks_of
from interp.model.backward import Goal, check_gradients, with_gradients
from interp.model.keeping import capture_of, keeper, names_to_keep
from interp.model.stopping import Stop, Stopped, last_point
from interp.model.tokens import Promptable, TokenModel
from interp.model.weights import WeightModel
from interp.options import RUN, called, known_options, named_in, refuse_unknown
from interp.prompt.inputs import VLMInputs, prepare

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from interp.image.grid import ImageGrid
    from interp.image.photos import ImageSource

Names = str | Sequence[str] | Callable[[str], bool]


class HookedModel(TokenModel, WeightModel):
    """A vision-language model, its processor, and TransformerLens hook points on both of its towers.

    Runs untouched code unless somebody listens: an unhooked run is bit-equal to plain Hugging Face. `HookedVLM` is
    this, and what is built on it: loading, the self-check, answers, the page to explore.
    """

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        """Hook a loaded model."""
        super().__init__()
        refuse_compiled(model.modules())
        self.family = family_of(model)
        object.__setattr__(self, "model", model)  # outside the module tree, so that setup() renames nothing in it
        self.processor = processor
        self.origin: dict[str, Any] = {}  # the name and revision it was loaded by
        self._shape = shape = ModelShape.of(model)
        tower = vision_tower(model, self.family)
        self.blocks = TowerPoints(shape.n_layers).blocks
        self.vision = TowerPoints(len(submodule(model, tower.blocks)))
        self.projector = ProjectorPoints(shape.n_deepstack)
        self.hook_embed, self.ln_final, self.unembed = LatePoint(), NormPoints(), OnePoint("hook_out")
        points = ModelPoints(
            blocks=self.blocks,
            vision=self.vision.blocks,
            projector=self.projector.hook_out,
            deepstack=tuple(point.hook_out for point in self.projector.deepstack),  # type: ignore[misc]
            embed=self.hook_embed,
            final_norm=self.ln_final,
            unembed=self.unembed.hook_out,  # type: ignore[arg-type]
        )
        parts = find_parts(model, self.family, (text_tower(model, self.family), tower), points)
        self.unserved = parts.unserved
        self.setup()
        self._wiring = Wiring(model, self.family, points, parts.joined)
        self._wiring.attach()
        self._hooked = True
        self.self_checked = False

    @known_options()
    def prepare(
        self,
        images: ImageSource | Sequence[ImageSource],
        questions: str | Sequence[str],
        *,
        prompt: str = "chat",
        system: str | None = None,
    ) -> VLMInputs:
        """Make photos and questions ready for this model, on its device; see `interp.prompt.inputs.prepare`."""
        inputs = prepare(self.model, self.processor, images, questions, prompt=prompt, system=system)
        return inputs.to(self.device, self.dtype)

    def grid_of(self, photo: ImageSource | tuple[int, int]) -> ImageGrid:
        """Where the image tokens of a photo, or of one of so many pixels (width, height), stand; nothing is run.

        Raises:
            InputError: it can not be read, or the model takes none of this size.
        """
        size = photo if isinstance(photo, tuple) else check_image(photo)
        return self.family.grid(size, self.processor, self.model.config)

    def forward(self, inputs: Promptable, *, stop_at_layer: int | None = None, **kwargs: Any) -> Any:
        """Run the model; returns Hugging Face's output.

        Args:
            inputs: what `prepare` gave; a text, several, or ids are a prompt without a photo.
            stop_at_layer: a block, 0-based: the residual stream that it is given [batch pos d_model] is returned, and
                neither it nor what is behind it is computed. With the number of blocks it is what leaves the last one.
            **kwargs: what else Hugging Face's `forward` takes, such as `labels` or `logits_to_keep`; None says nothing,
                and leaves what `inputs` hold.

        Raises:
            OptionError: a keyword that neither takes.
            HookError: hooks are on that were made for another batch, or there is no such block.
            InputError: something else than a prompt.
            ModelError: the model was unwrapped.
        """
        passed = self._passed_on(kwargs, self.forward)
        given = self.inputs_of(inputs)
        with self.turn():
            self.check_ready()
            self.check_batch(given)
            more = {name: value for name, value in passed.items() if value is not None or name not in given.tensors}
            tensors = {"use_cache": False, **given.tensors, **more}
            if stop_at_layer is None:
                return self.model(**tensors)
            with self.hooks([(last_point(self, stop_at_layer), Stop())]):
                try:
                    return self.model(**tensors)
                except Stopped as stopped:
                    self._wiring.guard.stopped()
                    return stopped.stream

    def check_batch(self, inputs: VLMInputs) -> None:
        """Refuse to run a batch under an intervention, or features of photos, that were made for another.

        One that holds nothing for each sample may meet other samples, where image, words and padding are at the same
        places: what it does there is the same.

        Raises:
            HookError: something that is on was made for another.
        """
        for batch in self._wiring.guard.batches:
            batch.check(inputs)

    def capabilities(self) -> dict[str, str]:
        """What this model can do: by capability `yes`, what one has to know of it, or `no` with the reason."""
        said = {name: f"yes: {remark}" for name, remark in self.family.remarks.items()}
        said |= {name: f"no: {reason}" for name, reason in self.family.refusals.items()}
        return {name: said.get(name, "yes") for name in CAPABILITIES}

    def require(self, capability: str) -> None:
        """Refuse to go on with something that this family can not do.

        Raises:
            RefusedError: it can not.
        """
        if reason := self.family.refusals.get(capability):
            raise RefusedError(f"{capability} is not offered for the {self.family.name} family: {reason}")

    # hooks ------------------------------------------------------------------------------------------------------

    @known_options()
    @contextmanager
    def hooks(  # type: ignore[override]
        self,
        fwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        bwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        *,
        query_rows: QueryRows | None = None,
        intervention: Intervention | None = None,
        inputs: VLMInputs | None = None,
    ) -> Iterator[Self]:
        """Keep hook functions, and an intervention, on for a while; they come off on exit, also on an exception.

        Args:
            fwd_hooks: (name, function) pairs. A name is a hook name, several, or a filter; the function is called as
                `function(tensor, hook=point)` and may return a tensor, change its own in place, or return None.
            bwd_hooks: the same, for gradients.
            reset_hooks_end: whether the functions come off on exit.
            clear_contexts: whether the points' `ctx` is emptied on exit.
            query_rows: rows of logits, scores and pattern that the functions see: `all` unless said otherwise. An
                intervention has rows of its own.
            intervention: what is edited, after what the functions do.
            inputs: the batch that will run; an intervention needs it, to know where its image and words are, and no
                other is run under it: see `check_batch`.

        Example:
            >>> with vlm.hooks(intervention=ScaleImageLogits(0.5), inputs=inputs):
            ...     output = vlm(inputs)

        Raises:
            HookError: a name that matches nothing or whose point never fires in what is run, rows that are not
                understood, or an intervention without inputs.
            ModelError: the model was unwrapped.
        """
        fwd_hooks, bwd_hooks = pairs_of(fwd_hooks, "fwd_hooks"), pairs_of(bwd_hooks, "bwd_hooks")
        if intervention is not None:
            fwd_hooks = [*fwd_hooks, *self._hooks_of(intervention, inputs)]
        forward = [pair for name, hook in fwd_hooks for pair in self._named_hooks(name, hook, query_rows)]
        backward = [pair for name, hook in bwd_hooks for pair in self._named_hooks(name, hook, query_rows)]
        with self.turn():
            self.check_ready(adding=bool(forward or backward))
            named = {self.hook_dict[name]: None for name, _ in (*forward, *backward)}
            with (
                super().hooks(forward, backward, reset_hooks_end, clear_contexts),
                self._wiring.guard.heard(named),  # type: ignore[arg-type]
            ):
                yield self

    @known_options()
    def intervene(self, intervention: Intervention, inputs: VLMInputs) -> Any:
        """Context manager: keep an intervention on for runs of `inputs`."""
        return self.hooks(intervention=intervention, inputs=inputs)

    def run_with_hooks(  # type: ignore[override]
        self,
        inputs: Promptable,
        fwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        bwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        *,
        query_rows: QueryRows | None = None,
        intervention: Intervention | None = None,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run the model once under hook functions and an intervention; see `hooks` and `forward`."""
        kwargs = self._passed_on(kwargs, self.run_with_hooks)
        given = self.inputs_of(inputs)
        under: dict[str, Any] = {"query_rows": query_rows, "intervention": intervention, "inputs": given}
        with self.hooks(fwd_hooks, bwd_hooks, reset_hooks_end, clear_contexts, **under):
            return self(given, **kwargs)

    def run_with_cache(  # type: ignore[override]
        self,
        inputs: Promptable,
        names_filter: Names | None = None,
        *,
        query_rows: QueryRows | None = None,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        fwd_hooks: Sequence[tuple[Names, Callable[..., Any]]] = (),
        intervention: Intervention | None = None,
        incl_bwd: Goal = False,
        stop_at_layer: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, VLMCache]:
        """Run the model and keep activations; the model's output is the same as without.

        Args:
            inputs: what `prepare` gave; a text, several, or ids are a prompt without a photo.
            names_filter: hook names, a list of them, or a filter; everything by default, but for the vision tower's
                attention rows, which are kept only when named together with `query_rows`, and `hook_result`, which is
                computed when it is named.
            query_rows: rows of logits, scores and pattern to keep; the last prompt row by default.
            device: where the kept tensors go.
            remove_batch_dim: drop the batch axis of a batch of one.
            fwd_hooks: other hook functions to run under; they see what they see in `hooks`.
            intervention: an intervention to run under, too; what is kept is what it leaves.
            incl_bwd: keep gradients, too, by names that end in `_grad`: of the number that this function makes of the
                output, or with True of the loss that the model computes with `labels=`. Weights get none.
            stop_at_layer: end before this block, as in `forward`; what is behind it can not be named.
            **kwargs: passed on to the model, see `forward`; TransformerLens's `pos_slice` is spelled `query_rows` here.

        Returns:
            Hugging Face's output, and a `VLMCache` by hook name.

        Raises:
            HookError: a name that matches nothing or whose point never fires, rows that the pass does not have, or
                vision rows that are not named.
            OptionError: a keyword that neither this nor the model takes.
        """
        kwargs = self._passed_on(kwargs, self.run_with_cache)
        given = self.inputs_of(inputs)
        if remove_batch_dim and len(given) != 1:
            raise HookError(f"remove_batch_dim needs a batch of one, not of {len(given)}")
        kept: dict[str, Tensor] = {}
        rows = "last" if query_rows is None else check_rows(query_rows)
        wanted = None if names_filter is None else self.matching(names_filter)
        names = names_to_keep(self, wanted, rows, stop_at_layer)
        keep = [(name, keeper(name, Keep(kept, device), rows, reads_only=True)) for name in names]
        back = [(name, keeper(name, Keep(kept, device, "_grad"), rows)) for name in names if incl_bwd]
        edits = [] if intervention is None else self._hooks_of(intervention, given)
        # of everything, what the pass does not come by is left out: without a photo the tower is not run
        keeping = super().hooks(keep, back) if wanted is None else self.hooks(keep, back)
        own = pairs_of(fwd_hooks, "fwd_hooks")
        with with_gradients(self, incl_bwd, kwargs) as go_back, self.hooks([*own, *edits]), keeping:
            output = self(given, stop_at_layer=stop_at_layer, **kwargs)
            go_back(output)
        check_kept(kept, [name for name in names if wanted or name.startswith("blocks.")], rows)
        if incl_bwd and wanted is not None:
            check_gradients(names, kept)
        capture = capture_of(self, kept, given, rows=rows, intervention=intervention)
        cache = VLMCache(dict(kept), self, capture=capture)  # backward, where it computes again, writes into the other
        return output, cache.remove_batch_dim(1) if remove_batch_dim else cache  # type: ignore[return-value]

    def matching(self, names: Names) -> list[str]:
        """The hook names that a name, a list of names or a filter stands for; see `interp.hooks.points.matching`."""
        return matching(self.hook_dict, names, self.unserved)

    def add_hook(  # type: ignore[override]
        self, name: Names, hook: Callable[..., Any], *args: Any, query_rows: QueryRows | None = None, **kwargs: Any
    ) -> None:
        """Add a hook function that stays until `reset_hooks`; see TransformerLens, and `hooks` for the rows.

        Raises:
            HookError: a name that matches nothing, or vision rows that are not named.
            ModelError: the model was unwrapped.
            OptionError: a keyword that TransformerLens's `add_hook` does not have either.
        """
        refuse_unknown(kwargs, {*named_in(super().add_hook), "query_rows"}, of="add_hook")
        with self.turn():
            self.check_ready(adding=True)
            for own, function in self._named_hooks(name, hook, query_rows):
                super().add_hook(own, function, *args, **kwargs)

    @known_options()
    def add_perma_hook(  # type: ignore[override]
        self, name: Names, hook: Callable[..., Any], dir: str = "fwd", *, query_rows: QueryRows | None = None
    ) -> None:
        """Add a hook function that stays until `reset_hooks(including_permanent=True)` or `unwrap`; see `add_hook`."""
        self.add_hook(name, hook, dir, is_permanent=True, query_rows=query_rows)

    def get_caching_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: its caches know nothing of query rows.

        Raises:
            HookError: always.
        """
        raise HookError("TransformerLens's caching hooks are not offered by HookedVLM: use run_with_cache")

    add_caching_hooks = cache_all = cache_some = get_caching_hooks

    # helpers ----------------------------------------------------------------------------------------------------

    def _passed_on(self, given: dict[str, Any], method: Callable[..., Any]) -> dict[str, Any]:
        """What a method was given for the model's call; defaults of TransformerLens, which say nothing, are left out.

        Raises:
            OptionError: some of it is known to nobody, so that transformers would drop it.
        """
        if not given:
            return given
        passed = RUN.without_defaults(given)
        language = submodule(self.model, self.family.language)
        known = call_options(self.model, self.model.base_model, language)
        refuse_unknown(passed, {*known, *named_in(method), *named_in(self.forward)}, of=called(method), lens=RUN)
        return named_cache(passed, self.model)

    def _hooks_of(self, intervention: Intervention, inputs: VLMInputs | None) -> list[tuple[str, Callable[..., Any]]]:
        """The hook functions of an intervention, for one batch."""
        check_intervention(intervention)
        if inputs is None:
            raise HookError("an intervention has to know where the image and the words are: give inputs=, the batch")
        batch = Batch(inputs, f"{intervention!s:.120}", partial(holds_samples, intervention, len(inputs)))
        return [(name, OfBatch(hook, batch)) for name, hook in hooks_of(intervention, self.cfg, inputs.layouts)]

    def _named_hooks(
        self, names: Names, hook: Callable[..., Any], query_rows: QueryRows | None
    ) -> list[tuple[str, Callable[..., Any]]]:
        """A hook function under each name that it matches, shown only its rows where rows matter."""
        rows = None if query_rows is None else check_rows(query_rows)
        pairs: list[tuple[str, Callable[..., Any]]] = []
        check_function(hook)
        own = hook.function if isinstance(hook, OfBatch) else hook
        for name in self.matching(names):
            if isinstance(own, RowHook):
                check_has_rows(name)
                check_fits(own.query_rows, name)
            sees_rows = name.endswith(ROW_POINTS) and not isinstance(hook, (RowHook, OfBatch))
            if sees_rows:
                check_fits(rows, name)
            pairs.append((name, RowHook(hook, rows) if sees_rows and rows not in (None, "all") else hook))
        return pairs
