"""The commands `python -m probes heads find` and `heads compare`: heads scored and selected, and scores compared."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from interp.cli import add_debug_option, names
from interp.errors import InputError
from interp.zoo import EMBEDDED
from probes.commands.heads_items import add_items, asked_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interp.model.hooked_vlm import HookedVLM
    from interp.store.folder import OutputFolder

BY_NUMBERS = ("linear_probe", "joint_network")
"""Scorers that read collected activations; all others ask the model."""

ASKED = {"model": EMBEDDED[0], "unknown": "refuse", "prompt": "chat", "batch": 16, "dtype": "auto"}
"""Options that are about questions and the model, where they are not None by default, and what they are then."""

OF_MODEL = (
    "steps", "dataset", "folder", "images", "n", "split", "context", "names", "unknown", "image", "batch", "model",
    "device", "dtype", "revision", "prompt",
)  # fmt: skip
"""Options that mean something for scorers that ask the model alone."""

RULES = ("elbow", "top_k", "top_percent", "threshold", "fdr", "max_t")
"""Rules by name, see `probes.select_heads`."""

OF_SCORER: dict[str, dict[str, Any]] = {
    "linear_probe": {"variant": "one_vs_rest", "recipe": "ridge", "layer_mean": False, "shuffles": 50},
    "joint_network": {"loss": "ce", "epochs": None, "network_shuffles": 5},
}
"""Options of one scorer, and what they are where they are not named."""

NEEDS = {"top_k": ("top", "k"), "top_percent": ("percent", "percent"), "threshold": ("above", "above")}
"""By rule, the option that it needs, and what the rule calls that."""

PERCENT = 10.0
"""Of a hundred heads, those that top_percent takes where nothing else is asked for, as CogVision does."""

FIND = """Find: which heads serve which function, by one scorer or several, and how far these agree.

Scorers give every head a number for every function. From activations that `heads collect` has kept (FOLDER):
  linear_probe         how well a linear probe of the head tells the function's questions from others, main questions
                       held out, beside labels dealt anew
  joint_network        one network on all heads at once, each head by gradient times activation ("Attention in Space");
                       minutes to hours, as it is trained again with dealt labels for its null
From the model, which is asked the questions anew (the options of `heads collect`), at the last token of the prompt:
  image_mass           what the head puts on the image, beside attention that is even
  spatial_entropy      how concentrated its look at the image is, sign changed, beside the same weights elsewhere
  selection_frequency  how often it is among the most concentrated heads, beside heads dealt anew
  overlap, pointing    how well its look agrees with boxes, how often its peak lies in one; beside moved boxes
  gaze                 what it puts on the object that is asked about, beside the other objects
  hit_rate             how often it finds that object, over how likely that is, beside moved boxes
  gradient             gradient times attention for the right answer, beside the gain in another photo
  ablation             what the right answer loses without the head; ablation_positive, ablation_negative: losses where
                       the answer is right, gains where it is wrong, beside the other sign
  divergence           how far its output moves without the photo, beside another colour of blank photo;
                       divergence_relative and divergence_cosine, whatever its size
  id_write             how well what it writes at an object's name tells where the object lies, beside places dealt anew

A rule selects heads:
  fdr         those that chance does not score as high, with 5 of a hundred wrong on average (needs a null)
  max_t       those so high that chance scores any head as high in 5 of a hundred cases (needs a null)
  elbow       before the elbow of the sorted scores, as the paper has it; of noise, it finds heads as well
  top_k       the highest, with --top;  top_percent, with --percent;  threshold, with --above

Told are the heads of each function, how few they are and in which layers, beside heads in random places; what functions
have in common; and, of several scorers, how far they agree. One figure has all functions by layer, heads as cells.

examples:
  python -m probes heads find out/heads --out out/heads-found
  python -m probes heads find --scorers gaze,gradient,ablation --n 50 --out out/heads-looks
  python -m probes heads find out/heads --scorers linear_probe,ablation --n 200 --out out/heads-agree
  python -m probes heads find out/heads --variant cogvision --rule top_percent --percent 10 --out out/heads-cogvision
"""

COMPARE = """Compare: how far scorers agree about the heads of one model, and models about the layers of one function.

Takes folders that `heads find` has written. Scores of the same weights are held head against head: Spearman's
correlation and the overlap of selected heads, beside heads dealt anew over all layers and inside layers. Scores by one
scorer of different weights are held against each other by layer, at relative depth.

