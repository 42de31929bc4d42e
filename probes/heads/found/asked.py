"""Asked: what heads are to be found by, for which functions, and in what; refused before anything is scored."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import listed
from interp.store.folder import plain
from probes.heads.activations.checks import functions_of
from probes.heads.found.by_model import BY_MODEL, AskedModel
from probes.heads.functions import LABELS, in_order
from probes.heads.scorers.sampled import Labels
from probes.heads.scores import EVERY
from probes.heads.selection.selectors import check_count, check_selection

if TYPE_CHECKING:
    from interp.objects.sample import Sample
    from probes.heads.activations.result import HeadActivations

BY_NUMBERS = ("linear_probe", "joint_network")
"""Scorers that need collected activations alone, and no model."""

SCORERS = (*BY_NUMBERS, *BY_MODEL)
"""Every scorer by name."""


def check_found(
    heads: HeadActivations | None,
    scorers: Sequence[str] | str,
    rule: str,
    given: Mapping[str, Any],
    functions: Sequence[str] | None,
    items: Sequence[Sample] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scorers and functions that are asked for, see `find_heads`; refuses what can be refused before any is scored.

    Raises:
        InputError: a scorer, rule or function that does not exist, a scorer without what it needs, items without
            functions, or items that are not those of the activations.
    """
    names = listed(scorers, "scorers")
    unknown = [name for name in names if name not in SCORERS]
    if unknown or not names or len(set(names)) < len(names):
        told = ", ".join(map(str, names)) or "none"
        raise InputError(f"scorers are {told}: name some of {', '.join(SCORERS)}, each once")
    check_selection(rule, **given)
    if "level" in given:
        raise InputError(
            f"level={given['level']!r:.40} of a rule can not be given here, where `level` is that of intervals: "
            "select from the scores by probes.select_heads(scores, function, rule, level=...)"
        )
    by_numbers, by_model = ([name for name in names if name in own] for own in (BY_NUMBERS, BY_MODEL))
    if by_numbers and heads is None:
        raise InputError(f"{by_numbers[0]} reads collected activations, and none are named: collect them first")
    if by_model and items is None:
        raise InputError(f"{by_model[0]} asks a model, and there is none: give the model and the questions")
    if heads is not None and not by_numbers:
        raise InputError(f"{', '.join(names)} need no activations, and some are named: leave them out")
    if items is not None and not by_model:
        raise InputError(f"{', '.join(names)} need no model and no questions: leave them out")
    if heads is not None and items is not None:
        _refuse_other_items(heads, items)
    chosen = _functions(heads, items, functions)
    if by_numbers and len(chosen) == 1:
        raise InputError(
            f"{by_numbers[0]} tells the questions of a function from those of others, and {chosen[0]} is alone: "
            + ("collect questions of other functions too" if functions is None else "name two functions or more")
        )
    if heads is not None and rule == "top_k":
        check_count(given["k"], heads.axes.layers * heads.axes.heads)
    if items is not None:
        Labels.of(restricted(items, chosen)).refuse_few()
    return names, chosen


def restricted(items: Sequence[Sample], functions: Sequence[str]) -> list[Sample]:
    """The items of any of these functions, labelled with these alone."""
    if tuple(functions) == (EVERY,):
        return list(items)
    each = [[name for name in functions_of(item) if name in functions] for item in items]
    return [
        item if list(functions_of(item)) == own else replace(item, meta={**item.meta, LABELS: own})
        for item, own in zip(items, each, strict=True)
        if own
    ]


def activations_digest(heads: HeadActivations) -> str:
    """By what activations are known again: their items, labels and answers, and how they were collected."""
    keep = ("weights", "answers", "tokens", "k", "alignment", "read", "store", "max_new_tokens", "prompt", "axes")
    content = [
        [heads.ids, heads.groups, heads.answers, heads.functions, heads.correct.tolist()],
        {name: heads.settings.get(name) for name in keep},
    ]
    return _digest(content)


def asked_digest(asked: AskedModel) -> str:
    """By what is known again what a model was asked: its weights, the items and how they were asked."""
    from interp.model.provenance import weights_record
    from interp.study.keys import content_key

    known: dict[Any, str] = {}
    axes = None if asked.axes is None else repr(asked.axes) + _digest([*map(float, _flat(asked.axes))])
    keys = [content_key(item, known) for item in asked.items]
    return _digest([weights_record(asked.vlm)["sha256"], keys, asked.prompt, asked.batch, axes])


def _flat(axes: Any) -> Any:
    import numpy as np

    return np.nan_to_num(np.ma.filled(np.ma.asarray(axes, dtype=np.float64), np.nan), nan=1e300).ravel()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def _functions(
    heads: HeadActivations | None, items: Sequence[Sample] | None, wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """The functions that items are labelled with, the eight first and in their order; or those of them that are wanted.

    Raises:
        InputError: there are none, or one that is wanted is not among them; it counts what there is.
    """
    if heads is not None:
        each: list[Sequence[str]] = list(heads.functions)
        where, how = f"items in {str(heads.folder)!r}", "collect steps, or give functions={id: [...]} to collect_heads"
    else:
        assert items is not None
        each = [functions_of(item) for item in items]
        where, how = "questions", "leave the functions out, or ask steps"
    counts = Counter(name for own in each for name in own)
    if not counts and heads is None and wanted is None:
        return (EVERY,)
    if not counts:
        raise InputError(f"none of the {len(each)} {where} is labelled with a function: {how}")
    if wanted is None:
        return in_order(counts)
    names = listed(wanted, "functions")
    if not names:
        raise InputError(f"functions are none: name some of {', '.join(in_order(counts))}, or leave them out")
    if strange := [name for name in names if name not in counts]:
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"no item is labelled {strange[0]!r:.40}: there are {there}")
    return tuple(dict.fromkeys(names))


def _refuse_other_items(heads: HeadActivations, items: Sequence[Sample]) -> None:
    """Refuse items that are not those of the activations, which scorers could not be held against each other by.

    Raises:
        InputError: some are missing on one side, or labelled otherwise; it counts them.
    """
    own = {item.id: tuple(functions_of(item)) for item in items}
    then = dict(zip(heads.ids, heads.functions, strict=True))
    unanswered = set(heads.left_out["id"])
    more = [name for name in own if name not in then and name not in unanswered]
    gone = [name for name in then if name not in own]
    other = [name for name in then if name in own and set(own[name]) != set(then[name])]
    told = [
        f"{len(names)} {what}, such as {names[0]!r}"
        for what, names in (
            ("are of no activations", more),
            ("with activations are not asked", gone),
            ("are labelled otherwise there", other),
        )
        if names
    ]
    if told:
        raise InputError(
            f"of {len(items)} questions and {len(then)} with activations in {str(heads.folder)!r}, {'; '.join(told)}: "
            "name the questions that the activations were collected from, or find heads by other scorers in a folder "
            "of their own"
        )
