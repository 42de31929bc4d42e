"""The command line of ScalingVis and AdaptVis: `python -m adaptvis answer PHOTO "question"`, `evaluate` and `demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from interp.cli import Parser, add_model_options, load, note_random_weights, numbers, run
from interp.errors import InputError

if TYPE_CHECKING:
    from adaptvis.policies import Policy

ANSWER = """Answer a question about a photo under a policy, beside the model's untouched answer.

policies:
  baseline   the model as it is
  scaling    ScalingVis: multiply the last prompt row's image logits by --alpha
  adaptvis   AdaptVis: by --alpha-unsure where the untouched first token's probability lies below --threshold,
             by --alpha-sure from it on; --confidence takes another measure than that probability
  add        add --shift to them: more attention on the image, the same picture inside it
  temper     multiply by --temper and keep the image's total attention: sharpening alone

examples:
  python -m adaptvis answer photo.jpg "Where is the mug in the photo?" --policy scaling --alpha 0.5
  python -m adaptvis answer photo.jpg "Where is the mug in relation to the table?" --policy adaptvis --threshold 0.35
"""

NUMBERS = {
    "alpha": "ScalingVis: the factor (default: 0.5)",
    "alpha_unsure": "AdaptVis: the factor when unsure, below 1 to smooth (default: 0.5)",
    "alpha_sure": "AdaptVis: the factor when sure, above 1 to sharpen (default: 1.5)",
    "threshold": "AdaptVis: sure from this confidence on (default: 0.4)",
    "shift": "the additive control's constant, nats (default: 1)",
    "temper": "the factor of temper (default: 0.5)",
}
"""The numbers that policies take, and what they are."""

TAKES: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "scaling": ("alpha",),
    "adaptvis": ("alpha_unsure", "alpha_sure", "threshold", "confidence"),
    "add": ("shift",),
    "temper": ("temper",),
}
"""Which of them the policies that scale attention take."""

PRESET = ("alpha", "alpha_unsure", "alpha_sure", "threshold")
"""Those that `--preset` decides; `--select` decides all."""

DEMO = """The main job on the embedded models, in about a minute and a half: where the model looks in held-out scenes,
whether the objects are there, which answers change when that look is turned up or down, a scene before and after, and
which layers carry the change. Writes figures, tables, summary.json and report.html.
"""


EVALUATE = """Evaluate policies on a data set: accuracy by relation, pairs and sets, confidence, calibration, and every
setting against the baseline with paired tests, as tables, figures and a report.

The numbers of the policies are given (--alpha ...), the authors' (--preset paper), or chosen on the validation part
(--select). Accuracy under all alphas, the additive control and windows of layers is swept too, for the price of one
prefill a sample and one step a setting; --quick leaves that out.

policies:
  baseline   the model as it is
  scaling    ScalingVis: image logits of the last prompt row times --alpha
  adaptvis   AdaptVis: times --alpha-unsure below --threshold, --alpha-sure from it on
  add        the additive control: plus --shift, more attention without sharpening
  temper     sharpening without more attention: --temper inside the image, its total attention kept
  vcd        visual contrastive decoding: against the answer to a noised photo
  dola       decoding against an early layer

examples:
  python -m adaptvis evaluate --dataset shapes-a --select --policy scaling,adaptvis,add,vcd,dola --out out/shapes-a
  python -m adaptvis evaluate --dataset controlled-a --folder data --preset paper --out out/controlled-a \\
      --model llava-hf/llava-1.5-7b-hf --dtype float32 --device cuda
"""


def build_parser() -> Parser:
    """The parser of `python -m adaptvis`."""
    parser = Parser(prog="python -m adaptvis", description="Interventions on a model's attention to the image.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    one = commands.add_parser("answer", help="one photo, one question, one policy", description=ANSWER)
    one.add_argument("photo", help="any image file")
    one.add_argument("question", help="what to ask")
    one.add_argument("--policy", choices=tuple(TAKES), default="adaptvis", help="(default: %(default)s)")
    _add_numbers(one)
    one.add_argument("--options", help="AdaptVis by options: the answers to choose from, such as left,right,on,under")
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
    add_evaluate(commands)
    return parser


def add_evaluate(commands: Any) -> None:
    """Add the parser of `evaluate`."""
    whole = commands.add_parser("evaluate", help="policies on a data set", description=EVALUATE)
    data = whole.add_argument_group("data")
    data.add_argument(
        "--dataset",
        required=True,
        help="a name that `python -m interp datasets` lists; a folder of your own photos is for `python -m interp "
        "overlap` alone",
    )
    data.add_argument("--folder", help="where its files lie (synthetic sets have none)")
    data.add_argument("--images", help="another folder to look for photos in")
    data.add_argument("--n", type=int, help="only the first so many samples")
    data.add_argument("--missing", choices=("refuse", "skip"), default="refuse", help="absent photos (default: refuse)")
    data.add_argument(
        "--split", choices=("official", "by-pair"), help="the paper's rows, or whole pairs (default: the paper's)"
    )
    data.add_argument("--part", choices=("val", "test", "all"), default="test", help="to report (default: %(default)s)")
    how = whole.add_argument_group("policies")
    how.add_argument("--policy", default="baseline,scaling,adaptvis", help="some of them (default: %(default)s)")
    how.add_argument("--preset", choices=("paper",), help="the authors' numbers for this data set and LLaVA-1.5-7B")
    how.add_argument("--select", nargs="?", const="val", help="choose the numbers on the validation part")
    _add_numbers(how)
    how.add_argument("--layers", help="layers to scale, 0-based: 17,18 or 4-7 (default: all)")
    how.add_argument("--heads", help="heads to scale, 0-based (default: all)")
    how.add_argument("--alphas", help="factors to sweep: 0,0.5,1.5 (default: the authors')")
    how.add_argument("--quick", action="store_true", help="only what the policies need: no sweeps, no layer windows")
    job = whole.add_argument_group("run")
    job.add_argument("--batch", type=int, default=16, help="samples that share one pass (default: %(default)s)")
    job.add_argument("--max-new-tokens", type=int, help="length of an answer at most (default: 10; with --preset 100)")
    job.add_argument("--seed", type=int, default=0, help="seed of the bootstraps (default: %(default)s)")
    job.add_argument("--out", default="out/evaluate", help="folder for the results (default: %(default)s)")
    job.add_argument(
        "--resume", action="store_true", help="go on with what lies in --out; a report there with other numbers is kept"
    )
    add_model_options(whole)
    whole.set_defaults(command=evaluate_command, prompt="paper")


def _add_numbers(parser: Any) -> None:
    """Add the options for the policies' numbers."""
    for name, told in NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=told)
    parser.add_argument(
        "--confidence",
        help="AdaptVis: probability, options, entropy, margin, or as the authors' code has it, probability-rounded or "
        "raw-logit (default: probability)",
    )


