"""The command `python -m probes heads sha`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.zoo import EMBEDDED
from probes.commands.heads_find import add_rule, rule_of
from probes.commands.heads_items import add_items, add_tokens, asked_items
from probes.heads.sha.arms import ARMS, BOXES, ELSEWHERE, PLACEMENTS

SHA = """SHA, activating latent spatial heads: boxes around objects, and the objects hidden. Do answers improve?

Every question is asked in four arms: as it is, with boxes, with its objects filled with grey, and with both ("Attention
in Space"). A fifth, the control, has as many boxes and masks of the same sizes where no object is. Told are accuracy
and unreadable answers by arm and function, held against the original item by item; and, by function, how many heads a
linear probe and a rule find in each arm, beside labels dealt anew.

Rules that always select as many heads (top_k, top_percent) are refused, as their number can not rise.

boxes, one of:
  nothing named    those that the questions carry; all questions of a photo are shown the same
  --detector NAME  shapes-detector, a YOLO .pt file, an .onnx file, or a model of transformers

The paper does not say how it shows boxes and masks: --boxes, --fill and --placement choose, and the page names what was
chosen. A prompt of this library holds one photo for every family, so that the masked copy stands in the photo's place,
or (--placement beside) to its right in one wider photo.

examples:
  python -m probes heads sha --n 100 --out out/sha
  python -m probes heads sha --n 50 --boxes drawn --labels --fill 0,0,0 --out out/sha-black
  python -m probes heads sha --dataset holiday/ --detector yolo11n.pt --download --model Qwen/Qwen2.5-VL-3B-Instruct \\
      --device cuda --out out/sha-holiday
"""


def add_sha(commands: Any) -> None:
    """Add the command `heads sha`."""
    parser = commands.add_parser(
        "sha",
        help="boxes drawn and objects hidden: do answers improve, and are more heads found",
        description=SHA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shown = parser.add_argument_group("boxes and masks")
    shown.add_argument(
        "--boxes", choices=BOXES,
        help="drawn as frames, as text before the question, or both (default: both; drawn for embedded models, which "
        "know no such text)",
    )  # fmt: skip
    shown.add_argument("--labels", action="store_true", help="draw the name of each object at its frame")
    shown.add_argument(
        "--fill", default="128,128,128", metavar="R,G,B", help="what hides objects (default: %(default)s, grey)"
    )
    shown.add_argument(
        "--placement",
        choices=PLACEMENTS,
        default="in_place",
        help="where the masked copy stands (default: %(default)s)",
    )
    shown.add_argument("--no-control", action="store_true", help="leave out boxes and masks in other places")
    shown.add_argument("--detector", metavar="NAME|WEIGHTS", help="who finds the objects (default: the data set)")
    shown.add_argument("--download", action="store_true", help="let published weights of a detector be fetched")
    counted = parser.add_argument_group("heads")
    add_rule(counted, rule="fdr")
    counted.add_argument(
        "--shuffles", type=int, default=50, help="labels dealt anew, for the probe's null (default: %(default)s)"
    )
    counted.add_argument(
        "--deals", type=int, default=20,
        help="labels dealt anew, for the null of the number of heads; each asks for a probe of all heads in each arm "
        "(default: %(default)s)",
    )  # fmt: skip
    add_tokens(parser)
    add_items(parser, out="out/sha", n=100)
    parser.set_defaults(command=sha_command)


def sha_command(options: argparse.Namespace) -> int:
    """Run `heads sha`."""
    from interp.detect.loading import loaded
    from interp.errors import InputError
    from probes.commands.asking import fitting
    from probes.heads.sha.boxes import detected_boxes, known_boxes, refuse_unshown
    from probes.heads.sha.counts import check_rule
    from probes.heads.sha.report import sha_findings
    from probes.heads.sha.study import study_sha
    from probes.heads.sha.transform import ShaView
    from probes.study.findings import tell_findings

    given = rule_of(options)
    check_rule(options.rule, given)
    if options.download and options.detector is None:
        raise InputError("--download is about the weights of --detector, and none is named: leave it out")
    view = ShaView(
        boxes=options.boxes or ("drawn" if options.model in EMBEDDED else "both"),
        names=options.labels,
        fill=_colour(options.fill),  # type: ignore[arg-type]
        placement=options.placement,
    )
    asked = asked_items(options, (*ARMS, ELSEWHERE))
    boxes = known_boxes(asked.items)
    source: str | None = None
    if options.detector is not None:
        device = "cpu" if options.device in (None, "auto") else options.device
        detector = loaded(options.detector, download=options.download, device=device)
        boxes = detected_boxes(asked.items, detector, batch=options.batch)
        source = str(detector.name)
    items = fitting(
        asked.items, lambda item: refuse_unshown([item], {item.id: boxes[item.id]}, view, ARMS), "questions", asked.how
    )
    chosen = ("tokens", "k", "alignment", "max_new_tokens", "deals", "seed")
    counted = {"rule": options.rule, "given": given, "deals": options.deals, "shuffles": options.shuffles}
    record = {**asked.how["record"], "counted": counted}  # other results than these do not take their place
    found = study_sha(
        asked.vlm(),
        items,
        boxes=None if source is None else {item.id: boxes[item.id] for item in items},
        source=source,
        view=view,
        control=not options.no_control,
        rule=options.rule,
        given=given,
        options={"shuffles": options.shuffles},
        **{name: getattr(options, name) for name in chosen},
        **{**asked.how, "record": record},
    )
    tell_findings(asked.folder, sha_findings(found))
    return 0


def _colour(text: str) -> tuple[int, ...]:
    """Red, green and blue with commas between.

    Raises:
        InputError: anything else.
    """
    from interp.errors import InputError

    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--fill {text!r} is no colour: write red, green and blue from 0 to 255, such as 128,128,128")
    return tuple(int(part) for part in parts)
