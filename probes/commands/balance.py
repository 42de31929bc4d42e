"""The command `python -m probes balance`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import add_answer, add_asked, asked_data, asked_photo, is_study

BALANCE = """Cross-modality balance: how each layer and head divides its attention between the image and the words.

1 means that a head looks at the image only, 0 at the words only; BOS and system prompt are left out. Attention that is
even over all tokens has a balance too, which is near 1 where a photo has many tokens: compare with that.

Over a data set, one generation also gives what `python -m probes shares` says of a photo, attention shares and entropy,
with intervals over groups; and where prompts have a system part, one more gives all of it without. The templates of
LLaVA have none: --system gives one.

examples:
  python -m probes balance photo.jpg "Where is the mug in the photo?"
  python -m probes balance --dataset shapes --n 200 --out out/balance-shapes
  python -m probes balance --dataset whatsup-a --folder data --model llava-hf/llava-1.5-7b-hf \\
    --system "A chat between a curious user and an assistant."
"""


def add_balance(commands: Any) -> None:
    """Add the command `balance`."""
    parser = commands.add_parser(
        "balance",
        help="image against words, by layer and head; shares and entropy over a data set",
        description=BALANCE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_answer(parser)
    add_asked(parser, out="out/balance")
    parser.set_defaults(command=balance_command)


def balance_command(options: argparse.Namespace) -> int:
    """Run `balance`."""
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _of_dataset(options: argparse.Namespace) -> int:
    from probes.position.balance_study import study_balance
    from probes.position.report.balance import balance_findings
    from probes.study.findings import tell_findings

    data = asked_data(options)
    asked = {"system": options.system, "max_new_tokens": options.max_new_tokens}
    tell_findings(data.folder, balance_findings(study_balance(data.vlm, data.samples, **asked, **data.how)))
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    from interp.model.record import record
    from interp.plots.style import figure_of
    from probes.position.balance_measurement import BalanceMeasurement, measure_attention

    folder, vlm, inputs = asked_photo(options)
    asked = {"prompt": options.prompt, "system": options.system, "max_new_tokens": options.max_new_tokens}
    work = BalanceMeasurement.of(vlm, **asked)
    (found,) = measure_attention(vlm, inputs, options.max_new_tokens)
    balance = found.balance
    means = balance.values.mean(-1)
    written = [
        folder.write_table("balance.parquet", balance.to_dataframe()),
        folder.write_figure("balance.png", figure_of(balance.plot())),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": found.text,
                "balance_by_layer": means,
                "even": balance.even,
                "image_heads": balance.image_heads,
                "over_even": balance.over_even,
                "settings": record(vlm, **work.recorded()),
            },
        ),
    ]
    print(f"answer: {found.text!r}")
    print(
        f"balance, mean over heads: highest {means.max():.2f} in layer {means.argmax()}, "
        f"lowest {means.min():.2f} in layer {means.argmin()}"
    )
    print(
        f"{balance.image_heads} of {balance.values.size} heads look mostly at the image; {balance.over_even} of all "
        f"look at it more than even attention would, whose balance is {balance.even:.2f}"
    )
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
