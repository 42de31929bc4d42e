"""The command `python -m adaptvis answer`: one photo, one question, one policy."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adaptvis.commands.options import TAKES, add_policy_numbers, given_numbers, given_places, note_caveats
from interp.cli import add_model_options, load, names, note_random_weights
from interp.errors import InputError

if TYPE_CHECKING:
    from adaptvis.policy.policies import Policy

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


def add_answer(commands: Any) -> None:
    """Add the command `answer`."""
    parser = commands.add_parser("answer", help="one photo, one question, one policy", description=ANSWER)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument("--policy", choices=tuple(TAKES), default="adaptvis", help="(default: %(default)s)")
    add_policy_numbers(parser)
    parser.add_argument(
        "--options", help="AdaptVis by options: the answers to choose from, such as left,right,on,under"
    )
    parser.add_argument("--layers", help="layers to scale, 0-based: 17,18 or 4-7 (default: all)")
    parser.add_argument("--heads", help="heads to scale, 0-based (default: all)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    parser.add_argument("--out", help="a folder for answer.json")
    add_model_options(parser)
    parser.set_defaults(command=answer_command)


def answer_command(options: argparse.Namespace) -> int:
    """Run `answer`."""
    from adaptvis.policy.answering import answer
    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.numeric import percentage
    from interp.store.folder import OutputFolder

    policy = _policy(options)
    note_caveats(policy)
    image = load_image(options.photo)
    folder = None if options.out is None else OutputFolder(options.out)
    note_random_weights(options.model, image)
    vlm = load(options)
    found = answer(
        vlm,
        image,
        options.question,
        policy,
        options=names(options.options or ""),
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
        keep_untouched=True,
    )
    print(f"untouched: {found.untouched!r} (first token {percentage(found.confidence)}%)")
    print(f"{found.policy}: {found.text!r} (first token {percentage(found.probability)}%)")
    print(f"branch {found.branch}: {found.intervention}")
    if folder is not None:
        settings = record(vlm, question=options.question, prompt=options.prompt, max_new_tokens=options.max_new_tokens)
        path = folder.write_json("answer.json", {**asdict(found), "settings": settings})
        print(f"written to {path}")
    return 0


def _policy(options: argparse.Namespace) -> Policy:
    """The policy that the options of `answer` describe; an option that it does not take is refused, not ignored."""
    from adaptvis.evaluation.settings import Settings

    given, where = given_numbers(options), given_places(options)
    taken = TAKES[options.policy]
    wrong = [name for name in given if name not in taken] + ([] if taken else [*where])
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(f"--policy {options.policy} does not take {flags}: leave it out, or choose another policy")
    return Settings(**given, **where).scaling_policy(options.policy)
