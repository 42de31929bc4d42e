"""The command `python -m adaptvis evaluate`: policies on a whole data set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from adaptvis.commands.options import NUMBERS, TAKES, add_policy_numbers, given_numbers, given_places, note_caveats
from interp.cli import add_model_options, add_skip_option, floats, load, names, note_random_weights
from interp.errors import InputError

if TYPE_CHECKING:
    from adaptvis.benchmark import BenchmarkRequest
    from adaptvis.evaluation.settings import Settings

PRESET = ("alpha", "alpha_unsure", "alpha_sure", "threshold")
"""Those that `--preset` decides; `--select` decides all."""

EVALUATE = """Evaluate policies on a data set: accuracy by relation, pairs and sets, confidence, calibration, and every
setting against the baseline with paired tests, as tables, figures and a report.

The numbers of the policies are given (--alpha ...), the authors' (--preset paper), or chosen on the validation part
(--select), which by itself shares no object pair or photo with the reported part. Accuracy under all alphas, the
additive control and windows of layers is swept too, for the price of one prefill a sample and one step a setting;
--quick leaves that out.

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


def add_evaluate(commands: Any) -> None:
    """Add the parser of `evaluate`."""
    whole = commands.add_parser("evaluate", help="policies on a data set", description=EVALUATE)
    data = whole.add_argument_group("data")
    data.add_argument(
        "--dataset",
        required=True,
        help="a name that `python -m interp datasets` lists; a folder of your own photos is for `python -m interp "
        "overlap` and `python -m probes`",
    )
    data.add_argument("--folder", help="where its files lie (synthetic sets have none)")
    data.add_argument("--images", help="another folder to look for photos in")
    data.add_argument(
        "--prompts", help="a prompt file that the authors released for it, to ask each row as it is there"
    )
    data.add_argument("--n", type=int, help="only the first so many samples")
    data.add_argument("--missing", choices=("refuse", "skip"), default="refuse", help="absent photos (default: refuse)")
    add_skip_option(data)
    data.add_argument(
        "--split",
        choices=("official", "by-pair"),
        help="official: the paper's rows, one by one, to compare with the paper; with --select it shows too good "
        "numbers, as pairs lie in both parts. by-pair: whole object pairs or photos (default: by-pair with --select, "
        "otherwise the paper's rows where it has some)",
    )
    data.add_argument("--part", choices=("val", "test", "all"), default="test", help="to report (default: %(default)s)")
    how = whole.add_argument_group("policies")
    how.add_argument("--policy", default="baseline,scaling,adaptvis", help="some of them (default: %(default)s)")
    how.add_argument("--preset", choices=("paper",), help="the authors' numbers for this data set and LLaVA-1.5-7B")
    how.add_argument("--select", nargs="?", const="val", help="choose the numbers on the validation part")
    add_policy_numbers(how)
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


def evaluate_command(options: argparse.Namespace) -> int:
    """Run `evaluate`; the model is loaded once what costs nothing was checked."""
    from adaptvis.benchmark import evaluate_dataset

    request = request_of(options)
    note_caveats(*(request.settings.policy(name) for name in request.policies))
    note_random_weights(options.model)
    evaluate_dataset(lambda: load(options), options.dataset, request=request)
    return 0


def request_of(options: argparse.Namespace) -> BenchmarkRequest:
    """What the command line asks for.

    Raises:
        InputError: an option that can not be read, that nothing would heed, or what the request refuses.
    """
    from adaptvis.benchmark import BenchmarkRequest
    from adaptvis.sweep.plan import PAPER_ALPHAS

    return BenchmarkRequest.from_options(
        options,
        policies=_policies(options),
        settings=_settings(options),
        how=options.split,
        select=options.select or False,
        alphas=PAPER_ALPHAS if options.alphas is None else floats(options.alphas),
        ablations=not options.quick,
    )


def _policies(options: argparse.Namespace) -> tuple[str, ...]:
    """The names of the policies; refuses a list of none."""
    chosen = names(options.policy)
    if not chosen:
        raise InputError("--policy names none: write baseline,scaling,adaptvis, or leave it out")
    return chosen


def _settings(options: argparse.Namespace) -> Settings:
    """The policies' numbers; refuses those that no policy takes, or that something else decides."""
    from adaptvis.evaluation.settings import Settings

    policies = _policies(options)
    given = given_numbers(options)
    taken = {name for policy in policies for name in TAKES.get(policy, ())}
    _refuse(set(given) - taken, f"no policy of {options.policy} takes")
    decided = set(NUMBERS) if options.select else set(PRESET) if options.preset else set()
    _refuse(set(given) & decided, "--select or --preset decides")
    where = given_places(options)
    settings = Settings(**given, **where)
    for name in policies:
        settings.policy(name)
    if where and not any(TAKES.get(name) for name in policies):
        raise InputError(f"no policy of {options.policy} scales attention: leave --{' and --'.join(where)} out")
    return settings


def _refuse(ignored: set[str], why: str) -> None:
    """Refuse options that would be ignored."""
    if ignored:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(ignored))
        raise InputError(f"{why} {flags}: leave it out")
