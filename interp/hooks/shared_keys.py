"""Shared keys: many rows of a batch attend to the keys and values of one prompt, which are not copied for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from interp.hooks.exact import exactly
from interp.reprs import fits_a_cell


@fits_a_cell()
@dataclass(frozen=True)
class KeyValues:
    """The keys and values that rows of attention see, each head of them serving consecutive query heads.

    Attributes:
        key: after RoPE [batch kv_head key d_head].
        value: [batch kv_head key d_head].
    """

    key: Float[Tensor, "batch kv_head key d_head"]
    value: Float[Tensor, "batch kv_head key d_head"]

    @property
    def length(self) -> int:
        """How many keys there are."""
        return self.key.shape[2]

    def dots(self, query: Float[Tensor, "batch head row d_head"]) -> Float[Tensor, "batch head row key"]:
        """Dot products with every key, in at least fp32; key heads laid out as `repeat_interleave` would."""
        exact = torch.promote_types(query.dtype, torch.float32)
        with exactly(query):
            return self._by_head(self._by_kv_head(query.to(exact)) @ self.key.to(exact).mT, query.shape[2])

    def mix(self, pattern: Float[Tensor, "batch head row key"]) -> Float[Tensor, "batch head row d_head"]:
        """The values, mixed by a pattern, in its dtype."""
        with exactly(pattern):
            return self._by_head(self._by_kv_head(pattern) @ self.value.to(pattern.dtype), pattern.shape[2])

    def _by_kv_head(self, rows: Tensor) -> Tensor:
        """All rows of the query heads that a key head serves, one after the other."""
        return rearrange(rows, "batch (kv_head group) row x -> batch kv_head (group row) x", kv_head=self.key.shape[1])

    def _by_head(self, found: Tensor, rows: int) -> Tensor:
        """The reverse of `_by_kv_head`."""
        return rearrange(found, "batch kv_head (group row) x -> batch (kv_head group) row x", row=rows)


@fits_a_cell()
@dataclass(frozen=True)
class SharedKeyValues:
    """A prompt's keys and values, one entry for each sample, and behind them what each row of the batch has of its own.

    Attributes:
        prompt: [sample kv_head key d_head]; row `r` of the batch belongs to sample `r` modulo the number of samples.
        own: [batch kv_head key d_head].
    """

    prompt: KeyValues
    own: KeyValues

    @property
    def length(self) -> int:
        """How many keys each row sees."""
        return self.prompt.length + self.own.length

    @property
    def value(self) -> Float[Tensor, "batch kv_head key d_head"]:
        """The rows' own values."""
        return self.own.value

    def dots(self, query: Float[Tensor, "batch head row d_head"]) -> Float[Tensor, "batch head row key"]:
        """Dot products with the prompt's keys, then with the row's own."""
        shared = self._by_row(self.prompt.dots(self._by_sample(query)), len(query))
        return torch.cat([shared, self.own.dots(query)], -1)

    def mix(self, pattern: Float[Tensor, "batch head row key"]) -> Float[Tensor, "batch head row d_head"]:
        """The prompt's values and the row's own, mixed by a pattern."""
        shared, own = pattern.split([self.prompt.length, self.own.length], -1)
        return self._by_row(self.prompt.mix(self._by_sample(shared)), len(pattern)) + self.own.mix(own)

    def _by_sample(self, rows: Tensor) -> Tensor:
        """[batch head row x] as [sample head batch/sample*row x]: all rows of a sample meet its keys at once."""
        samples = len(self.prompt.key)
        return rearrange(rows, "(times sample) head row x -> sample head (times row) x", sample=samples)

    def _by_row(self, found: Tensor, batch: int) -> Tensor:
        """The reverse of `_by_sample`."""
        times = batch // len(self.prompt.key)
        return rearrange(found, "sample head (times row) x -> (times sample) head row x", times=times)


class SharedLayer(DynamicLayer):
    """One layer's cache for rows that share a prompt: it grows by what is the rows' own, and gives back only that.

    The attention function of this package knows where the rest is.
    """

    def __init__(self, prompt: KeyValues) -> None:
        """Begin with the prompt alone."""
        super().__init__()
        self.prompt = prompt

    def get_seq_length(self) -> int:
        """Positions so far, the prompt's among them."""
        return self.prompt.length + super().get_seq_length()

    def seen(
        self, key: Float[Tensor, "batch kv_head key d_head"], value: Float[Tensor, "batch kv_head key d_head"]
    ) -> SharedKeyValues:
        """What rows see whose own keys and values, all so far, are these."""
        return SharedKeyValues(self.prompt, KeyValues(key, value))


def whole_cache(config: Any) -> DynamicCache | None:
    """An empty cache as transformers makes it for a model of this configuration; None where one of its layers forgets.

    A layer that drops keys behind its window, or keeps a state, can not take back the last position of what it was
    given.
    """
    cache = DynamicCache(config=config)
    return cache if _keeps_all(cache) else None


def shared_cache(cache: Any, samples: list[int], length: int) -> DynamicCache | None:
    """A cache whose rows share the prompt that another one holds; None where its layers are of other kinds.

    Args:
        cache: the cache of the prompt, [sample kv_head key d_head] in each layer.
        samples: which of its samples are wanted.
        length: how many positions of the prompt are shared.
    """
    if not _keeps_all(cache):
        return None
    whole = samples == list(range(len(cache.layers[0].keys)))
    shared = DynamicCache()
    shared.layers = [
        SharedLayer(KeyValues(*(kept[:, :, :length] if whole else kept[samples, :, :length] for kept in both)))
        for both in ((layer.keys, layer.values) for layer in cache.layers)
    ]
    return shared


def _keeps_all(cache: Any) -> bool:
    return bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
