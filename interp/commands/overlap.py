"""The command `python -m interp overlap`: a data set or folder of photos, a model, a detector, and what is found."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.cli import add_model_options, add_skip_option, load, names, note_random_weights, numbers

if TYPE_CHECKING:
    from interp.overlap.study.request import OverlapRequest

OVERLAP = """Does attention lie on the objects that a question names, and more so where the answer is right?

Asks every question of a data set, and measures for each layer and head how well the attention behind the first answer
token lies on the boxes of the question's objects: cosine, mass, pixel AUROC, pointing game and more. Beside each stand
its nulls: boxes of other photos, boxes moved at random, a centred map, another head, even attention. Then it says
whether the measure tells right from wrong answers, over all pairs of samples and inside each relation.

data, one of:
  a benchmark     python -m interp datasets lists them; shapes, shapes-a and shapes-b are drawn and need no files
  your own photos a folder with questions.csv: columns image, question, answer, and perhaps options, objects, boxes,
                  relation, group, id. Boxes may also lie beside the photos, as labels/NAME.txt in YOLO's format with
                  classes.txt, or as a COCO file. Without questions.csv, questions are made of such boxes.

detectors:
  ground-truth    the boxes of the data set itself
  NAME, WEIGHTS   shapes-detector, a YOLO .pt file, an .onnx file, or a model of transformers; yolo11n.pt and the like
                  are fetched with --download

Samples whose objects are not found stay in the table: coverage is a result. A run that breaks off goes on with
--resume. Layers count from 0.

examples:
  python -m interp overlap --dataset shapes --n 200 --detector ground-truth --out out/shapes
  python -m interp overlap --dataset holiday/ --detector yolo11n.pt --download --out out/holiday
  python -m interp overlap --dataset controlled-a --folder data --detector IDEA-Research/grounding-dino-base \\
      --download --normalisations image,no-sinks --model llava-hf/llava-1.5-7b-hf --device cuda --out out/controlled-a
"""

NORMALISATIONS = """what attention is divided by, some of: image (sums to one over the image), keys (as the softmax gave
it), no-sinks (sink tokens taken out), relative (over that under a neutral prompt); the report is about the first of
them, and overlap.parquet has all (default: %(default)s)"""

ALSO = """other maps to measure beside the language model's rows, some of: two-stage (the rows seen through the vision
tower, over the patches that fed each image token), vision (where the tower itself looks), gradient (attention times
what the answer would gain from more of it), gradient-alone, gradcam, lens (how probable the answer is at each image
token); each costs one more run of the tower or of the model, gradients together one"""


def add_overlap(commands: Any) -> None:
    """Add `overlap` to the commands of `python -m interp`."""
    one = commands.add_parser("overlap", help="attention, objects and answers over a data set", description=OVERLAP)
    data = one.add_argument_group("data")
    data.add_argument("--dataset", required=True, help="name of a benchmark, or a folder of photos")
    data.add_argument("--folder", help="where the files of a benchmark lie")
    data.add_argument("--images", help="another folder to look for a benchmark's photos in")
    data.add_argument("--n", type=int, help="only the first so many samples")
    add_skip_option(data)
    look = one.add_argument_group("objects")
    look.add_argument("--detector", default="ground-truth", help="who looks for the objects (default: %(default)s)")
    look.add_argument("--download", action="store_true", help="let --detector fetch published weights")
    how = one.add_argument_group("measures")
    how.add_argument("--layers", help="only these layers, 0-based: 17,18 or 4-7 (default: all)")
    how.add_argument("--normalisations", default="image", help=NORMALISATIONS)
    how.add_argument("--also", default="", help=ALSO)
    how.add_argument("--draws", type=int, default=10, help="draws of each null and sample (default: %(default)s)")
    how.add_argument("--seed", type=int, default=0, help="of nulls, bootstraps and shuffles (default: %(default)s)")
    job = one.add_argument_group("run")
    job.add_argument("--batch", type=int, default=8, help="samples that share one pass (default: %(default)s)")
    job.add_argument("--max-new-tokens", type=int, default=10, help="length of an answer (default: %(default)s)")
    job.add_argument("--out", default="out/overlap", help="folder for the results (default: %(default)s)")
    job.add_argument("--resume", action="store_true", help="go on with what lies in --out")
    add_model_options(one)
    one.set_defaults(command=overlap_command, prompt="paper")


def overlap_command(options: argparse.Namespace) -> int:
    """Run `overlap`: check what costs nothing first, then load the model."""
    from interp.datasets.reading import read_samples
    from interp.detect.loading import loaded
    from interp.overlap.report.write import write_overlap_report
    from interp.overlap.study.examine import examine_overlap
    from interp.overlap.study.run import study_overlap
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign
    from interp.study.sample_checks import askable

    request = request_of(options)
    folder = OutputFolder(options.out)
    refuse_begun(folder.path, resume=options.resume, option="--resume")
    refuse_foreign(folder.path)
    samples = askable(read_samples(options.dataset, options.folder, n=options.n, images=options.images))
    request.check_boxes(samples)
    device = "cpu" if options.device in (None, "auto") else options.device
    looking = loaded(request.detector, download=options.download, device=device)
    note_random_weights(options.model)
    vlm = load(options)
    samples = askable(samples, vlm, prompt=options.prompt)
    study = study_overlap(vlm, samples, request=replace(request, detector=looking, out=folder.path))
    with folder.told_kept():
        found = examine_overlap(study, normalisation=study.normalisations[0], seed=options.seed)
        print("examining and drawing ...", file=sys.stderr)
        remarks = " ".join(study.settings["remarks"])
        write_overlap_report(folder, study, found, samples=samples, vlm=vlm, out_of_domain=remarks or None)
    return 0


def request_of(options: argparse.Namespace) -> OverlapRequest:
    """What the command line asks for.

    Raises:
        InputError: an option that can not be read, or what the request refuses.
    """
    from interp.overlap.study.request import OverlapRequest

    return OverlapRequest.from_options(
        options,
        normalisations=names(options.normalisations),
        also=names(options.also),
        layers=None if options.layers is None else numbers(options.layers),
        record={"dataset": options.dataset},
    )
