"""The command `python -m probes ids`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options

IDS, SWAP, STEERING = "ids", "mirror-swap", "steering"
PARTS = (IDS, SWAP, STEERING)
"""The folders inside `--out` that what was measured is kept in."""

ABOUT = """Spatial IDs: do the words that name objects hold where these lie, and does the answer hang on it?

Coloured shapes are drawn in the cells of a grid, each shape in every cell, and asked about in relation to another.
Told is, layer slot by layer slot, how far the word of an object moves with the object's cell as those of all other
objects do, beside cells that are shuffled. Then other scenes and their mirror images are asked: how far the answer
turns when image tokens, words of objects, or all text are as in the mirrored photo's run, beside other words; and when
words are steered by the IDs to the other side, beside random directions of the same length.

examples:
  python -m probes ids
  python -m probes ids --cells 3 --shuffles 99 --out out/ids-small
  python -m probes ids --model Qwen/Qwen2-VL-7B-Instruct --out out/ids-qwen
"""


def add_ids(commands: Any) -> None:
    """Add the command `ids`."""
    parser = commands.add_parser(
        "ids",
        help="whether words of objects hold where their objects lie, and the answer hangs on it",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cells", type=int, default=4, help="cells along a side of the drawn photo (default: %(default)s)"
    )
    parser.add_argument(
        "--shuffles", type=int, default=199, help="how many times cells are shuffled, for the null (default: 199)"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=5.0,
        help="steering adds so many times the mean length of the IDs (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many random directions, seeds 0 and up (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="samples that share one pass (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the scenes, of the null and of the bootstrap (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what lies in --out")
    parser.add_argument("--out", default="out/ids", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=ids_command)


def ids_command(options: argparse.Namespace) -> int:
    """Run `ids`; other scenes are swapped and steered than the IDs are made of."""
    from interp.cli import load, note_random_weights
    from interp.errors import InputError, RefusedError
    from interp.stats.draws import check_seed
    from interp.store.folder import OutputFolder
    from interp.store.guard import refuse_begun, refuse_foreign
    from probes.mechanisms.ids.mirror_swap import mirror_swap
    from probes.mechanisms.ids.report import id_findings
    from probes.mechanisms.ids.spatial_ids import spatial_ids
    from probes.mechanisms.ids.steer_ids import steer_ids
    from probes.mechanisms.scenes.id_scenes import id_scenes
    from probes.mechanisms.scenes.photo_pairs import mirrored_pairs
    from probes.study.findings import tell_findings

    for name in ("batch", "shuffles", "seeds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: give at least 1")
    if not 0 < options.scale < 1e6:
        raise InputError(f"--scale {options.scale:g}: give how many times the IDs' mean length is added, above 0")
    if options.prompt == "raw":
        raise InputError("--prompt raw: the questions of scenes hold no image placeholder, use chat or paper")
    check_seed(options.seed)
    scenes, others = (id_scenes(cells=options.cells, seed=options.seed + more) for more in (0, 1))
    folder = OutputFolder(options.out)
    refuse_begun(folder.path, resume=options.resume, parts=PARTS, option="--resume")
    refuse_foreign(folder.path, PARTS)
    note_random_weights(options.model)
    vlm = load(options)

    def how(part: str) -> dict[str, Any]:
        return {
            "out": folder.path / part,
            "batch": options.batch,
            "resume": options.resume,
            "seed": options.seed,
            "prompt": options.prompt,
            "record": {"scenes": "grid", "scene_cells": options.cells},
        }

    swap, steering, untold = None, None, []
    try:
        swap = mirror_swap(vlm, mirrored_pairs(others)[0], **how(SWAP))
    except RefusedError as error:
        untold.append(f"Nothing was swapped or steered: {error}")
    found = spatial_ids(vlm, scenes, cells=options.cells, shuffles=options.shuffles, **how(IDS))
    if swap is not None and len(found.measures):
        seeds = range(options.seeds)
        steering = steer_ids(vlm, others, found, scale=options.scale, seeds=seeds, **how(STEERING))
    tell_findings(folder, id_findings(found, swap, steering, untold=untold))
    return 0
