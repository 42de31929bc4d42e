"""The commands `python -m probes heads mask` and `heads steer`: answers with heads removed, or strengthened."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from interp.cli import floats, names
from interp.errors import InputError
from probes.commands.heads_find import PERCENT, add_rule, rule_of
from probes.commands.heads_items import AskedItems, add_items, asked_items, read_items

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores

REMOVE, STRENGTHEN = ("scale", "mean", "resample"), ("steer", "gain", "bias")
"""What `mask` and `steer` do with heads; see `probes.evaluate_heads`."""

LEARNED = ("mean", "resample", "steer")
"""Edits that are made of training items."""

UNRELATED = ("low_level", "high_level", "information", "recall", "math")
"""Functions that make the control task: none is spatial, and no decision, which is made of relations."""

RULE = "top_percent"
"""How heads of a folder are selected where nothing else is asked for."""

ABOUT = """
Heads come from a folder of `heads find` and a rule, or by hand (--heads 3.4,7.1: layer and head, from 0). Questions are
those of --function; a control task is made of questions of other functions, which these heads should not serve. Every
set is held against as many heads drawn from all others (five draws), as many of the same layers, the lowest-scored, and
heads of other functions. Told are accuracy, unreadable answers, perplexity, and a verdict: a set is causal only where
answers change beyond every random draw, can still be read, and the control task holds. Below chance means broken, not
causal.

Questions that heads were found on are refused, as they look stronger there; drawn ones are of the split test. With
--positions objects, questions that name none of their objects word for word are refused, and left out of the control
task, counted.
"""

MASK = f"""Mask: the answers without heads that were found. Does the model need them, and for this alone?
{ABOUT}
examples:
  python -m probes heads mask out/heads-found --function spatial --out out/masked
  python -m probes heads mask out/heads-found --function spatial,relational --edit mean --rule top_k --top 10 \\
      --doses 1 2 5 10
  python -m probes heads mask --heads 3.4,7.1 --function spatial --out out/masked-by-hand
"""

STEER = f"""Steer: the answers with heads that were found strengthened. Are more of them right?
{ABOUT}
Steering moves heads from wrong to right answers of training items, alpha times that difference; gain makes them larger;
bias turns them towards the boxes of the question's objects, and leaves out, counted, questions without a box that fills
half an image token.

examples:
  python -m probes heads steer out/heads-found --function spatial --out out/steered
  python -m probes heads steer out/heads-found --function relational --edit gain --factor 1.5 --factors 1.2,1.5,2
  python -m probes heads steer out/heads-found --function spatial --edit bias --out out/turned
