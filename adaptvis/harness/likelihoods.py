"""Likelihoods as the installed lmms-eval takes them, asked of it: which sign is the best choice, and in what shape."""

from __future__ import annotations

from functools import cache
from inspect import unwrap
from types import SimpleNamespace
from typing import Any

from interp.errors import InputError


@cache
def choice_sign() -> float:
    """1 where lmms-eval picks the choice with the largest number, -1 where the least, as of losses.

    Its description says log-probabilities, most of its own models give losses, and its tasks have picked the one and
    the other; so it is given two choices to pick from.

    Raises:
        InputError: it can not be told.
    """
    try:
        from lmms_eval.api.task import ConfigurableTask

        task = SimpleNamespace(
            OUTPUT_TYPE="multiple_choice",
            config=SimpleNamespace(process_results=None),
            doc_to_choice=lambda document: ["a", "b"],
            doc_to_target=lambda document: 0,
            doc_to_text=lambda document: 0,
            multiple_input=0,
            multiple_target=0,
            _metric_fn_list={"acc": None},
        )
        found = unwrap(ConfigurableTask.process_results)(task, {}, [(-1.0, True), (-3.0, False)])
        return 1.0 if float(found["acc"]) == 1.0 else -1.0
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise InputError(
            f"it can not be told whether this lmms-eval picks the choice with the largest number or the least ({why}): "
            "ask a task that generates answers"
        ) from error


def as_taken(value: float, greedy: bool) -> Any:
    """A likelihood and whether it is the greedy answer's, in a shape that reaches the task as these two."""
    try:
        from lmms_eval.api.instance import GenerationResult, unwrap_generation_output
    except ImportError:
        return value, greedy
    if unwrap_generation_output((value, greedy))[0] == (value, greedy):
        return value, greedy
    return GenerationResult(text=(value, greedy))  # which hands on what it holds, where a plain pair becomes text
