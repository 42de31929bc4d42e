"""The commands of the instrument: `python -m interp analyze PHOTO "question"`, `overlap`, `selfcheck`, `datasets`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.cli import (
    Parser,
    add_debug_option,
    add_model_options,
    add_trust_option,
    load,
    note_domain,
    note_random_weights,
    numbers,
    run,
)
from interp.errors import InputError
from interp.overlap_command import add_overlap_command
from interp.proof import CLAIMS
from interp.zoo.tiny import TINY

ANALYZE = """Ask a question about a photo and see where each layer of the model looks.

Writes heat maps, the share of attention by layer, and, with a detector, how well attention and objects agree. --html
adds one page to look through every layer and head, which needs no network and no other file. --also adds maps over the
patches of the vision tower, whose own attention moves things before the language model sees them:

  two-stage  the answer's attention, seen through attention roll-out over the tower
  vision     what the patches of the image tokens look at in each layer of the tower
  rollout    which patches feed the image tokens, by attention roll-out over the tower

Detectors are shapes-detector, a YOLO .pt file, an .onnx file, or a model of transformers (OWNER/MODEL or a folder);
yolo11n.pt, IDEA-Research/grounding-dino-base and the like are fetched with --download. Layers count from 0.

examples:
  python -m interp analyze photo.jpg "Where is the mug in the photo?" --html
  python -m interp analyze photo.jpg "Where is the dog in relation to the car?" --detector yolo11n.pt --download \\
      --layers 17,18 --model llava-hf/llava-1.5-7b-hf --dtype bfloat16 --device cuda
  python -m interp analyze photo.jpg "Where is the mug in the photo?" --boxes "mug=10,20,50,80" --also two-stage
"""

SELFCHECK = """Prove on a model what this toolkit claims of it.

Prints a table with the largest difference for each claim; what a family can not do is refused by name. The exit code
is 1 if something does not hold; in --json what is refused says so, and counts as holding. Differences are meant for
float32, which is the default here.

claims:
{claims}

examples:
  python -m interp selfcheck shapes-vlm
  python -m interp selfcheck --all-families
  python -m interp selfcheck llava-hf/llava-1.5-7b-hf --device cuda --json > proof.json
"""

DATASETS = """List the data sets, or say of one what it holds, where to get it, and whether its files are complete.

Nothing is downloaded without --download. With --check, the exit code is 1 if something is missing.

examples:
  python -m interp datasets
  python -m interp datasets vg-two
  python -m interp datasets controlled-a --download --folder data
  python -m interp datasets controlled-a --check --folder data
  python -m interp datasets vg-two --prompts VG_QA_two_obj_with_answer_six_options.jsonl
