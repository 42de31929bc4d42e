"""A dumb reference: a LLaVA's blocks written out with explicit loops over samples and heads, edits by hook name.

It shares no code with `interp`. An edit is a function of the whole tensor; attention rows are [batch head row key] with
all rows. `on_rows` confines it to some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Edit = Callable[[Tensor], Tensor]


def naive_run(model: Any, tensors: dict[str, Tensor], edits: dict[str, Edit] | None = None) -> tuple[Tensor, dict]:
    """Logits [batch pos vocab] of an unhooked model, and every tensor that a hook point would have shown."""
    seen: dict[str, Tensor] = {}

    def at(name: str, value: Tensor) -> Tensor:
        if edits and name in edits:
            value = edits[name](value)
        seen[name] = value
        return value

    mask = tensors["attention_mask"].bool()
    length = mask.shape[1]
    visible = torch.ones(length, length).tril().bool() & mask[:, None, None, :]
    with _written_out(model, at, visible):
        logits = model(**tensors, use_cache=False).logits
    return logits, seen


def reference(hooked: Any, inputs: Any, edits: dict[str, Edit]) -> Tensor:
    """`naive_run` on the model inside a hooked one: logits [batch pos vocab]."""
    with hooked.paused():
        return naive_run(hooked.model, inputs.tensors, edits)[0]


def tolerance(hooked: Any) -> float:
    """How closely double precision agrees: transformers takes the softmax of eager attention in fp32 all the same."""
    return 5e-4 if hooked.model.config.text_config._attn_implementation.endswith("eager") else 1e-8


def on_rows(edit: Edit, rows: Iterable[int], heads: Iterable[int] | None = None) -> Edit:
    """An edit of [batch head row key] tensors that touches some rows (and heads) only, one at a time."""
    chosen = list(rows)

    def confined(whole: Tensor) -> Tensor:
        edited = edit(whole)
        out = whole.clone()
        for head in range(whole.shape[1]) if heads is None else heads:
            for row in chosen:
                out[:, head, row] = edited[:, head, row]
        return out

    return confined


def in_place(edit: Edit, *, through_data: bool = False) -> Callable[..., None]:
    """The edit as a hook function that changes its tensor and returns nothing."""

    def hook_function(tensor: Tensor, *, hook: Any) -> None:
        (tensor.data if through_data else tensor).copy_(edit(tensor))

    return hook_function


def edited_at(name: str, edit: Edit) -> Callable[[str, Tensor], Tensor]:
    """What `attend` calls at each of its points, where only one is edited."""
    return lambda here, value: edit(value) if here == name else value


def attend(q: Tensor, k: Tensor, v: Tensor, *, visible: Tensor | None, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    """Mix v by softmax(q.k / sqrt(d)), head by head; q [batch pos head d_head], k and v with fewer heads."""
    samples, heads = range(q.shape[0]), range(q.shape[2])
    shared = q.shape[2] // k.shape[2]
    exact = torch.promote_types(q.dtype, torch.float32)
    q, k, v = q.to(exact), k.to(exact), v.to(exact)
    scale = q.shape[3] ** -0.5
    logits = torch.stack([torch.stack([q[b, :, h] @ k[b, :, h // shared].T * scale for h in heads]) for b in samples])
    logits = at("attn.hook_attn_logits", logits)
    seen = torch.ones_like(logits, dtype=torch.bool) if visible is None else visible.expand_as(logits)
    scores = at("attn.hook_attn_scores", torch.where(seen, logits, -torch.inf))
    largest = torch.where(seen, scores, 0.0).amax(-1, keepdim=True).detach()
    weights = torch.where(seen, (torch.where(seen, scores, 0.0) - largest).exp(), 0.0)
    pattern = at("attn.hook_pattern", weights / weights.sum(-1, keepdim=True).clamp_min(1e-30))
    mixed = [torch.stack([pattern[b, h] @ v[b, :, h // shared] for h in heads], 1) for b in samples]
    return torch.stack(mixed)


@contextmanager
def _written_out(model: Any, at: Callable[[str, Tensor], Tensor], visible: Tensor) -> Iterator[None]:
    inner = model.model
    text, vision = inner.language_model.layers, inner.vision_tower.encoder.layers
    ends = {"projector.hook_out": inner.multi_modal_projector, "unembed.hook_out": model.lm_head}
    ends["hook_embed"], norm = inner.language_model.embed_tokens, inner.language_model.norm
    changed = [*text, *vision, *ends.values(), norm]
    try:
        for layer, block in enumerate(text):
            block.forward = _text_block(block, _below(at, f"blocks.{layer}."), visible)
        for layer, block in enumerate(vision):
            block.forward = _vision_block(block, _below(at, f"vision.blocks.{layer}."))
        for name, module in ends.items():
            module.forward = _end(module.forward, name, at)
        norm.forward = _norm(norm, _below(at, "ln_final."))
        yield
    finally:
        for module in changed:
            module.__dict__.pop("forward", None)


def _below(at: Callable[[str, Tensor], Tensor], prefix: str) -> Callable[[str, Tensor], Tensor]:
    return lambda name, value: at(prefix + name, value)


def _end(forward: Callable[..., Tensor], name: str, at: Callable[[str, Tensor], Tensor]) -> Callable[..., Tensor]:
    def run(hidden: Tensor) -> Tensor:
        out = forward(hidden)
        shown = out.reshape(-1, out.shape[-1]) if name.startswith("projector") else out
        return at(name, shown).reshape(out.shape)

    return run


def _norm(norm: Any, at: Callable[[str, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    forward = norm.forward

    def run(hidden: Tensor) -> Tensor:
        exact = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        centred = exact - exact.mean(-1, keepdim=True) if isinstance(norm, torch.nn.LayerNorm) else exact
        epsilon = norm.eps if isinstance(norm, torch.nn.LayerNorm) else norm.variance_epsilon
        scale = (centred.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
        edited = at("hook_normalized", centred / at("hook_scale", scale))
        return at("hook_out", forward(hidden) + ((edited - centred / scale) * norm.weight).to(hidden.dtype))

    return run


def _mixed(out: Any, z: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    """What attention adds: the sum of what each head adds, and the bias."""
    width = z.shape[-1]
    parts = [z[..., head, :] @ out.weight[:, head * width : (head + 1) * width].T for head in range(z.shape[-2])]
    own = torch.stack(parts, -2)
    return out(z.flatten(2)) + (at("attn.hook_result", own) - own).sum(-2)


def _gated(mlp: Any, hidden: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    gate, linear = at("mlp.hook_pre", mlp.gate_proj(hidden)), at("mlp.hook_pre_linear", mlp.up_proj(hidden))
    return mlp.down_proj(at("mlp.hook_post", mlp.act_fn(gate) * linear))


def _ungated(mlp: Any, hidden: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    return mlp.fc2(at("mlp.hook_post", mlp.activation_fn(at("mlp.hook_pre", mlp.fc1(hidden)))))


def _heads(attention: Any, hidden: Tensor, at: Callable[[str, Tensor], Tensor]) -> list[Tensor]:
    width = attention.head_dim
    made = {name: getattr(attention, f"{name}_proj")(hidden) for name in "qkv"}
    return [at(f"attn.hook_{name}", flat.view(*flat.shape[:2], -1, width)) for name, flat in made.items()]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos[:, :, None] + torch.cat([-second, first], -1) * sin[:, :, None]


def _text_block(block: Any, at: Callable[[str, Tensor], Tensor], visible: Tensor) -> Callable[..., Tensor]:
    def forward(hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], **_: Any) -> Tensor:
        attention = block.self_attn
        before = at("hook_resid_pre", hidden_states)
        q, k, v = _heads(attention, _norm(block.input_layernorm, _below(at, "ln1."))(before), at)
        q = at("attn.hook_rot_q", _rotate(q, *position_embeddings))
        k = at("attn.hook_rot_k", _rotate(k, *position_embeddings))
        z = at("attn.hook_z", attend(q, k, v, visible=visible, at=at).to(q.dtype))
        middle = at("hook_resid_mid", before + at("hook_attn_out", _mixed(attention.o_proj, z, at)))
        after = at(
            "hook_mlp_out", _gated(block.mlp, _norm(block.post_attention_layernorm, _below(at, "ln2."))(middle), at)
        )
        return at("hook_resid_post", middle + after)

    return forward


def _vision_block(block: Any, at: Callable[[str, Tensor], Tensor]) -> Callable[..., Tensor]:
    def forward(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        attention = block.self_attn
        before = at("hook_resid_pre", hidden_states)
        q, k, v = _heads(attention, _norm(block.layer_norm1, _below(at, "ln1."))(before), at)
        q, k = at("attn.hook_rot_q", q), at("attn.hook_rot_k", k)
        z = at("attn.hook_z", attend(q, k, v, visible=None, at=at).to(q.dtype))
        middle = at("hook_resid_mid", before + at("hook_attn_out", _mixed(attention.out_proj, z, at)))
        after = at("hook_mlp_out", _ungated(block.mlp, _norm(block.layer_norm2, _below(at, "ln2."))(middle), at))
        return at("hook_resid_post", middle + after)

    return forward