"""


def add_mask(commands: Any) -> None:
    """Add the command `heads mask`."""
    _add(commands, "mask", "answers without heads that were found, beside random and other heads", MASK, REMOVE)


def add_steer(commands: Any) -> None:
    """Add the command `heads steer`."""
    _add(
        commands,
        "steer",
        "answers with heads that were found strengthened, beside the same controls",
        STEER,
        STRENGTHEN,
    )


def _add(commands: Any, name: str, short: str, about: str, edits: Sequence[str]) -> None:
    parser = commands.add_parser(
        name, help=short, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("found", nargs="?", metavar="FOLDER", help="a folder that `heads find` has written")
    parser.add_argument("--heads", metavar="LAYER.HEAD,...", help="heads by hand, in place of a folder")
    parser.add_argument(
        "--function", metavar="NAMES", help="whose heads, and which questions; with commas between (default: spatial)"
    )
    parser.add_argument("--scorer", help="by which scorer of the folder (default: the first)")
    add_rule(parser, rule=RULE)
    how = parser.add_argument_group("edit")
    how.add_argument("--edit", choices=edits, default=edits[0], help="what is done (default: %(default)s)")
    how.add_argument(
        "--factor", type=float, help="how strongly: of scale 0 to 1 (default: 0.001), of gain from 1 on (default: 2), "
        "alpha of steer (default: 0.1), of bias (default: 10000)",
    )  # fmt: skip
    how.add_argument(
        "--scope", choices=("prompt", "decode", "both"), default="both", help="which passes (default: both)"
    )
    how.add_argument(
        "--positions", choices=("last", "all", "text", "image", "objects"), default="last",
        help="where in the prompt; objects: the words of each question that name its objects (default: %(default)s)",
    )  # fmt: skip
    how.add_argument("--control", metavar="NAMES", help="functions of the control task (default: those not spatial)")
    how.add_argument("--sets", type=int, default=5, help="draws of each random control (default: %(default)s)")
    how.add_argument("--doses", type=int, nargs="+", default=(), metavar="K", help="numbers of heads of a dose curve")
    how.add_argument("--factors", default="", metavar="NUMBERS", help="strengths of a dose curve, with commas between")
    how.add_argument("--seen", action="store_true", help="also questions that the heads were found on")
    how.add_argument("--max-new-tokens", type=int, default=10, help="length of an answer (default: %(default)s)")
    add_items(parser, out=f"out/heads-{name}")
    parser.set_defaults(command=edit_command)


def edit_command(options: argparse.Namespace) -> int:
    """Run `heads mask` or `heads steer`."""
    from probes.heads.evaluation.evaluate import evaluate_heads
    from probes.heads.evaluation.report import evaluation_findings
    from probes.study.findings import tell_findings

    functions = ("spatial",) if options.function is None else names(options.function)
    if not functions:
        raise InputError("--function is empty: name one, such as spatial, or leave it out")
    sets, others, scores = _sets(options, functions)
    strengths = floats(options.factors) if options.factors else ()
    _refuse_early(options, sets, strengths)
    asked = asked_items(options, split="test")
    items = list(asked.items) if options.seen or scores is None else _unseen(asked.items, scores)
    train, items = _train(options, items)
    tested, control = _tasks(options, items, functions)
    vlm = asked.vlm()
    if scores is not None:
        _refuse_other(scores, vlm, options.found)
    tested, control, gone = _usable(options, vlm, tested, control)
    chosen = ("factor", "scope", "positions", "sets", "doses", "max_new_tokens", "seed")
    found = evaluate_heads(
        vlm,
        tested,
        sets,
        options.edit,
        scores=scores,
        others=others or None,
        control=control,
        train=[item for item in train if _is_of(item, functions)],
        factors=strengths,
        **{name: getattr(options, name) for name in chosen},
        **_recorded(asked, options, functions, gone),
    )
    tell_findings(asked.folder, evaluation_findings(found))
    return 0


def _refuse_early(options: argparse.Namespace, sets: Mapping[str, Sized], strengths: Sequence[float]) -> None:
    """Refuse numbers that mean nothing, before questions are drawn and a model is loaded.

    Raises:
        InputError: a strength that the edit does not have, doses of more heads than any set has, too few draws.
    """
    from probes.heads.evaluation.arms import FEWEST, read_counts
    from probes.heads.evaluation.edits import read_factor

    for factor in (options.factor, *strengths):
        read_factor(options.edit, factor)
    most = max(map(len, sets.values()))
    if many := [count for count in read_counts(options.doses) if count > most]:
        raise InputError(
            f"--doses {many[0]} is more heads than any set has, {most} at most: give smaller ones, or a "
            "set of more heads"
        )
    if options.sets < FEWEST:
        raise InputError(f"--sets {options.sets}: give {FEWEST} draws of each random control or more")


def _recorded(
    asked: AskedItems, options: argparse.Namespace, functions: Sequence[str], gone: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """How the data set is asked, and what is recorded of where heads come from and which questions are left out."""
    came = {"found": options.found, "by_hand": options.heads, "functions": list(functions), "rule": options.rule}
    more = {"heads_of": came, **({"questions_left_out": gone} if gone else {})}
    return {**asked.how, "record": {**asked.how["record"], **more}}


def _sets(
    options: argparse.Namespace, functions: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any], HeadScores | None]:
    """The heads of each function, those of the others, and the scores that they were selected by.

    Raises:
        InputError: neither a folder nor heads, or both; a scorer or function that is not there.
    """
    if (options.found is None) == (options.heads is None):
        both = "both a folder and --heads are" if options.heads is not None else "neither a folder nor --heads is"
        raise InputError(f"{both} named: give a folder that `heads find` has written, or --heads 3.4,7.1")
    given = rule_of(options)
    if options.heads is not None:
        chosen = [f"--{name}" for name in ("scorer", "rule") if getattr(options, name) not in (None, RULE)]
        if chosen or given != {"percent": PERCENT}:
            told = ", ".join(chosen) or "--percent"
            raise InputError(f"{told} is about a folder of `heads find`, and heads are given by hand: leave it out")
        return {"+".join(functions): _by_hand(options.heads)}, {}, None
    from probes.heads.found.saved import load_all_scores
    from probes.heads.selection.selectors import select_heads

    every = load_all_scores(options.found)
    if options.scorer is not None and options.scorer not in every:
        raise InputError(f"{options.found!r} has no scorer {options.scorer!r}: use one of {', '.join(every)}")
    scores = every[options.scorer or next(iter(every))]
    sets = {name: select_heads(scores, name, options.rule, **given) for name in functions}
    rest = {name: select_heads(scores, name, options.rule, **given) for name in scores.functions if name not in sets}
    return sets, {name: own for name, own in rest.items() if len(own)}, scores


def _by_hand(text: str) -> list[tuple[int, int]]:
    """Heads as `3.4,7.1`.

    Raises:
        InputError: anything else.
    """
    found = []
    for part in text.split(","):
        layer, dot, head = part.strip().partition(".")
        if not (dot and layer.isdecimal() and head.isdecimal()):
            raise InputError(f"--heads {text!r} is no list of heads: write layer and head from 0, such as 3.4,7.1")
        found.append((int(layer), int(head)))
    return found


def _unseen(items: Sequence[Sample], scores: HeadScores) -> list[Sample]:
    """The items, of which none may be of a main question that the scores are of.

    Raises:
        InputError: some are; it counts them.
    """
    from interp.numeric import agree

    known = set(scores.settings.get("main_questions", ()))
    seen = [item for item in items if (item.group or item.id) in known]
    if seen:
        raise InputError(
            f"{len(seen)} of {len(items)} questions, such as {seen[0].id!r}, {agree(len(seen), 'is', 'are')} of main "
            "questions that the heads were found on, where they look stronger: name others, such as --split test, or "
            "allow it by --seen"
        )
    return list(items)


def _train(options: argparse.Namespace, items: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Training items of edits that are made of them, and the items that are left to be tested.

    Questions that are drawn are drawn for it, of another split; of others one half of the groups is taken.
    """
    if options.edit not in LEARNED:
        return [], items
    if options.dataset is None and options.steps is None:
        other = "val" if options.split == "train" else "train"
        return read_items(argparse.Namespace(**{**vars(options), "split": other}))[0], items
    import numpy as np

    from interp.stats.draws import halves
    from probes.study.run import groups_of

    strata = np.array([item.relation for item in items], dtype=object)
    side = halves(groups_of(items), strata.astype(str), seed=options.seed)
    return (
        [item for item, half in zip(items, side, strict=True) if half == 0],
        [item for item, half in zip(items, side, strict=True) if half == 1],
    )


