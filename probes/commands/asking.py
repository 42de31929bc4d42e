"""What the commands of the probes are asked about: one photo, or a data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from interp.cli import add_model_options, add_skip_option, load, note_domain, note_random_weights
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from interp.store.folder import OutputFolder

T = TypeVar("T")

DATA = """a benchmark (python -m interp datasets lists them; shapes and 2ds-style are drawn and need no files), or a
folder of your own photos"""

OF_DATA = {"folder": None, "images": None, "n": None, "batch": 16, "seed": 0, "resume": False, "skip_bad": False}
"""Options that mean something for a data set alone, and what they are where nobody gives them."""


def add_asked(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Add photo and question, or a data set in their place; the folder for results, and the model's options."""
    add_photo(parser, required=False)
    add_data(parser.add_argument_group("a data set in place of one photo"))
    parser.add_argument("--out", default=out, help="folder for the results (default: %(default)s)")
    add_model_options(parser)


def add_photo(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add photo and question."""
    nargs = None if required else "?"
    parser.add_argument("photo", nargs=nargs, help="any image file")
    parser.add_argument("question", nargs=nargs, help="what to ask")


def add_answer(parser: argparse.ArgumentParser) -> None:
    """Add --max-new-tokens and --system: what is answered, and how the model is addressed."""
    add_length(parser)
    parser.add_argument(
        "--system",
        metavar="TEXT",
        help="a system prompt, in the place of the chat template's own if it has one; '' leaves that out. Templates of "
        "LLaVA at Hugging Face have none, unlike LLaVA's own code",
    )


def add_length(parser: argparse.ArgumentParser) -> None:
    """Add --max-new-tokens."""
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )


def add_data(group: Any, *, n: int | None = None) -> None:
    """Add the options that name a data set, and say how a study of it is run; by default, of its first `n` samples."""
    group.add_argument("--dataset", help=DATA)
    group.add_argument("--folder", help="where the files of a benchmark lie")
    group.add_argument("--images", help="another folder to look for a benchmark's photos in")
    few = "all" if n is None else str(n)
    group.add_argument("--n", type=int, default=n, help=f"only the first so many samples (default: {few})")
    add_skip_option(group)
    group.add_argument(
        "--batch", type=int, default=OF_DATA["batch"], help="samples that share one pass (default: %(default)s)"
    )
    group.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    group.add_argument("--resume", action="store_true", help="go on with what lies in --out")


def is_study(options: argparse.Namespace) -> bool:
    """Whether a data set is asked, and not one photo.

    Raises:
        InputError: both or neither are named, a photo without a question, or options of the other kind.
    """
    if options.dataset is not None:
        if options.photo is not None:
            raise InputError(f"both {options.photo!r} and --dataset {options.dataset} are named: ask one of them")
        return True
    if options.photo is None or options.question is None:
        missing = "no photo and no --dataset is named" if options.photo is None else "no question is asked"
        raise InputError(f'{missing}: give PHOTO "question", or --dataset NAME')
    given = [f"--{name.replace('_', '-')}" for name, usual in OF_DATA.items() if getattr(options, name) != usual]
    if given:
        raise InputError(f"{', '.join(given)} is about a data set, and one photo is asked: name --dataset, or leave it")
    return False


def asked_photo(options: argparse.Namespace) -> tuple[OutputFolder, HookedVLM, VLMInputs]:
    """The folder, the model, and the photo with its question, ready for it; the model is loaded last.

    Raises:
        InputError: a photo that can not be read, or a folder that holds a study of a data set.
    """
    from interp.image.photos import load_image
    from interp.store.folder import OutputFolder
    from interp.store.guard import holds_study

    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    if holds_study(folder.path):
        raise InputError(f"{str(folder.path)!r} holds a study of a data set: name another folder for one photo")
    note_domain(options.model)
    note_random_weights(options.model)
    vlm = load(options)
    system = getattr(options, "system", None)
    return folder, vlm, vlm.prepare(image, options.question, prompt=options.prompt, system=system)


def fitting(things: Sequence[T], check: Callable[[T], object], what: str, how: dict[str, Any]) -> list[T]:
    """The samples or pairs that can be measured; how many others are left out is told, with the first reason.

    Real photos have objects that are smaller than a token; one of them should not keep all others from being asked.

    Args:
        things: samples or pairs.
        check: raises an InputError where one can not be measured.
        what: what they are, for the message.
        how: keywords of what measures them, whose `record` says it under `not_measured`.

    Raises:
        InputError: there are some, and none can: the first reason.
    """
    kept, refused = [], []
    for one in things:
        try:
            check(one)
        except InputError as error:
            refused.append(error)
        else:
            kept.append(one)
    if refused and not kept:
        if len(refused) == 1:
            raise refused[0]
        raise InputError(f"none of {len(refused)} {what} can be measured, first {refused[0]}") from refused[0]
    if refused:
        tell_left_out(how, len(refused), f"of {len(things)} {what}", f"such as: {refused[0]}")
    return kept


def tell_left_out(how: dict[str, Any], count: int, of: str, why: str) -> None:
    """Print how many samples or pairs are left out before anything is measured, and note it in the record."""
    from interp.numeric import agree

    print(f"{count} {of} {agree(count, 'is', 'are')} left out, {why}")
    told = how["record"].get("not_measured", [])
    how["record"] = {**how["record"], "not_measured": [*told, {"left_out": count, "what": of, "why": why}]}


@dataclass(frozen=True, eq=False)
class AskedData:
    """A data set that a command asks, and how."""

    folder: OutputFolder
    vlm: HookedVLM
    samples: list[Sample]
    how: dict[str, Any]
    """Keywords of every function that measures a data set: folder, batch, resume, and what to record."""


def asked_data(options: argparse.Namespace, parts: Sequence[str] = ("",)) -> AskedData:
    """The folder, the model and the samples; the model is loaded last.

    Args:
        options: what the command line says.
        parts: the folders inside `--out` that studies are kept in; by default the folder itself.

    Raises:
        InputError: a folder that holds something else, or a data set that can not be read.
    """
    from interp.datasets.benchmarks.catalogue import BENCHMARKS
    from interp.datasets.reading import read_samples
    from interp.stats.draws import check_seed
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign
    from interp.study.sample_checks import askable

    folder = OutputFolder(options.out)
    refuse_begun(folder.path, resume=options.resume, parts=parts, option="--resume")
    refuse_foreign(folder.path, parts)
    check_seed(options.seed)
    samples = askable(read_samples(options.dataset, options.folder, n=options.n, images=options.images))
    if options.dataset not in BENCHMARKS or not BENCHMARKS[options.dataset].synthetic:
        note_domain(options.model)
    note_random_weights(options.model)
    how = {
        "out": folder.path,
        "batch": options.batch,
        "resume": options.resume,
        "seed": options.seed,
        "prompt": options.prompt,
        "record": {"dataset": options.dataset},
    }
    vlm = load(options)
    samples = askable(samples, vlm, prompt=options.prompt, system=getattr(options, "system", None))
    return AskedData(folder, vlm, samples, how)
