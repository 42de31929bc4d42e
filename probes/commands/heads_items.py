"""What the commands `heads` are asked about: steps that are drawn, steps of a file, or a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interp.cli import add_model_options, add_skip_option, load, note_domain, note_random_weights
from interp.errors import InputError
from interp.store.names import given_path
from interp.zoo import EMBEDDED

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.store.folder import OutputFolder

N = 200
"""Main questions that are drawn where nothing else is asked for."""

CONTEXTS = ("all", "retrieval_only", "none", "bare")
"""What a step is asked with: see `probes.heads.data.prompts`; `bare` is its own question alone."""

OF_STEPS = ("context", "names", "unknown", "image")
"""Options that mean something for steps of a file, and not for a data set."""


def add_items(parser: argparse.ArgumentParser, *, out: str, n: int = N) -> None:
    """Add what is asked, the folder for results, and the model's options."""
    group = parser.add_argument_group("questions")
    group.add_argument(
        "--steps", metavar="FILE", help="stepped questions, JSON or JSON Lines of CogVSR's or CogQA's form"
    )
    group.add_argument(
        "--dataset",
        help="a benchmark or a folder of photos in place of steps (python -m interp datasets); its questions are "
        "labelled with no function",
    )
    group.add_argument("--folder", help="where the files of a benchmark lie")
    group.add_argument("--images", help="the folder below which photos lie, of --steps or a benchmark")
    group.add_argument(
        "--n", type=int, help=f"how many main questions, or samples (default: {n} that are drawn, all of a file)"
    )
    group.add_argument("--split", choices=("train", "val", "test"), help="only main questions of this split")
    group.add_argument(
        "--context",
        choices=CONTEXTS,
        help="what a step is asked with: the main question and all earlier steps, those of retrieval alone, none of "
        "them, or bare, its own question alone (default: all; for embedded models, which know no others, bare)",
    )
    group.add_argument("--names", choices=("cogvsr", "cogqa"), help="whose names the functions of --steps have")
    group.add_argument(
        "--unknown", choices=("refuse", "drop", "keep"), default="refuse",
        help="what a label of an unknown function in --steps means (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--image", metavar="PHOTO", help="what steps of text alone are shown, as a prompt holds a photo")
    group.add_argument("--batch", type=int, default=16, help="items that share one pass (default: %(default)s)")
    group.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    group.add_argument("--resume", action="store_true", help="go on with what lies in --out")
    add_skip_option(group)
    parser.add_argument("--out", default=out, help="folder for the results (default: %(default)s)")
    parser.set_defaults(drawn=n)
    add_model_options(parser)


def add_tokens(parser: argparse.ArgumentParser) -> None:
    """Add which tokens of answers are read."""
    group = parser.add_argument_group("what is read")
    group.add_argument(
        "--tokens", choices=("first", "last", "meaning_first", "full", "topk"), default="topk",
        help="which tokens of an answer (default: %(default)s, its most telling ones)",
    )  # fmt: skip
    group.add_argument("--k", type=int, default=3, help="how many tokens topk takes at most (default: %(default)s)")
    group.add_argument(
        "--alignment", choices=("at", "predicts"), default="at",
        help="the activation at a token, or the one that predicts it (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max-new-tokens", type=int, default=32, help="length of an answer at most (default: %(default)s)"
    )


@dataclass(frozen=True, eq=False)
class AskedItems:
    """What a command asks, and how; the model is loaded last, by `vlm()`."""

    folder: OutputFolder
    items: list[Sample]
    how: dict[str, Any]
    """Keywords of every function that measures items: folder, batch, resume, prompt, and what to record."""
    options: argparse.Namespace
    loaded: HookedVLM | None = None

    def vlm(self) -> HookedVLM:
        """The model."""
        if self.loaded is not None:
            return self.loaded
        from interp.datasets.benchmarks.catalogue import BENCHMARKS

        name = self.options.dataset
        if self.options.steps is not None or (name and not (name in BENCHMARKS and BENCHMARKS[name].synthetic)):
            note_domain(self.options.model)
        note_random_weights(self.options.model)
        return load(self.options)