def answer_command(options: argparse.Namespace) -> int:
    """Run `answer`."""
    from adaptvis.answering import answer
    from interp.images import load_image
    from interp.output import OutputFolder, record

    policy = _policy(options)
    note_caveats(policy)
    image = load_image(options.photo)
    folder = None if options.out is None else OutputFolder(options.out)
    note_random_weights(options.model)
    vlm = load(options)
    listed = () if options.options is None else tuple(part.strip() for part in options.options.split(","))
    found = answer(
        vlm,
        image,
        options.question,
        policy,
        options=listed,
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
        keep_untouched=True,
    )
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


def evaluate_command(options: argparse.Namespace) -> int:
    """Run `evaluate`; the model is loaded once what costs nothing was checked."""
    from adaptvis.benchmark import evaluate_dataset
    from adaptvis.evaluation import Settings
    from adaptvis.sweep import PAPER_ALPHAS

    names = tuple(part.strip() for part in options.policy.split(","))
    given: dict[str, Any] = {
        name: value for name in (*NUMBERS, "confidence") if (value := getattr(options, name)) is not None
    }
    taken = {name for policy in names for name in TAKES.get(policy, ())}
    _refuse(set(given) - taken, f"no policy of {options.policy} takes")
    decided = set(NUMBERS) if options.select else set(PRESET) if options.preset else set()
    _refuse(set(given) & decided, "--select or --preset decides")
    where: dict[str, Any] = {
        name: numbers(text) for name in ("layers", "heads") if (text := getattr(options, name)) is not None
    }
    settings = Settings(**given, **where)
    note_caveats(*(settings.policy(name) for name in names))
    if where and not any(TAKES.get(name) for name in names):
        raise InputError(f"no policy of {options.policy} scales attention: leave --{' and --'.join(where)} out")
    alphas = PAPER_ALPHAS if options.alphas is None else _floats(options.alphas)
    note_random_weights(options.model)
    evaluate_dataset(
        lambda: load(options),
        options.dataset,
        folder=options.folder,
        n=options.n,
        missing=options.missing,
        images=options.images,
        how=options.split,
        part=options.part,
        select=options.select or False,
        policies=names,
        settings=settings,
        preset=options.preset,
        alphas=alphas,
        ablations=not options.quick,
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
        batch=options.batch,
        seed=options.seed,
        out=options.out,
        resume=options.resume,
    )
    return 0


def note_caveats(*policies: object) -> None:
    """Say on the screen, before anything runs, what a policy does not do although its name says so."""
    for policy in policies:
        for line in getattr(policy, "caveats", ()):
            print(f"note: {line}", file=sys.stderr)


def _refuse(names: set[str], why: str) -> None:
    """Refuse options that would be ignored."""
    if names:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))
        raise InputError(f"{why} {flags}: leave it out")


def _floats(text: str) -> tuple[float, ...]:
    """Read numbers: `0,0.5,1.5`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is no list of numbers: write 0,0.5,1.5") from None


def _policy(options: argparse.Namespace) -> Policy:
    """The policy that the options of `answer` describe; an option that it does not take is refused, not ignored."""
    from adaptvis.evaluation import Settings

    given = {name: value for name in (*NUMBERS, "confidence") if (value := getattr(options, name)) is not None}
    where = {name: numbers(text) for name in ("layers", "heads") if (text := getattr(options, name)) is not None}
    taken = TAKES[options.policy]
    wrong = [name for name in given if name not in taken] + ([] if taken else [*where])
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(f"--policy {options.policy} does not take {flags}: leave it out, or choose another policy")
    settings: dict[str, Any] = {**given, **where}
    return Settings(**settings).scaling_policy(options.policy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
