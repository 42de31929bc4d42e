"""The command line of ScalingVis and AdaptVis: `python -m adaptvis answer PHOTO "question"`, and `demo`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from interp.cli import Parser, add_model_options, load, note_random_weights, numbers, run
from interp.errors import InputError

if TYPE_CHECKING:
    from adaptvis.policies import Policy

ANSWER = """Answer a question about a photo under a policy, beside the model's untouched answer.

policies:
  baseline   the model as it is
  scaling    ScalingVis: multiply the last prompt row's image logits by --alpha
  adaptvis   AdaptVis: by --alpha-unsure where the untouched first token's probability lies below --threshold,
             by --alpha-sure from it on

examples:
  python -m adaptvis answer photo.jpg "Where is the mug in the photo?" --policy scaling --alpha 0.5
  python -m adaptvis answer photo.jpg "Where is the mug in relation to the table?" --policy adaptvis --threshold 0.35
"""

DEMO = """The main job on the embedded models, in about a minute: where the model looks in held-out scenes, whether the
objects are there, and what ScalingVis and AdaptVis change. Writes figures, tables, summary.json and report.html.
"""


def build_parser() -> Parser:
    """The parser of `python -m adaptvis`."""
    parser = Parser(prog="python -m adaptvis", description="Interventions on a model's attention to the image.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    one = commands.add_parser("answer", help="one photo, one question, one policy", description=ANSWER)
    one.add_argument("photo", help="any image file")
    one.add_argument("question", help="what to ask")
    one.add_argument(
        "--policy", choices=("baseline", "scaling", "adaptvis"), default="adaptvis", help="(default: %(default)s)"
    )
    one.add_argument("--alpha", type=float, help="ScalingVis: the factor (default: 0.5)")
    one.add_argument("--alpha-unsure", type=float, help="AdaptVis: the factor when unsure (default: 0.5)")
    one.add_argument("--alpha-sure", type=float, help="AdaptVis: the factor when sure (default: 1.5)")
    one.add_argument("--threshold", type=float, help="AdaptVis: sure from this probability on (default: 0.4)")
    one.add_argument("--layers", help="layers to scale, 0-based: 17,18 or 4-7 (default: all)")
    one.add_argument("--heads", help="heads to scale, 0-based (default: all)")
    one.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    one.add_argument("--out", help="a folder for answer.json")
    add_model_options(one)
    one.set_defaults(command=answer_command)
    demo = commands.add_parser("demo", help="the main job on embedded models", description=DEMO)
    demo.add_argument("--out", default="out/demo", help="folder for the results (default: %(default)s)")
    demo.add_argument(
        "--scenes", type=int, default=300, help="scenes to report on, at least 200 (default: %(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of the scenes (default: %(default)s)")
    add_model_options(demo)
    demo.set_defaults(command=demo_command, prompt="paper")
    return parser


def answer_command(options: argparse.Namespace) -> int:
    """Run `answer`."""
    from adaptvis.answering import answer
    from interp.images import load_image
    from interp.output import OutputFolder, record

    policy = _policy(options)
    image = load_image(options.photo)
    folder = None if options.out is None else OutputFolder(options.out)
    note_random_weights(options.model)
    vlm = load(options)
    found = answer(vlm, image, options.question, policy, prompt=options.prompt, max_new_tokens=options.max_new_tokens)
    print(f"untouched: {found.untouched!r} (first token {found.confidence:.1%})")
    print(f"{found.policy}: {found.text!r} (first token {found.probability:.1%})")
    print(f"branch {found.branch}: {found.intervention}")
    if folder is not None:
        settings = record(vlm, question=options.question, prompt=options.prompt, max_new_tokens=options.max_new_tokens)
        path = folder.write_json("answer.json", {**asdict(found), "settings": settings})
        print(f"written to {path}")
    return 0


def demo_command(options: argparse.Namespace) -> int:
    """Run `demo`."""
    from adaptvis.demo import run_demo

    run_demo(load(options), options.out, scenes=options.scenes, seed=options.seed, prompt=options.prompt)
    return 0


def _policy(options: argparse.Namespace) -> Policy:
    """The policy that the options describe; an option that it does not take is refused, not ignored."""
    from adaptvis.policies import AdaptVis, Baseline, ScalingVis

    takes = {
        "baseline": (Baseline, ()),
        "scaling": (ScalingVis, ("alpha",)),
        "adaptvis": (AdaptVis, ("alpha_unsure", "alpha_sure", "threshold")),
    }
    kind, names = takes[options.policy]
    given = {
        name: getattr(options, name)
        for name in ("alpha", "alpha_unsure", "alpha_sure", "threshold")
        if getattr(options, name) is not None
    }
    where = {name: numbers(text) for name in ("layers", "heads") if (text := getattr(options, name)) is not None}
    wrong = [name for name in given if name not in names] + ([*where] if kind is Baseline else [])
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(f"--policy {options.policy} does not take {flags}: leave it out, or choose another policy")
    if kind is ScalingVis:
        given.setdefault("alpha", 0.5)
    return kind(**given, **where)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
