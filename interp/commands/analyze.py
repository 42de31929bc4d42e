"""The command `python -m interp analyze`: one photo, one question."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.cli import (
    add_model_options,
    names,
    note_domain,
    note_random_weights,
    numbers,
)
from interp.errors import InputError

if TYPE_CHECKING:
    from interp.analysis.request import AnalyzeRequest

ANALYZE = """Ask a question about a photo and see where each layer of the model looks.

Writes heat maps, the share of attention by layer, and, with a detector, how well attention and objects agree. --html
adds one page to look through every layer and head, which needs no network and no other file. --also adds maps. Some lie
over the image tokens as attention does, and are compared with it and with the objects under the same measures:

  gradient        attention times what the answer's log-probability would gain from more of it (evaluation mode, all
                  layers and heads from one run)
  gradient-alone  that gain by itself, whether there is attention or not
  gradcam         attention times one gain for each head, the mean over the image tokens
  relative        attention over that under a neutral prompt (--neutral-prompt)
  lens            how probable the answer's token is at each image token, by the model's own unembedding

Others lie over the patches of the vision tower, whose own attention moves things before the language model sees them:

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
  python -m interp analyze photo.jpg "Where is the mug in the photo?" --boxes "mug=10,20,50,80" \\
      --also gradient,relative,lens --answer left
"""


def add_analyze(commands: Any) -> None:
    """Add the command `analyze`."""
    parser = commands.add_parser("analyze", help="one photo, one question", description=ANALYZE)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    objects = parser.add_mutually_exclusive_group()
    objects.add_argument(
        "--detector", help="who looks for the objects: YOLO weights, shapes-detector, .onnx, or a model of transformers"
    )
    objects.add_argument("--boxes", help="boxes by hand, in pixels: 'mug=10,20,50,80; table=0,60,200,150'")
    parser.add_argument("--download", action="store_true", help="let --detector fetch published weights")
    parser.add_argument("--layers", help="layers in the heat maps, 0-based: 17,18 or 4-7")
    parser.add_argument(
        "--tokens", choices=("first", "all"), default="first", help="measure the first answer token, or all"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    parser.add_argument(
        "--also",
        default="",
        help="further maps, some of gradient,gradient-alone,gradcam,relative,lens,two-stage,vision,rollout: see above",
    )
    parser.add_argument(
        "--answer", help="the word whose first token gradients and lens are of (default: the first that the model says)"
    )
    parser.add_argument(
        "--neutral-prompt",
        default=argparse.SUPPRESS,
        help="what relative asks beside the question (default: to describe the image)",
    )
    parser.add_argument("--html", action="store_true", help="also write explore.html, a page to look through all of it")
    parser.add_argument("--show-grid", action="store_true", help="also draw which pixels each image token saw")
    parser.add_argument("--out", default="out/analyze", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=analyze_command)


def analyze_command(options: argparse.Namespace) -> int:
    """Run `analyze`: check what costs nothing first, then load the model."""
    from interp.analysis.analyze import analyze
    from interp.image.boxes import refuse_outside
    from interp.image.photos import load_image
    from interp.objects.given import GivenBoxes
    from interp.store.folder import OutputFolder

    if options.download and options.detector is None:
        raise InputError("--download fetches the weights of --detector: name one")
    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    request = request_of(options)
    if isinstance(request.detector, GivenBoxes):
        refuse_outside(request.detector.boxes, image.size)
    note_random_weights(options.model)
    note_domain(options.model)
    analysis = analyze(image, options.question, request=replace(request, out=None))
    written = analysis.save(folder)
    if options.show_grid:
        from interp.analysis.result import draw_grid

        written.append(folder.write_figure("grid.png", draw_grid(analysis)))
    print(analysis.describe())
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0


def request_of(options: argparse.Namespace) -> AnalyzeRequest:
    """What the command line asks for.

    Raises:
        InputError: an option that can not be read, or what the request refuses.
    """
    from interp.analysis.request import AnalyzeRequest
    from interp.objects.given import GivenBoxes
    from interp.store.folder import as_bytes

    return AnalyzeRequest.from_options(
        options,
        detector=options.detector if options.boxes is None else GivenBoxes.parse(options.boxes),
        layers=None if options.layers is None else numbers(options.layers),
        also=names(options.also),
        sample_id=as_bytes(Path(options.photo).stem).decode(),  # of names in no encoding too
    )
