"""Dual mechanisms: what the vision encoder carries of spatial order, what the language model adds, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.answers.metrics import ALL
from interp.errors import InputError, RefusedError
from interp.numeric import listed
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.stats.probe_accuracy import held_out
from probes.mechanisms.dual.evidence import PLACE, Evidence, UntoldError
from probes.mechanisms.dual.statements import NAMES, state
from probes.mechanisms.scenes.pairs import AXES, check_pairs
from probes.study.run import check_asked, check_how, check_model, groups_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.ablation.ordering import OrderingAblation
    from probes.mechanisms.interchange.result import Interchange
    from probes.mechanisms.probe.position import PositionProbe
    from probes.mechanisms.scenes.pairs import Pair

SWEEPS = ("strip", "object", "background", "last")
"""The token sets that are patched from the counterfactual run, slot by slot."""

LINES, PHOTOS = "lines", "photos"
"""What pairs are made of."""

TOOLS = ("probe", *SWEEPS, "ablate", "backup")
"""What is measured, in order; `probe` once for each axis that pairs have, `backup` is the swap under ablation."""


@fits_a_cell("statements refused")
@dataclass(frozen=True, eq=False)
class DualMechanisms:
    """The paper's question, answered for one model: vision encoder or language model?

    Five statements, each with its number, interval, control and p-value:

        encoder_carries     swapping strips, or the objects' tokens alone, where tokens enter the language model raises
                            P(place) beyond as many random image tokens: order is there before the first block
        encoder_is_enough   accuracy with contents put together and order kept, less that with order removed: what the
                            answer owes to the encoder's order
        language_adds       with order removed, accuracy over chance: order that the language model makes itself
        language_builds     with order removed in both runs, swapping the objects' tokens raises P(place) beyond random
                            tokens at the slots named, none of which is slot 0
        answer_is_read      patching the last position raises P(place) beyond the control at the slots named: from the
                            first of these on, the last position has read what the answer hangs on

    Attributes:
        statements: one row per statement and axis that can be told: `statement`, `axis`, `shown`, `measure`, `value`,
            `low`, `high`, `p`, `slot` (of `value`; -1 for none), `slots` (where it is shown), `pairs`, `groups`,
            `picked_from`, `shared_by`. `axis` is `all`, and each axis where pairs have two. Where `value` was picked
            from several slots or swaps, its interval is one for all of them together. `shown` is true where the
            interval and the test leave out that there is nothing; false does not show that there is nothing. `p` is
            corrected for all slots that a statement is about, and of one axis for both axes too (maxT), so that what
            only one axis shows is not owed to looking at two; that over all pairs was named before and is not
            corrected for them.
        left_out: one row per statement and axis that can not be told: `measure` (its name), `axis`, `why`.
        probes: by axis, the position probe.
        sweeps: by token set, the interchange; `backup`, that under ablation.
        ablation: accuracy with order removed; None where it was not measured.
        axis_of: by pair's id, its axis.
        refused: by tool, why this model can not be measured by it.
        settings: what made it.

    Example:
        >>> found = dual_mechanisms(vlm, line_pairs(setting_of("known"), geometry_of(vlm), form="relation"))
        >>> found.verdict()
    """

    statements: pd.DataFrame
    left_out: pd.DataFrame
    probes: Mapping[str, PositionProbe] = field(repr=False)
    sweeps: Mapping[str, Interchange] = field(repr=False)
    ablation: OrderingAblation | None = field(repr=False)
    axis_of: Mapping[str, str] = field(repr=False)
    refused: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def axes(self) -> tuple[str, ...]:
        """What statements are told of: `all`, and each axis where pairs have two."""
        return self._evidence().axes

    def shows(self, statement: str, axis: str = ALL) -> bool | None:
        """Whether a statement is shown, of all pairs or those on one axis; None where it can not be told.

        Raises:
            InputError: there is no such statement or axis.
        """
        if statement not in NAMES:
            raise InputError(f"there is no statement {statement!r}: use one of {', '.join(NAMES)}")
        self._refuse_other(axis)
        own = self.statements.query("statement == @statement and axis == @axis")
        return bool(own["shown"].iloc[0]) if len(own) else None

    def mechanisms(self, axis: str = ALL) -> dict[str, bool | None]:
        """Whether each of `vision encoder` and `language model` is shown to find places; None if that can't be told.

        The vision encoder's mechanism is shown by `encoder_carries`; the language model's by `language_adds` and
        `language_builds` together, as accuracy alone may come from guessing by content, and a flip alone from pairs
        that are few. Where one of these two is not shown, it is not shown, whether the other can be told or not.
        """
        both = [self.shows(name, axis) for name in ("language_adds", "language_builds")]
        language = False if False in both else None if None in both else True
        return {"vision encoder": self.shows("encoder_carries", axis), "language model": language}

    def verdict(self, axis: str = ALL) -> str:
        """In a word or two, which mechanism is shown, of all pairs or those on one axis; see `mechanisms`.

        `vision encoder`, `language model` or `both`: it is shown, and of the other it is not, or can not be told.
        `neither`: none is shown, which does not say that there is none. `not told`: none is shown, and of one of them
        at least it can not be told, see `left_out`.
        """
        told = self.mechanisms(axis)
        shown = [name for name, own in told.items() if own]
        if shown:
            return shown[0] if len(shown) == 1 else "both"
        return "not told" if None in told.values() else "neither"

    def to_dataframe(self) -> pd.DataFrame:
        """The statements, numbers as float32 columns."""
        return self.statements.copy()

    def plot(self, ax: Axes | None = None, *, axis: str = ALL) -> Axes:
        """Draw P(place) beyond the control over slots, for every token set that was swapped, of all pairs or one axis.

        Raises:
            InputError: there is nothing to draw, or no such axis.
        """
        from probes.mechanisms.dual.figure import plot_sweeps

        self._refuse_other(axis)
        labels = {name: own.slot_label for name, own in self.sweeps.items()}
        slots, level = next(iter(labels.values()), "layer slot"), self.settings.get("level")
        return plot_sweeps(self.beyond_control(axis), slots, ax, of="" if axis == ALL else f"{axis} axis", level=level)

    def beyond_control(self, axis: str = ALL) -> dict[str, pd.DataFrame]:
        """By token set, P(place) patched minus control at every slot; sets of which that can not be told are missing.

        Raises:
            InputError: there is no such axis.
        """
        self._refuse_other(axis)
        evidence, told = self._evidence(), {}
        for name in self.sweeps:
            with suppress(UntoldError):
                told[name] = evidence.beyond_control(name, axis)
        return told

    def _refuse_other(self, axis: str) -> None:
        if axis not in self.axes:
            raise InputError(f"axis={axis!r} is not told of by itself: use one of {', '.join(self.axes)}")

    def _evidence(self) -> Evidence:
        return Evidence(self.sweeps, self.ablation, self.refused, self.axis_of)


def dual_mechanisms(
    vlm: HookedVLM,
    pairs: Sequence[Pair],
    tools: Sequence[str] = TOOLS,
    *,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> DualMechanisms:
    """Vision encoder or language model: which of them finds where things are? (Cui et al. 2026, arXiv:2603.22278).

    Pairs are lines of items and their reverse, as `line_pairs(kind="reversed")` draws them. Position probes read image
    tokens in the tower, at the projector and in the language model; interchange swaps strips, objects and background
    between the two sides slot by slot, and the last position; the ordering ablation takes order out of the image
    tokens; and the swap under ablation finds where the language model makes it anew. Each has its control in the same
    run, and `DualMechanisms` draws the paper's conclusion from their intervals and tests.

    Args:
        vlm: the model.
        pairs: what to ask, each with an id of its own; the group of the clean sample says what is drawn together.
        tools: which of `TOOLS`; statements whose tools are missing are left out by name.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: pairs that are measured together.
        out: a folder; each tool's study is kept in one of its name inside, so that it can be resumed.
        resume: go on with what the folder holds.
        progress: show progress bars.
        seed: the seed of splits, control tokens, sign flips and bootstraps.
        draws: draws of the bootstraps.
        level: nominal coverage.
        record: more to record beside the settings, such as the scenes.

    Raises:
        InputError: pairs that are no reversed lines or can not be asked, fewer than two groups, or tools that are not
            known; before the first pass.
        RefusedError: a model that none of the tools can measure.
    """
    check_draws(draws, level, seed)
    tools = _known(tools)
    parts = folders_of(tools)
    check_how(out=out, resume=resume, batch=batch, progress=progress, record=record, parts=parts)
    check_model(vlm)
    check_pairs(pairs)
    samples = [pair.clean for pair in pairs]
    groups_of(samples)
    _refuse_no_swap(pairs)
    if "probe" in tools:
        _refuse_few_groups(pairs, seed)
    for side in (samples, [pair.counterfactual for pair in pairs]):
        check_asked(vlm, side, prompt, progress=progress)
    check_tokens(vlm, pairs, tools, prompt)
    how: dict[str, Any] = {
        "prompt": prompt, "batch": batch, "resume": resume, "progress": progress, "seed": seed, "draws": draws,
        "level": level, "record": record,
    }  # fmt: skip
    found: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, run in _runs(vlm, pairs, tools, how):
        try:
            found[name] = run(None if out is None else Path(out) / name)
        except RefusedError as error:
            refused[name] = str(error)
    if not found:
        raise RefusedError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    sweeps = {name: found[name] for name in (*SWEEPS, "backup") if name in found}
    axis_of = {pair.id: pair.axis for pair in pairs}
    statements, left_out = state(Evidence(sweeps, found.get("ablate"), refused, axis_of, seed, level))
    return DualMechanisms(
        statements=statements,
        left_out=left_out,
        probes={name.removeprefix("probe-"): own for name, own in found.items() if name.startswith("probe-")},
        sweeps=sweeps,
        ablation=found.get("ablate"),
        axis_of=axis_of,
        refused=refused,
        settings={
            **next(iter(found.values())).settings,
            "tools": list(tools),
            "pairs": len(pairs),
            "pairs_of": _pairs_of(samples),
        },
    )


def _pairs_of(samples: Sequence[Sample]) -> str:
    """What pairs are made of, as their samples say."""
    return LINES if all("geometry" in sample.meta for sample in samples) else PHOTOS


def _runs(
    vlm: HookedVLM, pairs: Sequence[Pair], tools: Sequence[str], how: dict[str, Any]
) -> Iterator[tuple[str, Callable[[Path | None], Any]]]:
    """What runs each tool, by the name of its folder."""
    from probes.mechanisms.ablation.ordered_photos import photos_of_lines
    from probes.mechanisms.ablation.ordering import ablate_ordering
    from probes.mechanisms.ablation.swap import swap_under_ablation
    from probes.mechanisms.interchange.sweep import interchange

    def probe(axis: str) -> Callable[[Path | None], Any]:
        from probes.mechanisms.probe.position import position_probe

        own = [pair.clean for pair in pairs if pair.axis == axis]
        return lambda out: position_probe(vlm, own, axis=axis, out=out, **how)

    def sweep(positions: str) -> Callable[[Path | None], Any]:
        return lambda out: interchange(vlm, pairs, positions, out=out, **how)

    if "probe" in tools:
        yield from ((f"probe-{axis}", probe(axis)) for axis in dict.fromkeys(pair.axis for pair in pairs))
    yield from ((name, sweep(name)) for name in SWEEPS if name in tools)
    if "ablate" in tools:
        photos = photos_of_lines(vlm, [pair.clean for pair in pairs])
        yield "ablate", lambda out: ablate_ordering(vlm, photos, out=out, **how)
    if "backup" in tools:
        yield "backup", lambda out: swap_under_ablation(vlm, pairs, "object", out=out, **how)


def folders_of(tools: Sequence[str] = TOOLS) -> tuple[str, ...]:
    """The folders that studies of these tools may be kept in, inside `out`."""
    probes = tuple(f"probe-{axis}/{part}" for axis in AXES for part in ("train", "test")) if "probe" in tools else ()
    return (*probes, *(name for name in tools if name != "probe"))


def _known(tools: Sequence[str]) -> tuple[str, ...]:
    """The tools, in order; see `check_tools`."""
    from probes.study.tools import check_tools

    return check_tools(listed(tools, "tools"), TOOLS)


def _refuse_no_swap(pairs: Sequence[Pair]) -> None:
    """Refuse pairs that do not show the same objects at exchanged places under one question."""
    for pair in pairs:
        if PLACE not in pair.outcomes or not pair.clean.objects or pair.clean.question != pair.counterfactual.question:
            raise InputError(
                f"pair {pair.id!r} is no line and its reverse under one question: draw pairs of the kind 'reversed'"
            )


def _refuse_few_groups(pairs: Sequence[Pair], seed: int) -> None:
    """Refuse pairs whose groups on one axis are too few for a probe that is trained on some and read on the others."""
    for axis in dict.fromkeys(pair.axis for pair in pairs):
        try:
            held_out(groups_of([pair.clean for pair in pairs if pair.axis == axis]), seed=seed)
        except InputError as error:
            raise InputError(f"pairs on the {axis} axis: {error}; or leave out the tool 'probe'") from error


def check_tokens(vlm: HookedVLM, pairs: Sequence[Pair], tools: Sequence[str], prompt: str) -> None:
    """Refuse pairs that one of the tools could not patch or ablate, before any of them runs.

    Raises:
        InputError: there is one.
    """
    from probes.mechanisms.ablation.ordered_photos import photos_of_lines
    from probes.mechanisms.interchange.measurement import InterchangeMeasurement

    if "ablate" in tools or "backup" in tools:
        photos_of_lines(vlm, [own for pair in pairs for own in (pair.clean, pair.counterfactual)])
    works = {}
    for tool in tools:
        if tool in (*SWEEPS, "backup"):
            slots = (vlm.cfg.n_layers,)  # refused by no family: what a tool refuses is told of by the tool itself
            positions = "object" if tool == "backup" else tool
            works[tool] = InterchangeMeasurement.of(vlm, pairs, positions, slots=slots, prompt=prompt)
    for pair in pairs if works else ():
        here, there = next(iter(works.values())).prepared([pair])
        for tool, work in works.items():
            try:
                work.ids_of(pair)
                work.sets_of([pair], here, there)
            except InputError as error:
                raise InputError(f"{error}; or leave out the tool {tool!r}") from error
