"""Edits of heads by torch hooks on the output projections of a Hugging Face model, with its hook points off."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import tiny
import torch
from torch import Tensor

from interp.hooks.towers import submodule, text_tower

Place = Callable[[int, int], bool]
"""(sample, position) -> whether it is edited."""


@contextmanager
def heads_by_hand(vlm: Any, edit: Callable[[int, int, Tensor], None]) -> Iterator[Any]:
    """The plain model, for one run; `edit(layer, start, z)` changes z [batch pos head d_head] of each pass in place."""
    with vlm.paused() as model, ExitStack() as stack:
        for layer, block in enumerate(submodule(model, text_tower(model, vlm.family).blocks)):
            before = _Before(layer, model.config.get_text_config().num_attention_heads, edit)
            handle = block.self_attn.o_proj.register_forward_pre_hook(before)
            stack.callback(handle.remove)
        yield model


class _Before:
    """Counts the positions that have passed, as an output projection is not told where it is."""

    def __init__(self, layer: int, heads: int, edit: Callable[[int, int, Tensor], None]) -> None:
        self.layer, self.heads, self.edit, self.start = layer, heads, edit, 0

    def __call__(self, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        z = args[0].clone().unflatten(-1, (self.heads, -1))
        self.edit(self.layer, self.start, z)
        self.start += z.shape[1]
        return (z.flatten(-2), *args[1:])


def head_by_head(
    heads: Sequence[tuple[int, int]], change: Callable[[int, int, Tensor], Tensor], where: Place, copies: int = 1
) -> Callable[[int, int, Tensor], None]:
    """An edit with loops over samples, positions and heads; `change(sample, k, z)` of the k-th head, z [d_head]."""

    def edit(layer: int, start: int, z: Tensor) -> None:
        for row in range(len(z)):
            for place in range(z.shape[1]):
                for k, (own, head) in enumerate(heads):
                    if own == layer and where(row // copies, start + place):
                        z[row, place, head] = change(row // copies, k, z[row, place, head].clone())

    return edit


def places(inputs: Any, positions: Any, scope: str) -> Place:
    """What a word, or positions of each sample, and a scope name, from the kinds of the prompt."""
    prompt = inputs.input_ids.shape[1]
    text = ("bos", "system", "question", "template")

    def inside(sample: int, at: int) -> bool:
        if at >= prompt:
            return scope != "prompt"
        kind = inputs.layouts[sample].kinds[at]
        named = {"last": at == prompt - 1, "all": kind != "pad", "image": kind == "image", "text": kind in text}
        own = named[positions] if isinstance(positions, str) else at - prompt in positions[sample]
        return scope != "decode" and own

    return inside


def answered(model: Any, inputs: Any, steps: int = 4, **more: Any) -> tuple[Tensor, Tensor]:
    """Tokens [row step] that Hugging Face's own generate decodes, and their logits [row step vocab]."""
    own = {"max_new_tokens": steps, "min_new_tokens": steps, "do_sample": False, **more}
    made = model.generate(**inputs.tensors, **own, return_dict_in_generate=True, output_logits=True)
    return made.sequences[:, inputs.input_ids.shape[1] :], torch.stack(made.logits, 1)


def check_scope(vlm: Any, inputs: Any, edit: Any, point: str, by_loops: Callable[..., Tensor], scope: str) -> None:
    """Assert that an edit decodes what loops over its rows decode, greedily and with beams, in the passes of its scope.

    Args:
        vlm: the model.
        inputs: a batch.
        edit: the edit, with that scope, of heads of all layers.
        point: of a layer, the hook point that the loops edit, such as `attn.hook_pattern`.
        by_loops: a hook function that edits it.
        scope: `prompt`, `decode` or `both`.
    """
    untouched = answered(vlm.model, inputs)[1]
    for more in ({}, {"num_beams": 2}):
        with vlm.intervene(edit, inputs):
            tokens, logits = answered(vlm.model, inputs, **more)
        with vlm.hooks([(f"blocks.{layer}.{point}", by_loops) for layer in range(vlm.cfg.n_layers)]):
            wanted_tokens, wanted = answered(vlm.model, inputs, **more)
        assert torch.equal(tokens, wanted_tokens)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=2 * tiny.rounding(vlm))
        if not more:
            assert torch.equal(logits[:, 0], untouched[:, 0]) is (scope == "decode")
            assert not torch.allclose(logits, untouched, atol=1e-4)


def named_rows(now: Any, rows: int, prompt: int, scope: str) -> list[int]:
    """Of the rows of a pass, those that the last position of a prompt and a scope name; `now` is the hook's pass."""
    every = {row: now.offset + row for row in range(rows)}
    decoded = [row for row, at in every.items() if at >= prompt and scope != "prompt"]
    return decoded + [row for row, at in every.items() if at == prompt - 1 and scope != "decode"]


def under(vlm: Any, inputs: Any, intervention: Any) -> Tensor:
    """Logits of a run of the whole prompt under an intervention [batch pos vocab]."""
    with torch.no_grad(), vlm.intervene(intervention, inputs):
        return vlm(inputs).logits


@contextmanager
def with_biased_masks(vlm: Any, added: dict[int, Tensor]) -> Iterator[Any]:
    """The plain model, for one run of a prompt, with this added to the mask of layers [batch head row key]."""

    def before(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        bias, mask = added[module.layer_idx], kwargs["attention_mask"]
        rows = bias.shape[-1]
        seen = torch.ones(rows, rows).tril().bool()[None, None] if mask is None else mask[..., :rows]
        seen = seen if seen.dtype == torch.bool else seen > torch.finfo(seen.dtype).min / 2
        low = torch.finfo(bias.dtype).min
        return args, {**kwargs, "attention_mask": torch.where(seen, bias, low)}

    with vlm.paused() as model, ExitStack() as stack:
        for layer in added:
            block = submodule(model, text_tower(model, vlm.family).blocks)[layer]
            stack.callback(block.self_attn.register_forward_pre_hook(before, with_kwargs=True).remove)
        yield model