def asked_items(options: argparse.Namespace, parts: Sequence[str] = ("",), *, split: str = "train") -> AskedItems:
    """The folder and the items, as far as no model is needed.

    Args:
        options: what the command line says.
        parts: the folders inside `--out` that studies are kept in; by default the folder itself.
        split: of questions that are drawn, where none is named.

    Raises:
        InputError: options that do not fit, a folder that holds something else, or questions that can not be read.
    """
    from interp.objects.refusals import leaves_out, noted
    from interp.stats.draws import check_seed
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign
    from interp.study.sample_checks import askable

    for name in ("n", "batch", "k", "max_new_tokens", "deals", "shuffles"):
        given = getattr(options, name, None)
        if given is not None and given < 1:
            raise InputError(f"--{name.replace('_', '-')} {given}: give at least 1")
    check_seed(options.seed)
    folder = OutputFolder(options.out)
    refuse_begun(folder.path, resume=options.resume, parts=parts)
    refuse_foreign(folder.path, parts)
    items, told = read_items(options, split=split)
    record = {"questions": told}
    how = {
        "out": folder.path,
        "batch": options.batch,
        "resume": options.resume,
        "prompt": options.prompt,
        "record": record,
    }
    asked = AskedItems(folder, askable(items), how, options)
    if not (leaves_out() or noted()):
        return asked
    vlm = asked.vlm()  # which knows what else can not be asked
    return replace(asked, items=askable(asked.items, vlm, prompt=options.prompt), loaded=vlm)


def read_items(options: argparse.Namespace, *, split: str = "train") -> tuple[list[Sample], dict[str, Any]]:
    """The items that the options name, and what they are, for the record.

    Raises:
        InputError: both steps and a data set, options of the other kind, or questions that can not be read.
    """
    if options.dataset is not None:
        return _of_dataset(options)
    if options.folder is not None:
        raise InputError("--folder is where the files of a benchmark lie: name --dataset, or leave it out")
    from interp.numeric import counted
    from probes.heads.data.prompts import BARE, QueryPrompt, step_samples

    questions, told = _questions(options, split)
    context = options.context or ("bare" if options.model in EMBEDDED else "all")
    prompt = BARE if context == "bare" else QueryPrompt(context=context)
    if options.prompt == "raw":
        raise InputError("--prompt raw: steps hold no image placeholder, use chat or paper")
    placeholder = None if options.image is None else given_path(options.image)
    items = step_samples(questions, prompt, image=placeholder)
    if options.steps is not None:
        print(f"{counted(len(questions), 'main question')}, {counted(len(items), 'step')}")
    return items, {**told, "context": context}


def _of_dataset(options: argparse.Namespace) -> tuple[list[Sample], dict[str, Any]]:
    from interp.datasets.reading import read_samples

    given = [f"--{name}" for name in (*OF_STEPS, "split") if getattr(options, name) not in (None, "refuse")]
    if options.steps is not None or given:
        what = "--steps" if options.steps is not None else ", ".join(given)
        raise InputError(f"{what} is about steps, and --dataset {options.dataset} is asked: name one of them")
    samples = read_samples(options.dataset, options.folder, n=options.n, images=options.images)
    return samples, {"dataset": options.dataset}


def _questions(options: argparse.Namespace, split: str) -> tuple[list[Any], dict[str, Any]]:
    """Main questions with their steps, drawn or of a file."""
    if options.steps is None:
        given = [f"--{name}" for name in ("images", "names", "image") if getattr(options, name) is not None]
        if given:
            raise InputError(f"{', '.join(given)} is about --steps: questions that are drawn have their own photos")
        from probes.heads.data.synthetic import synthetic_steps

        chosen, count = options.split or split, options.n or options.drawn
        return synthetic_steps(count, split=chosen, seed=options.seed), {"drawn": count, "split": chosen}
    from probes.heads.data.files import read_steps
    from probes.heads.data.splits import of_split

    read = read_steps(options.steps, images=options.images, names=options.names, unknown=options.unknown)
    print(read.describe())
    questions = read if options.split is None else of_split(read, options.split)
    told = {"steps": str(options.steps), "split": options.split, "described": read.describe()}
    return list(questions[: options.n]), told
