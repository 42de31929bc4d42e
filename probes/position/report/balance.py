"""What a study of balance says: in sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from interp.plots.style import figure_of
from interp.report.numbers import NOTHING, decimal, percent, points, share
from probes.position.balance_arms import DIFFERENCE
from probes.position.balance_measurement import KEPT, STRIPPED
from probes.position.balance_study import BalanceStudy
from probes.study.findings import Drawn, Findings, level_of

if TYPE_CHECKING:
    import pandas as pd

CAUTIONS = (
    "Where attention lies does not say what is used: what a head reads there may be little, and what it moves may not "
    "matter to the answer.",
    "A balance above one half is no finding of its own where a prompt has many image tokens and few words. Compare "
    "with even attention, which is image tokens over image tokens and words.",
    "Heads near a threshold lie on either side of it by chance: of heads that do not differ from even attention, about "
    "half are counted as above it, whatever the interval of that count. The number in the first sentence is tested.",
    "A balance is a ratio. Where a head looks at neither, it says little; image_mass and text_mass of by_head tell.",
    "Shares average heads and layers before they divide, and the balance divides before it averages, so that the two "
    "need not agree. The authors' pie of three is a product of means, and not the mean of the shares.",
    "BOS, image markers and generated tokens are in no group. Where a model sinks much of its attention into them, all "
    "of this is about the rest.",
    "Which tokens the paper's entropy averages is not known. Here it is all tokens of an answer, and its end token.",
)
OF_ARMS = (
    "Without its system part a prompt is another prompt: positions move, and the answer may be another one. Nothing "
    "was trained for it."
)
SHOWN = {
    "balance": ("balance", "ratio"),
    "even": ("balance of even attention", "ratio"),
    "image_heads": ("heads mostly at the image", "count"),
    "over_even": ("heads above even attention", "count"),
    "share_system": ("share of the system prompt, %", "share"),
    "share_image": ("share of the image, %", "share"),
    "share_text": ("share of the words, %", "share"),
    "share_system_authors": ("system prompt, authors' pie, %", "share"),
    "share_image_authors": ("image, authors' pie, %", "share"),
    "share_text_authors": ("words, authors' pie, %", "share"),
    "share_image_masked": ("image of image and words, %", "share"),
    "coverage": ("on any of these groups, BOS left out, %", "share"),
    "entropy_produced": ("entropy over the image", "ratio"),
    "entropy_consumed": ("the same, authors' alignment", "ratio"),
    "changed": ("answers that are other ones, %", "part"),
}
"""By measure, its name on the page, and what kind of number it is."""

FORMS: dict[str, tuple[Callable[..., str], Callable[..., str]]] = {
    "ratio": (decimal, partial(decimal, signed=True)),
    "count": (partial(decimal, digits=0), partial(decimal, digits=0, signed=True)),
    "share": (percent, points),
    "part": (percent, percent),
}
"""By kind of number, how it is written, and how a difference of two."""


def balance_findings(found: BalanceStudy) -> Findings:
    """What a study of balance says."""
    figures = {
        "balance": Drawn(
            "Balance by layer and head", figure_of(found.plot()), "Prompts as they are; mean over samples."
        ),
        "layers": Drawn(
            "Balance by layer",
            figure_of(found.plot_layers()),
            "Mean over heads. Even attention gives each image token and each word the same.",
        ),
        "shares": Drawn(
            "Attention shares",
            figure_of(found.plot_shares()),
            "Heads and layers averaged, BOS taken out; mean over samples.",
        ),
    }
    if STRIPPED in found.arms:
        figures["balance_stripped"] = Drawn(
            "Balance without the system part", figure_of(found.plot(arm=STRIPPED)), "Mean over samples."
        )
        figures["balance_change"] = Drawn(
            "What leaving the system part out changes",
            figure_of(found.plot_difference()),
            "Sample by sample, then the mean.",
        )
    tables = {
        "measures": found.measures,
        "by_head": found.by_head(),
        "by_layer": found.by_layer(),
        "samples": found.samples,
        "left_out": found.left_out,
    }
    return Findings(
        title="Does the model look at the image or at the words?",
        sentences=(balance_sentence(found), *_more(found)),
        cautions=(*CAUTIONS, *((OF_ARMS,) if STRIPPED in found.arms else ())),
        tables=tables,
        shown={"By system prompt": _shown(found)},
        figures=figures,
        summary={
            "n": found.n,
            "measures": {arm: own.set_index("measure")["value"].to_dict()
                         for arm, own in found.measures.groupby("arm", sort=False)},
            "left_out": found.left_out.to_dict("records"),
            "surely_over_even": {arm: own.surely_over_even for arm, own in found.balance.items()},
            "sentence": balance_sentence(found),
        },
        settings=dict(found.settings),
    )  # fmt: skip


def balance_sentence(found: BalanceStudy) -> str:
    """Where heads look, in one sentence with intervals."""
    image, kept, level = found.row("share_image_masked"), found.balance[KEPT], level_of(found.settings)
    even, more = decimal(found.value("even")), kept.surely_over_even
    than_even = (
        f"of so few whether any looks at it more than even attention would (balance {even}) can not be tested"
        if more is None
        else f"{more} of all look at it more than even attention would (balance {even}; one-sided t-test over "
        f"groups, Holm over {found.heads} heads at {100 * (1 - level):g} %)"
    )
    return (
        f"Over {found.n} samples {_said(found, 'image_heads')} of {found.heads} heads look mostly at the image; "
        f"{than_even}: of what image and words get, the image has "
        f"{share(image.value, image.low, image.high, level=level)}."
    )


def _more(found: BalanceStudy) -> list[str]:
    told = [_system(found)]
    if STRIPPED in found.arms:
        masked, heads = (_said(found, name, DIFFERENCE) for name in ("share_image_masked", "image_heads"))
        texts, level = found.row("changed", DIFFERENCE), level_of(found.settings)
        told.append(
            f"Leaving the system part out changes the image's part of image and words by {masked}, the number of "
            f"heads that look mostly at the image by {heads}, and the answer to "
            f"{share(texts.value, texts.low, texts.high, level=level)} of the questions."
        )
    spread = f"Entropy over the image, 1 where all image tokens get as much, is {_said(found, 'entropy_produced')}"
    if found.tells("entropy_consumed"):
        spread += f", in the authors' alignment {_said(found, 'entropy_consumed')}"
    return [*told, f"{spread}."]


def _system(found: BalanceStudy) -> str:
    """What the system prompt gets, or why nothing is said of it."""
    if not found.tells("share_system"):
        return (
            "The prompts have no system part, so that nothing could be left out of them and there is one arm; "
            "--system TEXT gives one, where the model's template takes it."
        )
    system, image, text = (found.row(f"share_{name}") for name in ("system", "image", "text"))
    theirs = found.row("share_image_authors")
    level = level_of(found.settings)
    parts = [share(one.value, one.low, one.high, level=level) for one in (system, image, theirs, text)]
    return (
        f"The system prompt gets {parts[0]} of the attention, the image {parts[1]} (in the authors' pie {parts[2]}), "
        f"the words {parts[3]}."
    )


def _told(found: BalanceStudy, measure: str, arm: str = KEPT, *, level: float | None = None) -> str:
    """A measure as it is read: in a table, or with the level of its interval in a sentence."""
    own = found.row(measure, arm)
    alone, change = FORMS[SHOWN[measure][1]]
    return (change if arm == DIFFERENCE else alone)(own.value, own.low, own.high, level=level)


def _said(found: BalanceStudy, measure: str, arm: str = KEPT) -> str:
    """A measure as it stands in a sentence."""
    return _told(found, measure, arm, level=level_of(found.settings))


def _shown(found: BalanceStudy) -> pd.DataFrame:
    """One row per measure, a column per arm and for their difference."""
    import pandas as pd

    arms = [KEPT, *([STRIPPED, DIFFERENCE] if STRIPPED in found.arms else [])]
    rows = []
    for measure, (title, _) in SHOWN.items():
        cells = {arm: _told(found, measure, arm) if found.tells(measure, arm) else NOTHING for arm in arms}
        rows.append({"measure": title, **cells})
    return pd.DataFrame(rows)