examples:
  python -m probes heads compare out/found-probe out/found-network --out out/heads-compared
  python -m probes heads compare out/found-3b out/found-7b --rule top_percent --percent 5
"""


def add_rule(parser: Any, *, rule: str) -> None:
    """Add how heads are selected."""
    parser.add_argument("--rule", choices=RULES, default=rule, help="how heads are selected (default: %(default)s)")
    parser.add_argument("--top", type=int, metavar="K", help="of top_k, how many heads")
    parser.add_argument("--percent", type=float, help="of top_percent, how many of a hundred heads (default: 10)")
    parser.add_argument("--above", type=float, metavar="SCORE", help="of threshold, the score")


def rule_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the rule needs, by the rule's own names.

    Raises:
        InputError: it is missing, or an option is given that the rule does not have.
    """
    for rule, (option, _) in NEEDS.items():
        if rule != options.rule and getattr(options, option) is not None:
            raise InputError(
                f"--{option} is about --rule {rule}, and --rule {options.rule} is asked: name that rule, or leave "
                f"--{option} out"
            )
    if options.rule not in NEEDS:
        return {}
    option, name = NEEDS[options.rule]
    given = getattr(options, option)
    if given is None and options.rule != "top_percent":
        raise InputError(f"--rule {options.rule} needs --{option}: give it")
    return {name: PERCENT if given is None else given}


def add_find(commands: Any) -> None:
    """Add the command `heads find`."""
    parser = commands.add_parser(
        "find",
        help="heads scored and selected, function by function, from activations or by asking the model",
        description=FIND,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "activations", nargs="?", metavar="FOLDER",
        help="a folder that `heads collect` has written, for linear_probe and joint_network",
    )  # fmt: skip
    parser.add_argument(
        "--scorers", default="linear_probe", metavar="NAMES",
        help="some of those above, with commas between (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--functions", metavar="NAMES",
        help="only these functions, and their questions alone, with commas between (default: all)",
    )  # fmt: skip
    add_rule(parser, rule="fdr")
    probe = parser.add_argument_group("linear_probe")
    probe.add_argument(
        "--variant", choices=("one_vs_rest", "cogvision"),
        help="told from all others, or, as CogVision has it, from as many rightly answered ones (default: %(default)s)",
    )  # fmt: skip
    probe.add_argument(
        "--recipe", choices=("ridge", "logistic"),
        help="least squares, or logistic regression, which takes a hundred times as long (default: %(default)s)",
    )  # fmt: skip
    probe.add_argument("--layer-mean", action="store_true", help="read the mean of the layer's heads beside each head")
    probe.add_argument(
        "--shuffles", type=int, help="how often labels are dealt anew, for the null (default: %(default)s)"
    )
    network = parser.add_argument_group("joint_network")
    network.add_argument("--loss", choices=("ce", "bce"), help="one function an item, or several")
    network.add_argument("--epochs", type=int, help="how often every item is seen (default: the paper's)")
    network.add_argument("--network-shuffles", type=int, help="networks of dealt labels (default: %(default)s)")
    _add_deals(parser)
    parser.set_defaults(**{name: value for own in OF_SCORER.values() for name, value in own.items()})
    add_items(parser, out="out/heads-found")
    parser.set_defaults(command=find_command)


