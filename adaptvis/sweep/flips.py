"""Flips: the answers that each alpha turns to another option, the alpha that does most, and the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import rows_under
from interp.answers.metrics import ALL
from interp.answers.scoring import first_option
from interp.errors import InputError
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.prefix import share_prefill
from interp.reprs import fits_a_cell
from interp.stats.clusters import clustered_share, shared_groups
from interp.stats.intervals import Interval
from interp.stats.picked import level_of_each
from interp.study.prompter import batches, prepare_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

ONLY, UP_TO, FROM_ON = "only layer l", "layers 0 to l", "layers l to the last"
"""Which layers an alpha acts in, by layer l."""

SHARES = {"accuracy": "correct", **{name: name for name in ("named_another", "named_none", "changed", "reworded")}}
"""The shares of the answers that are told by alpha, and the column that each counts."""

EVERYWHERE, SHARPENING, AMOUNT = "all layers", "sharpness alone, all layers", "amount of attention alone, all layers"
"""What the layers are held against: the whole change, and its halves, how sharp and how much attention there is."""


@fits_a_cell("alpha answers windows", table="answers")
@dataclass(frozen=True, eq=False)
class Flips:
    """The samples whose answer one alpha turns to another option, and their answers where it acts in some layers only.

    Attributes:
        alpha: the factor on the image logits of the last prompt row.
        answers: one row per sample: id, and the options that are named `before` and `after`.
        windows: one row per sample, kind (`ONLY`, `UP_TO`, `FROM_ON`, `EVERYWHERE`, `SHARPENING`, `AMOUNT`) and layer
            (-1 where it is all): id, group, kind, layer, text, the option that it names (`predicted`, missing where it
            names none), and whether that is the option of the whole change, `same`. `AMOUNT` is the matched control,
            `SHARPENING` the mode `temper`.
    """

    alpha: float
    answers: pd.DataFrame
    windows: pd.DataFrame

    def carried(self) -> pd.DataFrame:
        """How often each window gives the answer of the whole change: kind, layer, n, share, low and high.

        Each interval is that of `clustered_share`, of one window by itself.
        """
        import pandas as pd

        rows = []
        for (kind, layer), own in self.windows.groupby(["kind", "layer"], sort=False):
            rows.append({"kind": kind, "layer": layer, "n": len(own), **share_of(own, "same").cells("share")})
        return pd.DataFrame(rows)

    def of(self, kind: str) -> Interval:
        """How often one of the changes in all layers gives that answer."""
        return share_of(self.windows[self.windows["kind"] == kind], "same")

    def count_of(self, kind: str) -> int:
        """How many of the samples give that answer at one of the changes in all layers."""
        return int(self.windows.loc[self.windows["kind"] == kind, "same"].sum())

    def strongest_layer(self) -> tuple[int, Interval]:
        """The layer that gives that answer most often where alpha acts in it alone, the first of equals; how often.

        As it is picked for that, its interval is one that holds for all layers at once, see `share_of`.
        """
        alone = self.windows[self.windows["kind"] == ONLY]
        shares = alone.groupby("layer")["same"].mean()
        best = int(shares.idxmax())
        return best, share_of(alone[alone["layer"] == best], "same", among=len(shares))


def share_of(rows: pd.DataFrame, column: str, *, among: int = 1, level: float = 0.95) -> Interval:
    """A share of rows with the interval of `clustered_share`, and one that was picked with that of all of them.

    Of one among several, intervals of all of them together hold in `level` of studies, however they hang together:
    each is of level `level_of_each`, and so is that of the largest.

    Args:
        rows: one row per sample; the column `group`, where it is there, says what belongs together.
        column: what is counted, bool.
        among: how many shares it was picked among, such as one of each layer; 1 where nothing was picked.
        level: nominal coverage of all together.

    Example:
        >>> share_of(alone[alone["layer"] == 3], "same", among=12).low
    """
    right = rows[column].to_numpy(dtype=bool)
    return replace(clustered_share(right, shared_groups(rows), level=level_of_each(level, among)), level=level)


def with_changes(table: pd.DataFrame, rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows over alpha, of a sweep or of its control, with how the answer differs from the untouched one.

    `changed`: both name an option, and not the same, which is a flip. `reworded`: they differ, and one of them or both
    name no option, so that nothing is known of a flip. `named_another` and `named_none` part the wrong answers: by
    whether they name an option.

    Args:
        table: the sweep, with the untouched rows.
        rows: those of its control; of the sweep itself if None.
    """
    rows = rows_under(table) if rows is None else rows
    before = table[table["setting"] == UNTOUCHED].set_index("id").loc[rows["id"]]
    named = rows["predicted"].notna().to_numpy()
    both = named & before["predicted"].notna().to_numpy()
    moved = rows["predicted"].to_numpy() != before["predicted"].to_numpy()
    reworded = rows["text"].to_numpy() != before["text"].to_numpy()
    wrong = ~rows["correct"].to_numpy(dtype=bool)
    return rows.assign(
        changed=both & moved, reworded=~both & reworded, named_another=wrong & named, named_none=wrong & ~named
    )


