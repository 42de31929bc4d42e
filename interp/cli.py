"""What the command lines share: model options, lists of layers, and errors on one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, SpatialLensError
from interp.model.provenance import running
from interp.objects.refusals import leaving_out
from interp.quiet import StreamError, clean_streams, quiet_libraries
from interp.store.signals import stopped_by_signals
from interp.zoo import EMBEDDED
from interp.zoo.domain import remarks_on

if TYPE_CHECKING:
    from PIL import Image

    from interp.model.hooked_vlm import HookedVLM


MOST = 4096
"""Numbers that a list of layers or heads may hold: more than any model has."""


LINE = 6000
"""Letters of an error that are shown; what is longer holds a text that was given."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose help keeps its examples as written, and whose errors are ours."""

    def __init__(self, **settings: Any) -> None:
        """Keep line breaks of descriptions."""
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **settings})

    def error(self, message: str) -> Any:
        """Say what is wrong on one line, with exit code 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --device, --dtype, --revision, --trust-remote-code, --processor and so on."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", default=EMBEDDED[0], help="hub name, folder, or embedded model (default: %(default)s)"
    )
    group.add_argument("--device", default=None, help="where to run: cpu, cuda, cuda:1, auto (default: cpu)")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: the checkpoint's)")
    group.add_argument("--revision", default=None, help="revision of the model on the hub")
    add_trust_option(group)
    add_processor_option(group)
    group.add_argument(
        "--prompt",
        choices=("chat", "paper", "raw"),
        default="chat",
        help="the model's own chat template, the AdaptVis evaluation's prompt, or the question as a whole prompt that "
        "holds the image placeholder (default: %(default)s)",
    )
    add_debug_option(parser)


def add_trust_option(parser: Any) -> None:
    """Add --trust-remote-code, which `load` reads."""
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="let Python code that comes with the model run; without, a model that needs some is refused, and one of a "
        "kind that transformers knows runs as transformers' own class",
    )


def add_processor_option(parser: Any) -> None:
    """Add --processor and --image-backend, which `load` reads."""
    parser.add_argument(
        "--processor",
        dest="processor_options",
        metavar="KEY=VALUE",
        action=_Setting,
        help="a setting of the model's processor, such as max_pixels=50176, do_image_splitting=false or "
        'size={"longest_edge":512}; may be given several times',
    )
    parser.add_argument(
        "--image-backend",
        choices=("pil", "torchvision"),
        help="what resizes photos; their pixels differ a little (default: the processor's own)",
    )


class _Setting(argparse.Action):
    """Keeps `KEY=VALUE` by name, values as JSON has them, or else as text."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        """Add one."""
        name, mark, value = values.partition("=")
        if not mark or not name.strip():
            parser.error(f"argument {option}: {values!r} is not KEY=VALUE, such as max_pixels=50176")
        kept = {**(getattr(namespace, self.dest) or {})}
        if name.strip() in kept:
            parser.error(f"argument {option}: {name.strip()} is given twice")
        setattr(namespace, self.dest, {**kept, name.strip(): _value(value)})


def _value(text: str) -> Any:
    """A value as JSON has it, True and False too, or the text itself."""
    from interp.store.parsing import parse_json

    try:
        return parse_json({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        return text


def add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Add --debug, which `run` reads."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_skip_option(group: Any) -> None:
    """Add --skip-bad, which `run` reads."""
    group.add_argument(
        "--skip-bad",
        action="store_true",
        help="go on without rows that can not be asked, such as a photo that can not be read; manifest and report tell "
        "which (default: refuse before the first pass)",
    )


def load(options: argparse.Namespace) -> HookedVLM:
    """Load the model that the options name."""
    from interp.model.hooked_vlm import HookedVLM

    return HookedVLM.from_pretrained(
        options.model,
        dtype=options.dtype,
        device_map=options.device,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        processor_options=options.processor_options,
        image_backend=options.image_backend,
    )


def note_random_weights(model: str, image: Image.Image | None = None) -> None:
    """Say on standard error that what a tiny model answers means nothing, or what the embedded one does of a photo."""
    for remark in remarks_on(model, image):
        print(f"note: {remark}", file=sys.stderr)


def note_domain(model: str, what: str = "photos") -> None:
    """Say on standard error that the embedded model knows no photos, or nothing else that it is asked about."""
    if model in EMBEDDED:
        print(
            f"note: {model} knows drawn scenes of its own coloured shapes alone, so what it answers about {what}, and "
            f"where it looks, means nothing: for {what}, name a model of your own with --model",
            file=sys.stderr,
        )


def numbers(text: str) -> tuple[int, ...]:
    """Read layers or heads: `17,18` or `4-7` or both.

    Raises:
        InputError: anything else.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first + last) > 8:
            raise InputError(f"{text!r:.80} is no list of numbers: write 17,18 or 4-7")
        own = range(int(first), int(last if dash else first) + 1)
        if len(found) + len(own) > MOST:
            raise InputError(f"{text!r:.80} names over {MOST} numbers, more than any model has: write 17,18 or 4-7")
        found += own
    if not found:
        raise InputError(f"{text!r:.80} names nothing: write 17,18 or 4-7")
    return tuple(found)


