"""The command `python -m interp selfcheck`: what holds of a model, measured."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from interp.cli import add_debug_option, add_processor_option, add_trust_option, load, names
from interp.zoo.tiny import TINY

SELFCHECK = """Prove on a model what this toolkit claims of it.

Prints a table with the largest difference for each claim; what a family can not do is refused by name. The exit code
is 1 if something does not hold; in --json what is refused says so, and counts as holding. Differences are meant for
float32, which is the default here.

claims:
{claims}

examples:
  python -m interp selfcheck shapes-vlm
  python -m interp selfcheck tiny-llava tiny-qwen2_5_vl
  python -m interp selfcheck --all-families
  python -m interp selfcheck llava-hf/llava-1.5-7b-hf --device cuda --json > proof.json
"""


def add_selfcheck(commands: Any) -> None:
    """Add the command `selfcheck`."""
    from interp.proof import CLAIMS

    said = "\n".join(f"  {claim.name:<10} {claim.says}" for claim in CLAIMS)
    parser = commands.add_parser(
        "selfcheck", help="prove the hooks and the geometry", description=SELFCHECK.format(claims=said)
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "models", nargs="*", default=[], metavar="MODEL",
        help=f"hub name, folder, shapes-vlm, or {', '.join(TINY)}; several may be named",
    )  # fmt: skip
    which.add_argument("--all-families", action="store_true", help="a tiny model of every family, made in memory")
    parser.add_argument("--claims", help="only these, such as rows,boxes")
    parser.add_argument("--json", action="store_true", help="print data instead of a table, one entry for each model")
    parser.add_argument("--device", default=None, help="where to run: cpu, cuda, cuda:1, auto (default: cpu)")
    parser.add_argument("--dtype", default="float32", help="float32, or another to see how far off it is")
    parser.add_argument("--revision", default=None, help="revision of the model on the hub")
    add_trust_option(parser)
    add_processor_option(parser)
    add_debug_option(parser)
    parser.set_defaults(command=selfcheck_command)


def selfcheck_command(options: argparse.Namespace) -> int:
    """Run `selfcheck`: a line for each model as soon as it is proved."""
    import json

    from interp.model.places import resolve
    from interp.proof import check_claims, prove
    from interp.proof.report import LEGEND, entry, heading, line, notes
    from interp.store.folder import plain
    from interp.store.progress import ProgressBar

    chosen = check_claims(names(options.claims or ""))
    models = TINY if options.all_families else options.models
    for model in models:
        if model not in TINY:
            resolve(model)  # a name that is none is refused before the others are proved
    entries: list[dict[str, Any]] = []
    remarks: list[str] = []
    for model in ProgressBar(models, unit="model", disable=len(models) == 1 or not sys.stderr.isatty()):
        options.model = model
        vlm = load(options)
        findings = prove(vlm, model, chosen)
        if not entries and not options.json:
            ProgressBar.write(heading(chosen))
        entries.append(entry(vlm, findings))
        remarks += notes(findings)
        if not options.json:
            ProgressBar.write(line(findings))
    if options.json:
        print(json.dumps(plain(entries), indent=2))
    else:
        verdict = "every claim holds" if all(one["holds"] for one in entries) else "NOT every claim holds"
        print("\n".join([f"({LEGEND})", *remarks, f"{verdict}, or is refused by name"]))
    return 0 if all(one["holds"] for one in entries) else 1
