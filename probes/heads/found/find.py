"""Find: scorers over collected activations, heads selected by one rule, how few they are, and how far scorers agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import whole_number
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.store.folder import plain
from interp.store.names import given_path
from probes.heads.found.across import agreement, layouts
from probes.heads.found.asked import BY_NUMBERS, activations_digest, asked_digest, check_found, restricted
from probes.heads.found.asked import SCORERS as SCORERS
from probes.heads.found.by_model import AskedModel, check_by_model, folder_of, score_by_model, studies_of
from probes.heads.found.saved import load_scores, save_scores
from probes.heads.scorers.joint_network import joint_network
from probes.heads.scorers.linear_probe import linear_probe
from probes.heads.scores import HeadScores
from probes.heads.selection.layout import HeadLayout, functions_in_common
from probes.heads.selection.selectors import check_count, select_all

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.activations.result import HeadActivations
    from probes.heads.selection.head_set import HeadSet

STUDY = "found heads"
"""What a manifest says that such a folder holds."""

Told = Callable[[str], None]


@fits_a_cell("functions scorers rule heads=counts")
@dataclass(frozen=True, eq=False)
class FoundHeads:
    """Heads of each function by each scorer.

    Attributes:
        scores: of every scorer, by its name.
        sets: the heads that are selected, by scorer, a set for each of its functions.
        rule: what selected them.
        layout: by scorer, how few heads each function lies in, and in which layers; not of scorers that have no number
            of some head.
        in_common: by scorer, what functions have in common; only of those with two functions or more.
        agreement: how far scorers agree, a row for each function, pair and measure; None of a single scorer.
        activations: the folder of the activations; empty where there are none.
        untold: what else can not be told, by `table`, `scorer`, `function` and `why`.
        settings: what made it.
    """

    scores: Mapping[str, HeadScores]
    sets: Mapping[str, tuple[HeadSet, ...]]
    rule: str
    layout: Mapping[str, HeadLayout] = field(repr=False)
    in_common: Mapping[str, pd.DataFrame] = field(repr=False)
    agreement: pd.DataFrame | None = field(repr=False)
    activations: str
    untold: tuple[Mapping[str, str], ...] = field(repr=False)
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
        return pd.DataFrame([*rows, *self.untold], columns=["table", "scorer", "function", "why"])


def find_heads(
    heads: HeadActivations | None,
    scorers: Sequence[str] | str = "linear_probe",
    *,
    rule: str = "fdr",
    given: Mapping[str, Any] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    functions: Sequence[str] | None = None,
    vlm: HookedVLM | None = None,
    items: Sequence[Sample] | None = None,
    prompt: str = "chat",
    batch: int = 16,
    axes: ArrayLike | None = None,
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
        heads: what heads put out, see `collect_heads`; None where no scorer needs it.
        scorers: some of `SCORERS`; all but linear_probe and joint_network ask the model.
        rule: how heads are selected, see `probes.select_heads`.
        given: what the rule needs.
        options: by scorer, more for it, such as `{"linear_probe": {"variant": "cogvision"}}`.
        functions: some of those that items are labelled with; all by default.
        vlm: the model, where a scorer asks one.
        items: what it is asked; with `heads`, the items that these were collected from.
        prompt: prompt style of these.
        batch: items that are asked together.
        axes: of `id_write`, fitted on other scenes, such as `spatial_ids(vlm, id_scenes()).axes`.
        out: a folder that keeps each scorer's scores as soon as they are there.
        resume: take scores that are kept there, if they were made in the same way.
        seed: of scorers, deals and draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        deals: how often heads are dealt anew, for the nulls of layout and agreement.
        progress: show progress bars.
        tell: called with a line for each scorer whose kept scores are taken.

    Raises:
        InputError: items without functions, a scorer, function or rule that does not exist, a scorer without what it
            needs, items or a model that are not those of the activations, a rule that asks for a null of a scorer
            without one, or kept scores that were made otherwise.

    Example:
        >>> found = find_heads(load_head_activations("out/heads"), rule="fdr")
        >>> found.of("spatial").heads
        >>> find_heads(None, ("gaze", "ablation"), vlm=vlm, items=step_samples(synthetic_steps(50))).agreement
    """
    from interp.model.provenance import RUN, result_of, run_record

    begun = run_record()
    check_draws(draws, level, seed)
    whole_number(deals, "deals", 1)
    selecting, more = dict(given or {}), dict(options or {})
    names, chosen = check_found(heads, scorers, rule, selecting, functions, items)
    common: dict[str, Any] = {"seed": seed, "draws": draws, "level": level}
    run = _Run(chosen, common, more, out, resume, progress, tell)
    asked = _asked_model(vlm, items, prompt, batch, axes, chosen)
    if asked is not None:
        if rule == "top_k":
            check_count(selecting["k"], asked.vlm.cfg.n_layers * asked.vlm.cfg.n_heads)
        if heads is not None:
            heads.refuse_other(asked.vlm)
        check_by_model(asked, names, more, seed=seed)
    used = None if heads is None else _labelled(heads, chosen)
    made: dict[str, HeadScores] = {}
    if asked is not None:
        made |= run.by_model(asked, names)
    if used is not None:
        made |= run.by_numbers(used, [name for name in names if name in BY_NUMBERS])
    scores = {name: made[name] for name in names if made[name].functions}
    untold = [{"table": "scores", "scorer": name, **one} for name in names for one in _gone(made[name])]
    if not scores:
        told = "; ".join(f"{one['function']} by {one['scorer']}: {one['why']}" for one in untold)
        raise InputError(f"no function can be scored: {told}")
    sets = {name: select_all(own, rule, **selecting) for name, own in scores.items()}
    drawing: dict[str, Any] = {"deals": deals, "seed": seed, "level": level}
    layout = layouts(scores, drawing, untold)
    shared = {
        name: functions_in_common(own, rule, **drawing, **selecting).table
        for name, own in scores.items()
        if len(own.functions) > 1
    }
    agree = agreement(scores, rule, {**drawing, **selecting}, untold)
    first = dict(heads.settings) if heads is not None else dict(next(iter(scores.values())).settings["study"])
    settings = {name: own for name, own in first.items() if name not in ("study", "axes", "scorers")}
    folder = "" if heads is None else str(heads.folder)
    if heads is not None:  # the record is of activations, which another command may have collected
        settings = {**begun, **result_of(settings), "collected": {name: first[name] for name in RUN if name in first}}
    return FoundHeads(
        scores=scores,
        sets=sets,
        rule=next(iter(sets.values()))[0].rule,
        layout=layout,
        in_common=shared,
        agreement=agree,
        activations=folder,
        untold=tuple(untold),
        settings={
            **settings, "study": STUDY, "activations": folder, "scorers": list(names), "rule": rule,
            "given": selecting, "options": plain(more), "functions": list(chosen),
            "items": len(asked.items if used is None and asked is not None else used or ()), **common, "deals": deals,
        },
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Run:
    """How all scorers are run."""

    functions: tuple[str, ...]
    common: dict[str, Any]
    options: Mapping[str, Mapping[str, Any]]
    out: str | Path | None
    resume: bool
    progress: bool
    tell: Told | None

    def by_numbers(self, heads: HeadActivations, names: Sequence[str]) -> dict[str, HeadScores]:
        """Scores of scorers that read activations."""
        found = {}
        of, weights = activations_digest(heads), (heads.settings.get("weights") or {}).get("sha256", "")
        for name in names:
            own, asked = dict(self.options.get(name, {})), self._asked(name, of)
            kept = self._kept(name, asked)
            if kept is None:
                made = _score(name, heads, self.functions, {**self.common, **own, "progress": self.progress})
                kept = self._keep(name, made, asked, weights, heads.groups)
            found[name] = kept
        return found

    def by_model(self, asked: AskedModel, names: Sequence[str]) -> dict[str, HeadScores]:
        """Scores of scorers that ask the model, which runs once for those of a study."""
        from interp.model.provenance import weights_record

        found: dict[str, HeadScores] = {}
        of, weights = asked_digest(asked), weights_record(asked.vlm)["sha256"]
        groups = [item.group or item.id for item in asked.items]
        for study, own in studies_of(names).items():
            wanted = {name: self._asked(name, of) for name in own}
            kept = {name: self._kept(name, wanted[name]) for name in own}
            missing = [name for name in own if kept[name] is None]
            if missing:
                how: dict[str, Any] = {**self.common, "resume": self.resume, "progress": self.progress}
                made = score_by_model(
                    asked, study, missing, self.options, out=folder_of(self.out, study, missing), **how
                )
                for name in missing:
                    kept[name] = self._keep(name, made[name], wanted[name], weights, groups)
            found |= {name: one for name, one in kept.items() if one is not None}
        return found

    def _asked(self, name: str, of: str) -> dict[str, Any]:
        """What scores are known again by."""
        return plain({"of": of, "functions": list(self.functions), **self.common, **self.options.get(name, {})})

    def _place(self, name: str) -> Path | None:
        return None if self.out is None else given_path(self.out) / "scores" / f"{name}.npz"

    def _kept(self, name: str, asked: Mapping[str, Any]) -> HeadScores | None:
        place = self._place(name)
        found = _kept(place, asked, self.resume)
        if found is not None and self.tell is not None:
            self.tell(f"{name}: scores in {str(place)!r} are taken")
        return found

    def _keep(
        self, name: str, made: HeadScores, asked: Mapping[str, Any], weights: str, groups: Sequence[str]
    ) -> HeadScores:
        """Scores with what made them, kept where there is a folder."""
        told = {"asked": asked, "weights_sha256": weights, "main_questions": sorted(set(groups))}
        found = replace(made, settings={**plain(dict(made.settings)), **told})
        place = self._place(name)
        if place is not None:
            save_scores(found, place)
        return found


def _asked_model(
    vlm: HookedVLM | None,
    items: Sequence[Sample] | None,
    prompt: str,
    batch: int,
    axes: ArrayLike | None,
    functions: Sequence[str],
) -> AskedModel | None:
    """What a model is asked; None where no scorer asks one.

    Raises:
        InputError: a model without items, or items without a model.
    """
    if (vlm is None) != (items is None):
        raise InputError("a model and its questions go together: give vlm=... and items=...")
    if vlm is None or items is None:
        return None
    return AskedModel(vlm, restricted(items, functions), prompt, batch, axes)


def _gone(scores: HeadScores) -> list[Mapping[str, str]]:
    """Why a scorer scores no function at all; nothing where it scores some."""
    return [] if scores.functions else [dict(one) for one in scores.left_out]


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
    try:
        found = load_scores(place)
    except InputError as error:
        raise InputError(f"scores in {str(place)!r} are damaged: delete that file, and they are made again") from error
    then = found.settings.get("asked", {})
    if then != asked:
        differ = [name for name in {**then, **asked} if then.get(name) != asked.get(name)]
        told = "; ".join(
            "of other questions, weights or options of these"
            if name == "of"
            else f"{name}: was {then.get(name)!r:.40}, now {asked.get(name)!r:.40}"
            for name in differ
        )
        raise InputError(f"{str(place)!r} was made otherwise ({told}): go on as it was begun, or name another folder")
    return found
