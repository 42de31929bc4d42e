"""Weights: the language model's matrices, as the checkpoint has them, under TransformerLens's names and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import HookError
from interp.hooks.parts import plain_weight
from interp.hooks.towers import submodule, text_tower
from interp.hooks.wired import WiredModel

if TYPE_CHECKING:
    from interp.families import Family


class WeightModel(WiredModel):
    """A hooked model whose weights are named as in TransformerLens; nothing is folded or centred.

    With grouped queries, `W_K` and `W_V` have the key and value heads: query head `h` reads key head
    `h // (n_heads // n_kv_heads)`, and `W_K.repeat_interleave(n_heads // n_kv_heads, dim=1)` has one for each. Gains of
    norms stay beside them: what the projections read is `blocks.{l}.ln1.hook_out`. Each call stacks all layers anew.
    """

    family: Family
    unserved: dict[str, str]

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        """What makes queries of the normed stream."""
        return torch.stack([self._by_head(weight) for weight in self._projections(0, "W_Q")])

    @property
    def W_K(self) -> Float[Tensor, "layer kv_head d_model d_head"]:
        """What makes keys of the normed stream."""
        return torch.stack([self._by_head(weight) for weight in self._projections(1, "W_K")])

    @property
    def W_V(self) -> Float[Tensor, "layer kv_head d_model d_head"]:
        """What makes values of the normed stream."""
        return torch.stack([self._by_head(weight) for weight in self._projections(2, "W_V")])

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        """What makes of a head's mixed values what it adds to the stream."""
        each = [plain_weight(module, "W_O") for module in self._outputs()]
        by_head = "d_model (head d_head) -> head d_head d_model"
        return torch.stack([rearrange(weight, by_head, d_head=self.cfg.d_head) for weight in each])

    @property
    def W_in(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """What makes neurons of the normed stream; where the MLP is gated, what the gate is multiplied with."""
        return torch.stack([parts[-1].T for parts in self._mlp_in("W_in")])

    @property
    def W_gate(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """What the activation is applied to in gated MLPs.

        Raises:
            HookError: they are not gated.
        """
        every = list(self._mlp_in("W_gate"))
        if len(every[0]) == 1:
            raise HookError("W_gate is not offered for this model: its MLPs are not gated")
        return torch.stack([parts[0].T for parts in every])

    @property
    def W_out(self) -> Float[Tensor, "layer d_mlp d_model"]:
        """What makes of neurons what the MLP adds to the stream."""
        return torch.stack([plain_weight(module, "W_out").T for module in self._mlp_down("W_out")])

    @property
    def W_E(self) -> Float[Tensor, "vocab d_model"]:
        """The embedding of each token, before a model such as Gemma scales it: `hook_embed` shows it scaled."""
        return self.model.get_input_embeddings().weight  # type: ignore[no-any-return]

    @property
    def W_U(self) -> Float[Tensor, "d_model vocab"]:
        """What makes logits of `ln_final.hook_out`."""
        return plain_weight(self._unembed(), "W_U").T

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        """The bias of queries; zeros where there is none."""
        return self._head_biases(0)

    @property
    def b_K(self) -> Float[Tensor, "layer kv_head d_head"]:
        """The bias of keys; zeros where there is none."""
        return self._head_biases(1)

    @property
    def b_V(self) -> Float[Tensor, "layer kv_head d_head"]:
        """The bias of values; zeros where there is none."""
        return self._head_biases(2)

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        """The bias behind all heads; zeros where there is none."""
        return torch.stack([_bias(module) for module in self._outputs()])

    @property
    def b_in(self) -> Float[Tensor, "layer d_mlp"]:
        """The bias beside `W_in`; zeros where there is none."""
        return torch.stack([parts[-1] for parts in self._mlp_in_biases("b_in")])

    @property
    def b_gate(self) -> Float[Tensor, "layer d_mlp"]:
        """The bias beside `W_gate`; zeros where there is none.

        Raises:
            HookError: the MLPs are not gated.
        """
        every = list(self._mlp_in_biases("b_gate"))
        if len(every[0]) == 1:
            raise HookError("b_gate is not offered for this model: its MLPs are not gated")
        return torch.stack([parts[0] for parts in every])

    @property
    def b_out(self) -> Float[Tensor, "layer d_model"]:
        """The bias behind the neurons; zeros where there is none."""
        return torch.stack([_bias(module) for module in self._mlp_down("b_out")])

    @property
    def b_U(self) -> Float[Tensor, " vocab"]:
        """The bias of logits; zeros where there is none."""
        return _bias(self._unembed())

    def _blocks(self) -> Any:
        self._tower = text_tower(self.model, self.family)
        return submodule(self.model, self._tower.blocks)

    def _unembed(self) -> Any:
        return submodule(self.model, self.family.unembed)

    def _attention(self) -> Iterator[Any]:
        for block in self._blocks():
            yield submodule(block, self._tower.attention)

    def _outputs(self) -> Iterator[Any]:
        return (submodule(attention, self._tower.output) for attention in self._attention())

    def _by_head(self, weight: Tensor) -> Tensor:
        return rearrange(weight, "(head d_head) d_model -> head d_model d_head", d_head=self.cfg.d_head)

    def _projections(self, place: int, name: str) -> Iterator[Tensor]:
        for attention in self._attention():
            yield plain_weight(submodule(attention, self._tower.projections[place]), name)

    def _head_biases(self, place: int) -> Tensor:
        each = [_bias(submodule(attention, self._tower.projections[place])) for attention in self._attention()]
        return rearrange(torch.stack(each), "layer (head d_head) -> layer head d_head", d_head=self.cfg.d_head)

    def _mlps(self, name: str) -> Iterator[Any]:
        reason = next((why for point, why in self.unserved.items() if point.endswith("mlp.hook_post")), None)
        if reason is not None:
            raise HookError(f"{name} is not offered for this model: {reason}")
        for block in self._blocks():
            yield submodule(block, self._tower.mlp)

    def _mlp_in(self, name: str) -> Iterator[tuple[Tensor, ...]]:
        """Of each MLP the weights that the activation and the linear factor are made with, or the only one."""
        for mlp in self._mlps(name):
            yield self._apart(mlp, [plain_weight(submodule(mlp, path), name) for path in self._tower.mlp_in])

    def _mlp_in_biases(self, name: str) -> Iterator[tuple[Tensor, ...]]:
        """The biases beside these weights."""
        for mlp in self._mlps(name):
            yield self._apart(mlp, [_bias(submodule(mlp, path)) for path in self._tower.mlp_in])

    def _apart(self, mlp: Any, parts: list[Tensor]) -> tuple[Tensor, ...]:
        """What belongs to the activation and to the linear factor, which some models fuse."""
        narrow = submodule(mlp, self._tower.mlp_down).in_features
        fused = len(parts) == 1 and len(parts[0]) == 2 * narrow
        return tuple(parts[0].chunk(2)) if fused else tuple(parts)

    def _mlp_down(self, name: str) -> Iterator[Any]:
        return (submodule(mlp, self._tower.mlp_down) for mlp in self._mlps(name))


def _bias(module: nn.Linear) -> Tensor:
    return torch.zeros_like(module.weight[:, 0]) if module.bias is None else module.bias
