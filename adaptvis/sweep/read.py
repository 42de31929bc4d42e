"""Reading a sweep: the rows of a setting, and those that a policy would have chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adaptvis.policy.policies import Policy, is_policy
from adaptvis.sweep.plan import UNTOUCHED, Decoder
from interp.errors import InputError
from interp.numeric import agree, counted

if TYPE_CHECKING:
    import pandas as pd


def rows_under(
    table: pd.DataFrame, *, mode: str = "mul", layers: str = "all", heads: str = "all", rows: str = "last"
) -> pd.DataFrame:
    """A sweep's rows of one mode and window over alpha, the untouched ones among them at the alpha of no change.

    Args:
        table: the sweep, see `run_sweep`.
        mode: what alpha does to the image logits.
        layers: where, as this column of the sweep has it.
        heads: the same.
        rows: the same; what does not say its rows, as earlier sweeps do not, edits the last one.
    """
    import pandas as pd

    table = table.assign(rows=table["rows"].fillna("last") if "rows" in table else "last")
    where = {"mode": mode, "layers": layers, "heads": heads, "rows": rows}
    own = (table[list(where)] == list(where.values())).all(axis=1)
    base = table[table["setting"] == UNTOUCHED].assign(alpha=0.0 if mode == "add" else 1.0, **where)
    return pd.concat([base, table[own]]).sort_values("alpha", kind="stable")


def policy_rows(table: pd.DataFrame, policy: Policy | Decoder) -> pd.DataFrame:
    """The rows that a policy takes from a sweep, one per sample, with the `branch` it went and the `policy`'s name.

    A threshold costs nothing: the confidence of the untouched token is in the table.

    Raises:
        InputError: the sweep has no rows for a setting of the policy.
    """
    base = table[table["setting"] == UNTOUCHED]
    if is_policy(policy):
        sure = confidence_of(base, policy.confidence).tolist()
        wanted = [_name(policy.choose(value)) for value in sure]
        branches = [policy.branch(value) for value in sure]
    else:
        wanted, branches = [str(policy)] * len(base), ["decoded"] * len(base)
    missing = sorted(set(wanted) - set(table["setting"]))
    if missing:
        raise InputError(f"the sweep has no rows for {missing[0]}, which {policy} needs: add it to the plan")
    chosen = table.set_index(["id", "setting"], drop=False).loc[list(zip(base["id"], wanted, strict=True))]
    return chosen.reset_index(drop=True).assign(branch=branches, policy=str(policy))


def confidence_of(table: pd.DataFrame, name: str) -> pd.Series:
    """One measure of confidence, by the name that policies give it.

    Raises:
        InputError: the options of a sample can not be told apart by their first tokens.
    """
    if name == "probability-rounded":
        return table["confidence"].round(2)
    values = table["confidence" if name == "probability" else f"confidence_{name.replace('-', '_')}"]
    if values.isna().any():
        n = int(values.isna().sum())
        have, their = agree(n, "has", "have"), agree(n, "its", "their")
        raise InputError(
            f"{n} of {counted(len(values), 'sample')} {have} no confidence by {name!r}, as {their} options can not be "
            "told apart by their first tokens: choose another confidence"
        )
    return values


def _name(intervention: Any) -> str:
    """The setting that an intervention's rows have."""
    return UNTOUCHED if getattr(intervention, "changes_nothing", False) else str(intervention)