def names(text: str) -> tuple[str, ...]:
    """Read a list of names with commas between; nothing names none."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def floats(text: str) -> tuple[float, ...]:
    """Read a list of numbers that need not be whole: `0,0.5,1.5`.

    Raises:
        InputError: anything else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is no list of numbers: write 0,0.5,1.5") from None


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Parse, run the chosen command, and turn what goes wrong into one line and an exit code.

    Returns:
        2 for what we refuse and what the machine lacks (memory, room on a disk); 128 and the signal's number where one
        stopped us (130 for Ctrl-C); 1 where our reader went away or we are wrong ourselves; or the command's own.
    """
    with clean_streams(), stopped_by_signals():
        try:
            try:
                return _run(parser, arguments)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output went away
            _say_no_more()
            return 1
        except StreamError as error:
            _say_no_more()
            return _refused(
                f"standard output can not be written ({error.strerror}): free the disk, or send it elsewhere"
            )


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int | None] | None = getattr(options, "command", None)
    if command is None:
        parser.print_help()
        return 0
    quiet_libraries()
    try:
        with running(parser.prog, sys.argv[1:] if arguments is None else arguments), _skipping(options):
            return command(options) or 0
    except KeyboardInterrupt as error:
        print(f"stopped; {' '.join(_notes(error))}".rstrip("; "), file=sys.stderr)
        return 128 + getattr(error, "signal", signal.SIGINT)
    except Exception as error:
        if getattr(options, "debug", False) or isinstance(error, (StreamError, BrokenPipeError)):
            raise
        if isinstance(error, SpatialLensError):
            return _refused(str(error), *_notes(error))
        if isinstance(error, MemoryError):
            return _refused("memory ran out: use a smaller --batch, a smaller photo or a smaller model", *_notes(error))
        said = f"{type(error).__name__}: {error}"
        _refused(
            f"unexpected {said:.300}; this is a fault of ours: run again with --debug, and report it", *_notes(error)
        )
        return 1


def _skipping(options: argparse.Namespace) -> AbstractContextManager[object]:
    """What is done with bad rows while a command runs that knows --skip-bad."""
    return leaving_out(options.skip_bad) if hasattr(options, "skip_bad") else nullcontext()


def _refused(*said: str) -> int:
    """Say on one line what is wrong; the exit code."""
    line = f"error: {' '.join(' '.join(said).split())}"
    print(line if len(line) <= LINE else f"{line[:LINE]} ...", file=sys.stderr)
    return 2


def _say_no_more() -> None:
    """Let what is still to be written to standard output go nowhere, now and when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way, such as how to resume."""
    return getattr(error, "__notes__", [])