def _tasks(
    options: argparse.Namespace, items: Sequence[Sample], functions: Sequence[str]
) -> tuple[list[Sample], list[Sample]]:
    """The questions of the functions, and those of the control task; items that know no function are all tested.

    Raises:
        InputError: no question of a function.
    """
    if not any(_functions(item) for item in items):
        if options.control is not None:
            raise InputError("--control names functions, and these questions are labelled with none: leave it out")
        return list(items), []
    tested = [item for item in items if _is_of(item, functions)]
    if not tested:
        there = sorted({name for item in items for name in _functions(item)})
        raise InputError(f"no question is of {', '.join(functions)}: there are {', '.join(there)}")
    wanted = set(names(options.control) if options.control else UNRELATED) - set(functions)
    control = [item for item in items if _functions(item) and set(_functions(item)) <= wanted]
    if options.control and not control:
        raise InputError(f"--control {options.control}: no question is of these functions alone, and not tested")
    return tested, control


def _usable(
    options: argparse.Namespace, vlm: HookedVLM, tested: list[Sample], control: list[Sample]
) -> tuple[list[Sample], list[Sample], dict[str, dict[str, str]]]:
    """Questions that the edit can be made on; and by task, those that are left out, with the reason of each.

    Raises:
        InputError: no question is left of those that are tested, or of a control task that was asked for.
    """
    from interp.model.object_words import spans_of
    from probes.heads.evaluation.edits import no_region

    gone: dict[str, dict[str, str]] = {}
    kept = {}
    for task, own in (("tested", tested), ("control", control)):
        out = {item.id: why for item in own if options.edit == "bias" and (why := no_region(vlm, item))}
        if options.positions == "objects" and task == "control":
            nameless = [one for one in own if not any(spans_of(thing.name, one.question) for thing in one.objects)]
            out |= {item.id: "its question names no object" for item in nameless}
        kept[task] = [item for item in own if item.id not in out]
        if out:
            first, gone[task] = next(iter(out)), out
            told = f"{len(out)} of {len(own)} {task} questions are left out, the first is {first!r}: {out[first]}"
            if not kept[task] and (task == "tested" or options.control):
                raise InputError(f"no {task} question is left: {told}{_instead(options)}")
            if not kept[task]:
                told += f"; none is left, so what else the edit changes is not measured{_instead(options)}"
            print(told)
    return kept["tested"], kept["control"], gone


def _instead(options: argparse.Namespace) -> str:
    """What to do where the edit can be made on no question of a task, which the reasons of other edits say."""
    if options.positions != "objects":
        return ""
    return ": name functions whose questions name objects, with --function and --control, or other --positions"


def _is_of(item: Sample, functions: Sequence[str]) -> bool:
    """Whether an item is of any of these functions, or of none that is known."""
    own = _functions(item)
    return not own or bool(set(own) & set(functions))


def _functions(item: Sample) -> tuple[str, ...]:
    from probes.heads.activations.checks import functions_of

    own = functions_of(item)
    return tuple(own) if isinstance(own, (list, tuple)) else ()


def _refuse_other(scores: HeadScores, vlm: HookedVLM, folder: str) -> None:
    """Refuse heads that were found in another model.

    Raises:
        InputError: it has other weights.
    """
    from interp.model.provenance import weights_record

    then, own = scores.settings.get("weights_sha256", ""), weights_record(vlm)["sha256"]
    if then and then != own:
        raise InputError(
            f"the heads in {folder!r} were found in a model with the weights {then[:10]}..., and this one's are "
            f"{own[:10]}...: name that model, or find heads in this one"
        )