def dose_response(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, the two kinds of wrong answers and of other answers, by relation (`all` first) and alpha.

    Each is a share with the interval of `clustered_share`, of one alpha by itself; what they are stands at
    `with_changes`.

    Args:
        rows: the table that `with_changes` gives.
    """
    import pandas as pd

    lines = []
    for relation in (ALL, *dict.fromkeys(rows["relation"])):
        own = rows if relation == ALL else rows[rows["relation"] == relation]
        for alpha, asked in own.groupby("alpha"):
            line: dict[str, Any] = {"relation": relation, "alpha": alpha, "n": len(asked)}
            for name, column in SHARES.items():
                found = share_of(asked, column)
                line |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
            lines.append(line)
    return pd.DataFrame(lines)


def strongest_alpha(table: pd.DataFrame) -> float | None:
    """The alpha of a sweep under which most answers flip, of equals the one nearest to 1; None where none does."""
    changed = with_changes(table).groupby("alpha")["changed"].sum()
    if not changed.any():
        return None
    return float(min(changed.index, key=lambda alpha: (-changed[alpha], abs(alpha - 1), alpha)))


def follow_flips(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    table: pd.DataFrame,
    matched: pd.DataFrame,
    alpha: float,
    *,
    prompt: str,
    max_new_tokens: int = 10,
    batch: int = 16,
) -> Flips:
    """Ask the samples whose answer an alpha turns to another option again, with the alpha in some of the layers only.

    One prefill a batch; each layer alone, the first layers and the last ones are each one step more.

    Args:
        vlm: the model.
        samples: those of the sweep.
        table: the sweep, see `run_sweep`.
        matched: the same samples under the control, see `ask_matched`.
        alpha: one of the factors of both.
        prompt: prompt style.
        max_new_tokens: length of an answer at most.
        batch: samples that share one pass.

    Raises:
        InputError: the alpha turns no answer of the sweep to another option.
    """
    import pandas as pd

    rows = with_changes(table)
    after = rows[(rows["alpha"] == alpha) & rows["changed"]].set_index("id")["predicted"]
    if after.empty:
        raise InputError(
            f"alpha {alpha:g} changes no answer of this sweep to another option: ask strongest_alpha for one that does"
        )
    before = table[table["setting"] == UNTOUCHED].set_index("id")["predicted"]
    flipped = [sample for sample in samples if sample.id in after.index]
    rows = []
    for places in batches(flipped, batch):
        rows += _ask_windows(vlm, [flipped[place] for place in places], alpha, prompt, max_new_tokens)
    control = matched[(matched["alpha"] == alpha) & matched["id"].isin(after.index)]
    rows += [
        {"id": row.id, "group": row.group, "kind": AMOUNT, "layer": -1, "text": row.text}
        for row in control.itertuples()
    ]
    windows = pd.DataFrame(rows)
    options = {sample.id: sample.options for sample in flipped}
    named = [first_option(row.text, options[row.id]) for row in windows.itertuples()]
    windows["predicted"] = pd.Series(named, index=windows.index, dtype=object)
    windows["same"] = windows["predicted"].to_numpy() == after.loc[windows["id"]].to_numpy()
    ids = [sample.id for sample in flipped]
    answers = pd.DataFrame({"id": ids, "before": before.loc[ids].to_numpy(), "after": after.loc[ids].to_numpy()})
    return Flips(alpha, answers, windows)


def windows_of(n_layers: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Every window of layers that is asked, by kind and layer.

    Example:
        >>> windows_of(3)[UP_TO, 1], windows_of(3)[FROM_ON, 1]
        ((0, 1), (1, 2))
    """
    every = range(n_layers)
    return (
        {(ONLY, layer): (layer,) for layer in every}
        | {(UP_TO, layer): tuple(range(layer + 1)) for layer in every}
        | {(FROM_ON, layer): tuple(range(layer, n_layers)) for layer in every}
    )


def _ask_windows(
    vlm: HookedVLM, samples: Sequence[Sample], alpha: float, prompt: str, max_new_tokens: int
) -> list[dict[str, Any]]:
    """One batch under an alpha in every window of layers; each setting is asked once, whatever it is called."""
    depth, whole = vlm.cfg.n_layers, ScaleImageLogits(alpha)
    named = {
        key: whole if len(layers) == depth else ScaleImageLogits(alpha, layers=layers)
        for key, layers in windows_of(depth).items()
    }
    named |= {(EVERYWHERE, -1): whole, (SHARPENING, -1): ScaleImageLogits(alpha, mode="temper")}
    once = list(dict.fromkeys(named.values()))
    prefix = share_prefill(vlm, prepare_samples(vlm, samples, prompt))
    answered = dict(zip(once, prefix.generate(once, max_new_tokens), strict=True))
    return [
        {"id": sample.id, "group": sample.group, "kind": kind, "layer": layer, "text": answered[each].texts[place]}
        for place, sample in enumerate(samples)
        for (kind, layer), each in named.items()
    ]
