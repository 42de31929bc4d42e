"""The command `python -m probes lens`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from probes.commands.asking import add_asked, asked_data, asked_photo, is_study

LENS = """Lens: what image tokens say under the model's own unembedding, layer by layer.

Of one photo, the most probable words of each image token at every slot, and the probability and rank of words that are
named. Over a data set whose objects have boxes, what share of an object's tokens say its word, beside the same word
outside all boxes and at other objects' tokens, with intervals.

examples:
  python -m probes lens photo.jpg "Where is the mug in the photo?" --words mug left
  python -m probes lens --dataset shapes --n 100 --words left right --out out/lens-shapes
"""


def add_lens(commands: Any) -> None:
    """Add the command `lens`."""
    parser = commands.add_parser(
        "lens",
        help="what image tokens say under the unembedding",
        description=LENS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--words", nargs="*", default=[], help="words of one token to look for in every image token")
    parser.add_argument(
        "--top", type=int, default=5, help="how many of a token's first words count as said (default: %(default)s)"
    )
    parser.add_argument("--slot", type=int, help="of one photo, which slot to map (default: the last)")
    add_asked(parser, out="out/lens")
    parser.set_defaults(command=lens_command)


def lens_command(options: argparse.Namespace) -> int:
    """Run `lens`."""
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _of_dataset(options: argparse.Namespace) -> int:
    from interp.errors import InputError
    from probes.mechanisms.lens.report import lens_findings
    from probes.mechanisms.lens.study import image_lens
    from probes.study.findings import tell_findings

    if options.slot is not None:
        raise InputError(f"--slot {options.slot} is about one photo, and a data set is asked: leave it")
    data = asked_data(options)
    tell_findings(
        data.folder, lens_findings(image_lens(data.vlm, data.samples, options.words, top=options.top, **data.how))
    )
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    from interp.errors import InputError
    from interp.model.record import record
    from interp.plots.style import figure_of
    from probes.mechanisms.lens.measurement import LensMeasurement

    folder, vlm, inputs = asked_photo(options)
    slots = vlm.cfg.n_layers + 1
    slot = slots - 1 if options.slot is None else options.slot
    if not 0 <= slot < slots:
        raise InputError(f"--slot {slot} does not exist: there are {slots}, counted from 0 to {slots - 1}")
    work = LensMeasurement.of(vlm, options.words, top=options.top, prompt=options.prompt)
    found = replace(work.look(inputs)[0], sample_id=Path(options.photo).name)
    written = [
        folder.write_table("lens.parquet", found.to_dataframe()),
        folder.write_figure("lens_map.png", figure_of(found.plot_words(options.photo, slot))),
    ]
    if found.words:
        written.append(folder.write_table("words.parquet", found.words_to_dataframe()))
        written.append(folder.write_figure("words.png", figure_of(found.plot())))
    summary = {"question": options.question, "slot": slot, "settings": record(vlm, **work.recorded())}
    written.append(folder.write_json("summary.json", summary))
    for place, word in enumerate(found.words):
        own = found.probability[:, :, place]
        best = divmod(int(own.argmax()), own.shape[1])
        print(f"{word!r}: most probable at slot {best[0]}, image token {best[1]}: {own[best]:.3f}")
    said = [str(word).strip() for word in found.top[slot, :, 0]]
    often = sorted(set(said), key=lambda word: -said.count(word))[: options.top]
    print(f"first words at slot {slot}: " + ", ".join(f"{word!r} ({said.count(word)} tokens)" for word in often))
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
