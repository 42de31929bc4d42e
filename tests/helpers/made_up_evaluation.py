"""Made-up evaluations: policies on answers that no model gave, for reports whose numbers are known."""

import numpy as np
import pandas as pd

from adaptvis.contrastive.decoding import VCD, DoLa
from adaptvis.evaluation.evaluation import Evaluation, summarise
from adaptvis.policy.policies import AdaptVis, Baseline, ScalingVis
from adaptvis.sweep.plan import UNTOUCHED, grid
from interp.answers.comparison import compare_grid
from interp.answers.scoring import score
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.indices import spell
from interp.prompt.templates import paper_prompt, where_in_relation

RELATION = ("left", "right", "above", "below")
WINDOWS = (None, (0, 1, 2), (3, 4, 5), (10, 11))
POLICIES = {
    "baseline": Baseline(),
    "scaling": ScalingVis(0.5),
    "adaptvis": AdaptVis(0.5, 1.5, 0.6),
    "add": ScalingVis(1.0, mode="add"),
    "temper": ScalingVis(1.5, mode="temper"),
    "vcd": VCD(),
    "dola": DoLa(),
}


def columns_of(setting):
    """The columns that name a setting, as a sweep has them."""
    if isinstance(setting, ScaleImageLogits):
        where = {"layers": spell(setting.layers), "heads": spell(setting.heads)}
        return {"setting": str(setting), "mode": setting.mode, "alpha": setting.alpha, **where}
    nothing = {"mode": "", "alpha": float("nan"), "layers": "", "heads": ""}
    return {"setting": UNTOUCHED if setting is None else str(setting), **nothing}


def made_up_sweep(
    settings,
    n=40,
    *,
    options=RELATION,
    relations=None,
    right=None,
    dataset="shapes",
    seed=0,
    sets=False,
    per_group=None,
    asked=paper_prompt,
):
    """A sweep without a model: sure samples are right more often, `right` fixes whether all are.

    So many as `per_group` share a group, in `sets` as many as there are options.
    """
    per_group = len(options) if sets else per_group
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(n):
        gold = options[place % len(options)]
        sure = float(rng.uniform(0.2, 1.0))
        others = [name for name in options if name != gold]
        for setting in settings:
            hit = rng.random() < 0.3 + 0.6 * sure if right is None else right
            missed = "I can not say" if rng.random() < 0.2 else str(rng.choice(others))
            rows.append(
                {
                    "id": f"{dataset}-{seed}-{place:05d}",
                    "dataset": dataset,
                    "kind": "relation",
                    "relation": gold if relations is None else relations[place % len(relations)],
                    "group": f"pair {place // per_group}" if per_group else "",
                    "prompt": asked(where_in_relation("mug", "table", options)),
                    "gold": gold,
                    "options": "|".join(options),
                    **columns_of(setting),
                    "text": (gold if hit else missed).capitalize(),
                    "probability": sure,
                    "confidence": sure,
                    "gold_probability": sure * (0.9 if hit else 0.2),
                }
            )
    return score(pd.DataFrame(rows))


def made_up_evaluation(names=tuple(POLICIES), *, tuned=True, **how):
    """An evaluation of some policies on made-up answers."""
    policies = {name: POLICIES[name] for name in names}
    settings = [None]
    if {"scaling", "adaptvis"} & set(names):
        settings += grid((0.0, 0.5, 1.5, 2.0)) + grid((0.5,), windows=WINDOWS[1:])
    settings += grid((-1.0, 1.0), mode="add") * ("add" in names) + grid((0.5, 1.5), mode="temper") * ("temper" in names)
    settings += [POLICIES[name] for name in ("vcd", "dola") if name in names]
    test = made_up_sweep(settings, **how)
    answers, summary = summarise(test, list(policies.values()))
    own = {name: rows for name, rows in test.groupby("setting", sort=False) if name != UNTOUCHED}
    against = compare_grid(test[test["setting"] == UNTOUCHED], own) if own else pd.DataFrame()
    validation = made_up_sweep(settings, **{**how, "seed": 99, "n": 20}) if tuned else None
    return Evaluation(policies, validation, test, answers, summary, against)