"""


def build_parser() -> Parser:
    """The parser of `python -m interp`."""
    parser = Parser(prog="python -m interp", description="Where does a vision-language model look, and is it there?")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    one = commands.add_parser("analyze", help="one photo, one question", description=ANALYZE)
    one.add_argument("photo", help="any image file")
    one.add_argument("question", help="what to ask")
    objects = one.add_mutually_exclusive_group()
    objects.add_argument(
        "--detector", help="who looks for the objects: YOLO weights, shapes-detector, .onnx, or a model of transformers"
    )
    objects.add_argument("--boxes", help="boxes by hand, in pixels: 'mug=10,20,50,80; table=0,60,200,150'")
    one.add_argument("--download", action="store_true", help="let --detector fetch published weights")
    one.add_argument("--layers", help="layers in the heat maps, 0-based: 17,18 or 4-7")
    one.add_argument(
        "--tokens", choices=("first", "all"), default="first", help="measure the first answer token, or all"
    )
    one.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    one.add_argument("--also", default="", help="further maps, some of two-stage,vision,rollout: see above")
    one.add_argument("--html", action="store_true", help="also write explore.html, a page to look through all of it")
    one.add_argument("--show-grid", action="store_true", help="also draw which pixels each image token saw")
    one.add_argument("--out", default="out/analyze", help="folder for the results (default: %(default)s)")
    add_model_options(one)
    one.set_defaults(command=analyze_command)
    add_overlap_command(commands)
    said = "\n".join(f"  {claim.name:<10} {claim.says}" for claim in CLAIMS)
    proof = commands.add_parser(
        "selfcheck", help="prove the hooks and the geometry", description=SELFCHECK.format(claims=said)
    )
    which = proof.add_mutually_exclusive_group(required=True)
    which.add_argument("model", nargs="?", metavar="MODEL", help=f"hub name, folder, shapes-vlm, or {', '.join(TINY)}")
    which.add_argument("--all-families", action="store_true", help="a tiny model of every family, made in memory")
    proof.add_argument("--claims", help="only these, such as rows,boxes")
    proof.add_argument("--json", action="store_true", help="print data instead of a table, one entry for each model")
    proof.add_argument("--device", default=None, help="where to run: cpu, cuda, cuda:1, auto (default: cpu)")
    proof.add_argument("--dtype", default="float32", help="float32, or another to see how far off it is")
    proof.add_argument("--revision", default=None, help="revision of the model on the hub")
    add_trust_option(proof)
    add_debug_option(proof)
    proof.set_defaults(command=selfcheck_command)
    sets = commands.add_parser("datasets", help="list, check and fetch data sets", description=DATASETS)
    sets.add_argument("name", nargs="?", metavar="NAME", help="one data set (default: list all)")
    sets.add_argument("--folder", help="where its files lie, or its annotation file (default: data)")
    sets.add_argument("--check", action="store_true", help="say what is there and what is missing")
    sets.add_argument("--prompts", metavar="FILE", help="compare a released prompt file with our template")
    sets.add_argument("--download", action="store_true", help="fetch what the Hugging Face Hub has into the folder")
    sets.add_argument("--json", action="store_true", help="print data instead of text")
    add_debug_option(sets)
    sets.set_defaults(command=datasets_command)
    return parser


def analyze_command(options: argparse.Namespace) -> int:
    """Run `analyze`: check what costs nothing first, then load the model."""
    from interp.analysis import analyze
    from interp.boxes import refuse_outside
    from interp.detect import GivenBoxes
    from interp.images import load_image
    from interp.output import OutputFolder

    if options.download and options.detector is None:
        raise InputError("--download fetches the weights of --detector: name one")
    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    given = None if options.boxes is None else GivenBoxes.parse(options.boxes)
    if given is not None:
        refuse_outside(given.boxes, image.size)
    note_random_weights(options.model)
    note_domain(options.model)
    analysis = analyze(
        image,
        options.question,
        model=options.model,
        detector=options.detector if given is None else given,
        layers=None if options.layers is None else numbers(options.layers),
        tokens=options.tokens,
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
        also=tuple(part.strip() for part in options.also.split(",")) if options.also else (),
        html=options.html,
        download=options.download,
        device=options.device,
        dtype=options.dtype,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        sample_id=Path(options.photo).stem,
    )
    written = analysis.save(folder)
    if options.show_grid:
        from interp.plots.analysis import draw_grid

        written.append(folder.write_figure("grid.png", draw_grid(analysis)))
    print(analysis.describe())
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0


def selfcheck_command(options: argparse.Namespace) -> int:
    """Run `selfcheck`: a line for each model as soon as it is proved."""
    import json

    from tqdm import tqdm

    from interp.output import plain
    from interp.proof import check_claims, prove
    from interp.proof.report import LEGEND, entry, heading, line, notes

    names = check_claims(options.claims.split(",") if options.claims else ())
    models = TINY if options.all_families else (options.model,)
    entries: list[dict[str, Any]] = []
    remarks: list[str] = []
    for model in tqdm(models, unit="model", disable=len(models) == 1 or not sys.stderr.isatty()):
        options.model = model
        vlm = load(options)
        findings = prove(vlm, model, names)
        if not entries and not options.json:
            tqdm.write(heading(names))
        entries.append(entry(vlm, findings))
        remarks += notes(findings)
        if not options.json:
            tqdm.write(line(findings))
    if options.json:
        print(json.dumps(plain(entries), indent=2))
    else:
        verdict = "every claim holds" if all(one["holds"] for one in entries) else "NOT every claim holds"
        print("\n".join([f"({LEGEND})", *remarks, f"{verdict}, or is refused by name"]))
    return 0 if all(one["holds"] for one in entries) else 1


def datasets_command(options: argparse.Namespace) -> int:
    """Run `datasets`: list all, say what is known of one, or download, check and compare prompts, in this order."""
    from dataclasses import asdict

    from interp.datasets import check
    from interp.datasets.catalogue import benchmark

    asked = options.check or options.prompts or options.download
    if options.name is None:
        if asked or options.folder:
            raise InputError("--folder, --check, --prompts and --download are about one data set: name it")
        return _tell(options, check.list_benchmarks(), check.describe_benchmarks())
    if not asked:
        entry = asdict(benchmark(options.name))
        return _tell(options, entry, check.describe_benchmark(options.name, options.folder or "data"))
    return _work_on_dataset(options, options.folder or "data")


def _work_on_dataset(options: argparse.Namespace, folder: str) -> int:
    from dataclasses import asdict

    from interp.datasets import check, hub, prompts, reading

    data: dict[str, Any] = {}
    said: list[str] = []
    if options.download:
        data["written"] = [str(path) for path in hub.download_dataset(options.name, folder)]
        said.append(f"written: {', '.join(data['written'])}")
    if options.check or options.download:
        found = check.check_dataset(options.name, folder)
        data["check"] = {**asdict(found), "complete": found.complete}
        said.append(found.describe())
    if options.prompts:
        samples = reading.read_dataset(options.name, folder, missing="keep") if options.folder else None
        table = prompts.compare_prompts(samples, options.prompts, name=options.name)
        data["prompts"] = prompts.summarize_prompts(table)
        said.append(prompts.describe_prompts(table))
    _tell(options, data, "\n".join(said))
    return 0 if "check" not in data or data["check"]["complete"] else 1


def _tell(options: argparse.Namespace, data: Any, text: str) -> int:
    """Print data with --json and text without."""
    import json

    from interp.output import plain

    print(json.dumps(plain(data), indent=2, ensure_ascii=False) if options.json else text)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
