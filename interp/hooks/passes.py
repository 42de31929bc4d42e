"""Passes: what a pass of the language model computes, told by its cache, and by transformers' generate where that runs.

A prompt may come in one pass or in several, whole or behind what a cache holds already, and with guesses of the answer
behind it. What is known of it is noted on its cache, and goes along with copies of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.compat import Generating
from interp.errors import HookError
from interp.hooks.rows import Pass, copies

_NOTE = "_spatial_lens_prompt"


@dataclass(frozen=True, eq=False)
class Note:
    """What a cache holds.

    Attributes:
        prompt: the length of the padded prompt in positions.
        earlier: lengths of prompts that this one goes on from.
        batch: how many rows it has.
        copies: see `Pass.copies`.
        under: numbers of the batches whose functions were on all the while that the prompt was computed.
        ids: what it begins with [batch pos], if known.
    """

    prompt: int
    earlier: frozenset[int] = frozenset()
    batch: int = 0
    copies: frozenset[int] = frozenset({1})
    under: frozenset[int] = frozenset()
    ids: Tensor | None = None


def note(cache: Any, known: Note) -> None:
    """Note on a cache what it holds."""
    setattr(cache, _NOTE, known)


class Passes:
    """Keeps a `Pass` up to date, pass by pass.

    Attributes:
        now: the pass that the language model is in, or was in last.
        before: what was known of the cache that it goes on with; None where it begins a prompt.
    """

    def __init__(self, model: Any) -> None:
        """Begin before the first pass."""
        self.now = Pass()
        self.before: Note | None = None
        self._generating = Generating(model)
        self._left: Note | None = None
        self._ids: Tensor | None = None

    @property
    def under(self) -> frozenset[int]:
        """Numbers of the batches whose functions were on all the while that the cache was filled."""
        return frozenset() if self.before is None else self.before.under

    def begin(self, rows: Tensor, ids: Tensor | None, cache: Any, *, listening: bool) -> None:
        """Say which rows are about to be computed, and after how many cached ones.

        Args:
            rows: ids [batch pos] or embeddings [batch pos d_model].
            ids: ids of the same positions, if they are known.
            cache: what they go on with, if anything.
            listening: whether anybody wants to know.

        Raises:
            HookError: somebody does, and the cache does not say how much it holds.
        """
        now = self.now
        now.length = rows.shape[1]
        if cache is not None and not hasattr(cache, "get_seq_length"):
            if listening:
                raise HookError(
                    f"hooks are on, but a {type(cache).__name__} does not say which positions a pass holds: use "
                    "another cache, and not cache_implementation='paged' or generate_batch"
                )
            return
        now.offset = 0 if cache is None else int(cache.get_seq_length())
        if torch.compiler.is_compiling():  # and nobody listens, or the pass would have been refused
            now.prompt = now.prompt if now.offset else now.length
            return
        self.before = getattr(cache, _NOTE, None) if now.offset else None
        known = self.before
        if known and not listening and now.length == 1 and known.prompt <= now.offset and known.batch == len(rows):
            now.prompt, now.earlier, now.copies = known.prompt, known.earlier, known.copies
            return
        asked = listening or now.offset == 0 or now.length > 1
        self._ids = ids if not now.offset else None if known is None else known.ids
        now.prompt = self._prompt(self._generating.prompt() if asked else None)
        now.earlier = self._earlier()
        now.copies, under = frozenset({1}), frozenset[int]()
        if known is not None and now.offset >= now.prompt:  # an answer, of what is known already
            if known.prompt == now.prompt and known.batch == len(rows):
                now.copies = known.copies
                return
            under = known.under
        self._note(cache, Note(now.prompt, now.earlier, len(rows), now.copies, under, self._ids))

    def compare(self, rows: Tensor, ids: Tensor | None, cache: Any, under: frozenset[int]) -> None:
        """Note of a prompt what functions are on, and which rows are copies of each other, as later ones are too.

        Args:
            rows: what `begin` was given.
            ids: ids of the same positions, which tell other prompts apart before embeddings do, if they are known.
            cache: what `begin` was given.
            under: numbers of the batches whose functions are on.
        """
        now, there = self.now, self.now.prompt - self.now.offset
        if there <= 0:
            return
        same = None if now.offset else frozenset(range(1, len(rows) + 1))
        if (known := self.before) is not None:
            under &= known.under
            same = known.copies if known.batch == len(rows) else None
        elif now.offset:
            under = frozenset()
        if same is not None and same != {1}:
            given = (rows,) if ids is None or ids.shape != rows.shape[:2] else (ids, rows)
            now.copies = same & copies(*(each[:, :there] for each in given))
        self._note(cache, Note(now.prompt, now.earlier, len(rows), now.copies, under, self._ids))

    def end(self, output: Any) -> None:
        """Note what the cache holds that a pass has made, if it made one."""
        left, self._left = self._left, None
        if left is not None:
            made = output.values() if isinstance(output, dict) else output if isinstance(output, tuple) else ()
            for cache in made:
                if hasattr(cache, "get_seq_length"):
                    note(cache, left)

    def _prompt(self, generated: int | None) -> int:
        now = self.now
        if generated is not None:
            return generated
        held = now.offset if self.before is None else self.before.prompt
        anew = now.offset == 0 or now.length > 1 or held > now.offset  # as where some of it was cut off
        return now.offset + now.length if anew else held

    def _earlier(self) -> frozenset[int]:
        known = self.before
        if known is None:
            return frozenset()
        before = known.earlier if known.prompt == self.now.prompt else known.earlier | {known.prompt}
        return frozenset(one for one in before if one <= self.now.offset) if before else before

    def _note(self, cache: Any, known: Note) -> None:
        self._left = known if cache is None else None
        if cache is not None:
            note(cache, known)


def check_parts(now: Pass, two_way: str, cache: Any) -> None:
    """Refuse parts of a prompt where its rows see keys behind them, too: these would hide some of them.

    Args:
        now: the pass.
        two_way: see `ModelShape.two_way`.
        cache: what the pass goes on with; without one, each pass has all of an answer behind the prompt.

    Raises:
        HookError: the model would say something else than of the prompt as a whole.
    """
    end = now.offset + now.length
    guesses = two_way == "prompt" and cache is not None and now.offset < now.prompt < end
    if two_way and (end < now.prompt or guesses):
        raise HookError(
            f"in this model rows see keys behind them, so that a pass from {now.offset} to {end} says something else "
            f"than one of the prompt's {now.prompt} positions: leave out prefill_chunk_size, prompt_lookup_num_tokens "
            "and assistants"
        )