def add_compare(commands: Any) -> None:
    """Add the command `heads compare`."""
    parser = commands.add_parser(
        "compare",
        help="how far scorers of one model, or models by one scorer, agree",
        description=COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("found", nargs="+", metavar="FOLDER", help="folders that `heads find` has written")
    add_rule(parser, rule="top_percent")
    _add_run(parser, out="out/heads-compared")
    parser.set_defaults(command=compare_command)


def _add_run(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Add the draws and the folder for results."""
    _add_deals(parser)
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with what lies in --out")
    parser.add_argument("--out", default=out, help="folder for the results (default: %(default)s)")
    add_debug_option(parser)


def _add_deals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deals", type=int, default=1000, help="how often heads are dealt anew (default: %(default)s)")


def find_command(options: argparse.Namespace) -> int:
    """Run `heads find`."""
    from interp.store.folder import OutputFolder
    from probes.heads.activations.result import load_head_activations
    from probes.heads.found.find import STUDY, check_found, find_heads
    from probes.heads.found.report import found_findings
    from probes.heads.found.saved import begun_folder
    from probes.study.findings import tell_findings

    given, scorers = rule_of(options), names(options.scorers)
    functions = None if options.functions is None else names(options.functions)
    _refuse_idle(options, scorers)
    heads = None if options.activations is None else load_head_activations(options.activations)
    asked = None
    if any(name not in BY_NUMBERS for name in scorers):
        asked = asked_items(options)
    else:
        _refuse_asking(options, scorers)
    check_found(heads, scorers, options.rule, given, functions, None if asked is None else asked.items)
    folder = OutputFolder(options.out)
    told = {"scorers": list(scorers), "rule": options.rule, "given": given, "functions": functions}
    told |= {"deals": options.deals, "seed": options.seed}
    with begun_folder(folder, STUDY, resume=options.resume, asked=told):
        model: dict[str, Any] = {}
        if asked is not None:
            vlm = asked.vlm()
            model = {"vlm": vlm, "items": asked.items, "prompt": options.prompt, "batch": options.batch}
            if "id_write" in scorers:
                model["axes"] = _axes(vlm, options, folder)
        found = find_heads(
            heads,
            scorers,
            rule=options.rule,
            given=given,
            options=_scorer_options(options),
            functions=functions,
            out=folder.path,
            resume=options.resume,
            seed=options.seed,
            deals=options.deals,
            tell=print,
            **model,
        )
        tell_findings(folder, found_findings(found))
    return 0


def _refuse_idle(options: argparse.Namespace, scorers: Sequence[str]) -> None:
    """Refuse options of a scorer that is not asked for, which would do nothing.

    Raises:
        InputError: there are some.
    """
    for scorer, own in OF_SCORER.items():
        given = [name for name, value in own.items() if getattr(options, name) != value]
        if given and scorer not in scorers:
            told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(f"{told} is about {scorer}, which --scorers does not name: name it, or leave {told} out")


def _refuse_asking(options: argparse.Namespace, scorers: Sequence[str]) -> None:
    """Refuse options about questions and the model, where no scorer asks any.

    Raises:
        InputError: there are some.
    """
    given = [name for name in OF_MODEL if getattr(options, name) != ASKED.get(name)]
    if options.trust_remote_code:
        given.append("trust_remote_code")
    if options.processor_options:
        given.append("processor")
    if given:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{told} is about scorers that ask the model, and {', '.join(scorers)} do not: leave it out")


def _axes(vlm: HookedVLM, options: argparse.Namespace, folder: OutputFolder) -> Any:
    """Axes of the stream at objects' names, of scenes that are drawn for it."""
    from probes.mechanisms.ids.spatial_ids import spatial_ids
    from probes.mechanisms.scenes.id_scenes import id_scenes

    out = folder.path / "measured" / "axes"
    how: dict[str, Any] = {"batch": options.batch, "prompt": options.prompt, "resume": options.resume}
    return spatial_ids(vlm, id_scenes(seed=options.seed), seed=options.seed, out=out, **how).axes


def _scorer_options(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each scorer is given."""
    probe = {
        "variant": options.variant,
        "recipe": options.recipe,
        "context": options.layer_mean,
        "shuffles": options.shuffles,
    }
    network = {"loss": options.loss, "shuffles": options.network_shuffles}
    if options.epochs is not None:
        network["epochs"] = options.epochs
    return {"linear_probe": probe, "joint_network": network}


def compare_command(options: argparse.Namespace) -> int:
    """Run `heads compare`."""
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign
    from probes.heads.found.compare import (
        STUDY,
        check_compared,
        compare_heads,
        compared_findings,
        note_deals,
        read_scores_of,
    )
    from probes.heads.found.saved import begun_folder, digests_of
    from probes.study.findings import tell_findings

    given = rule_of(options)
    check_compared(options.rule, given, options.deals, options.seed)
    every = read_scores_of(options.found)
    folder = OutputFolder(options.out)
    how = {"rule": options.rule, "given": given, "deals": options.deals, "seed": options.seed}
    refuse_begun(folder.path, resume=options.resume)
    refuse_foreign(folder.path)
    if few := note_deals(every, options.deals):
        print(f"note: {few}", file=sys.stderr)
    found = compare_heads(every, **how)
    with begun_folder(folder, STUDY, resume=options.resume, asked={"scores": digests_of(every), **how}):
        tell_findings(folder, compared_findings(found))
    return 0
