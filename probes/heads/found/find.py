"""Find: scorers over collected activations, heads selected by one rule, how few they are, and how far scorers agree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import listed
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.store.folder import plain
from probes.heads.found.saved import load_scores, save_scores
from probes.heads.functions import FUNCTIONS
from probes.heads.scorers.joint_network import joint_network
from probes.heads.scorers.linear_probe import linear_probe
from probes.heads.scores import HeadScores
from probes.heads.selection.agreement import scorer_agreement
from probes.heads.selection.layout import HeadLayout, functions_in_common, head_layout
from probes.heads.selection.selectors import check_selection, select_all

if TYPE_CHECKING:
    import pandas as pd

    from probes.heads.activations.result import HeadActivations
    from probes.heads.selection.head_set import HeadSet

STUDY = "found heads"
"""What a manifest says that such a folder holds."""

SCORERS = ("linear_probe", "joint_network")
"""Scorers that need collected activations alone, and no model."""

Told = Callable[[str], None]


@fits_a_cell("functions scorers rule heads=counts")
@dataclass(frozen=True, eq=False)
class FoundHeads:
    """Heads of each function by each scorer.

    Attributes:
        scores: of every scorer, by its name.
        sets: the heads that are selected, by scorer, a set for each of its functions.
        rule: what selected them.
        layout: by scorer, how few heads each function lies in, and in which layers.
        in_common: by scorer, what functions have in common; only of those with two functions or more.
        agreement: how far scorers agree, a row for each function, pair and measure; None of a single scorer.
        activations: the folder of the activations; empty where they were given otherwise.
        settings: what made it.
    """

    scores: Mapping[str, HeadScores]
    sets: Mapping[str, tuple[HeadSet, ...]]
    rule: str
    layout: Mapping[str, HeadLayout] = field(repr=False)
    in_common: Mapping[str, pd.DataFrame] = field(repr=False)
    agreement: pd.DataFrame | None = field(repr=False)
    activations: str
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def scorers(self) -> tuple[str, ...]:
        """The names of the scorers."""
        return tuple(self.scores)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that any scorer scores."""
        return tuple(dict.fromkeys(name for own in self.scores.values() for name in own.functions))

    @property
    def counts(self) -> dict[str, int]:
        """By function, how many heads the first scorer's selection has."""
        return {own.function: len(own) for own in self.sets[self.scorers[0]]}

    def of(self, function: str, scorer: str | None = None) -> HeadSet:
        """The heads of a function, by the first scorer where none is named.

        Raises:
            InputError: there is no such scorer or function.
        """
        name = self.scorers[0] if scorer is None else scorer
        if name not in self.sets:
            raise InputError(f"there is no scorer {scorer!r:.40}: use one of {', '.join(self.scorers)}")
        return self.sets[name][self.scores[name].place(function)]

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each scorer, function and head: `value`, interval, null and p-values, and whether `selected`."""
        import pandas as pd

        parts = []
        for name, own in self.scores.items():
            masks = [one.mask().reshape(-1) for one in self.sets[name]]
            parts.append(own.to_dataframe().assign(selected=[bool(one) for mask in masks for one in mask]))
        return pd.concat(parts, ignore_index=True)

    def selected(self) -> pd.DataFrame:
        """A row for each head that is selected, the strongest of each set first."""
        import pandas as pd

        every = [one.to_dataframe() for own in self.sets.values() for one in own]
        return pd.concat([one for one in every if len(one)] or every[:1], ignore_index=True)

    def left_out(self) -> pd.DataFrame:
        """What can not be told, by scorer and function, and why: no scores, or no head that passes the rule."""
        import pandas as pd

        rows = [
            {"table": "scores", "scorer": name, **one} for name, own in self.scores.items() for one in own.left_out
        ] + [
            {"table": "selected", "scorer": one.scorer, "function": one.function, "why": one.why}
            for own in self.sets.values()
            for one in own
            if not len(one)
        ]
        return pd.DataFrame(rows, columns=["table", "scorer", "function", "why"])


def find_heads(
    heads: HeadActivations,
    scorers: Sequence[str] | str = "linear_probe",
    *,
    rule: str = "fdr",
    given: Mapping[str, Any] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    functions: Sequence[str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    deals: int = 1000,
    progress: bool = True,
    tell: Told | None = None,
) -> FoundHeads:
    """Score every head for every function by each scorer, and select those that serve one.

    Args:
        heads: what heads put out, see `collect_heads`.
        scorers: some of `SCORERS`.
        rule: how heads are selected, see `probes.select_heads`.
        given: what the rule needs.
        options: by scorer, more for it, such as `{"linear_probe": {"variant": "cogvision"}}`.
        functions: some of those that items are labelled with; all by default.
        out: a folder that keeps each scorer's scores as soon as they are there.
        resume: take scores that are kept there, if they were made in the same way.
        seed: of scorers, deals and draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        deals: how often heads are dealt anew, for the nulls of layout and agreement.
        progress: show progress bars.
        tell: called with a line for each scorer whose kept scores are taken.

    Raises:
        InputError: items without functions, a scorer, function or rule that does not exist, a rule that asks for a null
            of a scorer without one, or kept scores that were made otherwise.

    Example:
        >>> found = find_heads(load_head_activations("out/heads"), rule="fdr")
        >>> found.of("spatial").heads
    """
    check_draws(draws, level, seed)
    selecting = dict(given or {})
    names, chosen = check_found(heads, scorers, rule, selecting, functions)
    used = _labelled(heads, chosen)
    common: dict[str, Any] = {"seed": seed, "draws": draws, "level": level}
    scores: dict[str, HeadScores] = {}
    for name in names:
        more = dict((options or {}).get(name, {}))
        asked = plain({"of": activations_digest(used), "functions": list(chosen), **common, **more})
        place = None if out is None else Path(out).expanduser() / "scores" / f"{name}.npz"
        kept = _kept(place, asked, resume)
        if kept is None:
            own = _score(name, used, chosen, {**common, **more, "progress": progress})
            main = sorted(set(used.groups))
            weights = (heads.settings.get("weights") or {}).get("sha256", "")
            kept = replace(
                own,
                settings={
                    **plain(dict(own.settings)),
                    "asked": asked,
                    "weights_sha256": weights,
                    "main_questions": main,
                },
            )
            if place is not None:
                save_scores(kept, place)
        elif tell is not None:
            tell(f"{name}: scores in {str(place)!r} are taken")
        scores[name] = kept
    sets = {name: select_all(own, rule, **selecting) for name, own in scores.items()}
    drawing: dict[str, Any] = {"deals": deals, "seed": seed, "level": level}
    layout = {name: head_layout(own, sizes=_sizes(own), top_k=_top(own), **drawing) for name, own in scores.items()}
    shared = {
        name: functions_in_common(own, rule, **drawing, **selecting).table
        for name, own in scores.items()
        if len(own.functions) > 1
    }
    agreement = None
    if len(scores) > 1:
        agreement = scorer_agreement(list(scores.values()), rule, **drawing, **selecting).table
    settings = dict(heads.settings)
    settings = {name: own for name, own in settings.items() if name not in ("study", "axes")}
    return FoundHeads(
        scores=scores,
        sets=sets,
        rule=next(iter(sets.values()))[0].rule,
        layout=layout,
        in_common=shared,
        agreement=agreement,
        activations=str(heads.folder),
        settings={
            **settings, "study": STUDY, "activations": str(heads.folder), "scorers": list(names), "rule": rule,
            "given": selecting, "options": plain(dict(options or {})), "functions": list(chosen), "items": len(used),
            **common, "deals": deals,
        },
    )  # fmt: skip


def check_found(
    heads: HeadActivations,
    scorers: Sequence[str] | str,
    rule: str,
    given: Mapping[str, Any],
    functions: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scorers and functions that are asked for, see `find_heads`; refuses what can be refused before any is scored.

    Raises:
        InputError: a scorer, rule or function that does not exist, or items without functions.
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
    return names, functions_of_items(heads, functions)


def functions_of_items(heads: HeadActivations, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """The functions that items are labelled with, the eight first and in their order; or those of them that are wanted.

    Raises:
        InputError: there are none, or one that is wanted is not among them; it counts what there is.
    """
    counts: dict[str, int] = {}
    for own in heads.functions:
        for name in own:
            counts[name] = counts.get(name, 0) + 1
    if not counts:
        raise InputError(
            f"none of the {len(heads)} items in {str(heads.folder)!r} is labelled with a function: collect steps, or "
            "give functions={id: [...]} to collect_heads"
        )
    if wanted is None:
        return (*(name for name in FUNCTIONS if name in counts), *(name for name in counts if name not in FUNCTIONS))
    names = listed(wanted, "functions")
    if strange := [name for name in names if name not in counts]:
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(f"no item is labelled {strange[0]!r:.40}: there are {there}")
    return tuple(dict.fromkeys(names))


def activations_digest(heads: HeadActivations) -> str:
    """By what activations are known again: their items, labels and answers, and how they were collected."""
    keep = ("weights", "answers", "tokens", "k", "alignment", "read", "store", "max_new_tokens", "prompt", "axes")
    content = [
        [heads.ids, heads.groups, heads.answers, heads.functions, heads.correct.tolist()],
        {name: heads.settings.get(name) for name in keep},
    ]
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def _labelled(heads: HeadActivations, functions: Sequence[str]) -> HeadActivations:
    """The items of any of these functions."""
    some = heads.labels(tuple(functions)).any(axis=1)
    return heads if some.all() else heads.select(some)


def _score(name: str, heads: HeadActivations, functions: Sequence[str], how: dict[str, Any]) -> HeadScores:
    """The scores of one scorer."""
    labels = heads.labels(tuple(functions))
    own: dict[str, Any] = {"functions": tuple(functions), **how}
    if name == "joint_network":
        main = [next(one for one in each if one in functions) for each in heads.functions]
        return joint_network(heads, labels, heads.groups, primary=main, **own)
    correct = heads.correct if own.get("variant") == "cogvision" else None
    return linear_probe(heads, labels, heads.groups, correct=correct, **own)


def _kept(place: Path | None, asked: Mapping[str, Any], resume: bool) -> HeadScores | None:
    """Scores that were kept, where they are to be gone on with.

    Raises:
        InputError: they were made otherwise, or can not be read.
    """
    if place is None or not resume or not place.is_file():
        return None
    found = load_scores(place)
    then = found.settings.get("asked", {})
    if then != asked:
        differ = [name for name in {**then, **asked} if then.get(name) != asked.get(name)]
        told = "; ".join(f"{name}: was {then.get(name)!r:.40}, now {asked.get(name)!r:.40}" for name in differ)
        raise InputError(f"{str(place)!r} was made otherwise ({told}): go on as it was begun, or name another folder")
    return found


def _sizes(scores: HeadScores) -> str:
    """Accuracies are measured above what chance gives, importances by their size."""
    return "above_null" if scores.scorer == "linear_probe" and scores.null is not None else "absolute"


def _top(scores: HeadScores) -> int:
    """Of how many heads `top_mass` is: ten, or all where there are fewer."""
    return min(10, scores.values[0].size)
