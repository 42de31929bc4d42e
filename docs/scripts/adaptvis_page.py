"""The page of ScalingVis and AdaptVis: settings, published numbers and what was measured, put into its template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from adaptvis import VCD, DoLa
from adaptvis.benchmark import evaluate_dataset
from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.evaluation.settings import POLICIES
from adaptvis.paper.published import PRESETS, published_numbers
from adaptvis.paper.splits import OFFICIAL_SIZES, official_split
from adaptvis.policy.confidence import MEASURES
from adaptvis.report.lead import lead
from adaptvis.report.measures import SHORT, measure_evaluation
from adaptvis.report.setup import RunFacts
from adaptvis.report.tables import gain_table, group_table, main_table
from interp import HookedVLM
from interp.answers.comparison import named_test
from interp.answers.yesno import yes_no_from_counts
from interp.compat import BACKENDS
from interp.datasets import BENCHMARKS, read_dataset
from interp.image.photos import load_image
from interp.model.processor_options import on_image_backend
from interp.report.numbers import percent, points
from interp.stats.intervals import wilson
from interp.study.prompter import prepare_samples
from interp.zoo import embedded_path

EXAMPLE = {"right_yes": 435, "yes": 503, "right_no": 177, "no": 475}  # the re-run's untouched answers on VSR


def write_adaptvis(path: Path) -> Path:
    """Ask the embedded model under every policy and write the page of ScalingVis and AdaptVis."""
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    path.write_text(render_adaptvis([measured(vlm, name) for name in spoken_sets()], pixels(vlm)), encoding="utf-8")
    return path


def spoken_sets() -> list[str]:
    """The synthetic sets that the embedded model has words for: those with the paper's relations, or else its own."""
    known = json.loads((embedded_path("shapes-vlm") / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    own = [name for name in ("shapes-a", "shapes-b") if set(BENCHMARKS[name].options) <= set(known)]
    return own or ["shapes"]


def render_adaptvis(found: Sequence[dict[str, Any]], pixels: dict[str, Any] | None = None) -> str:
    """The page: what is known of the method, and what was measured."""
    loader = jinja2.FileSystemLoader(Path(__file__).resolve().parent / "pages")
    strict = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(loader=loader, keep_trailing_newline=True, **strict)
    environment.globals["table"] = markdown_table
    page = environment.get_template("adaptvis.md.jinja")
    values = {**known_tables(), **known_numbers(), "vcd": VCD(), "dola": DoLa(), "weights": weights()}
    return page.render(**values, measured=found, pixels=pixels, synthetic=spoken_sets()[0])


def markdown_table(rows: pd.DataFrame) -> str:
    """A table as GitHub reads it."""
    lines = [list(map(str, rows.columns)), ["---"] * len(rows.columns), *rows.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def weights() -> str:
    """The first digits of the checksum of the embedded model's weights, by which a reader knows what was measured."""
    return hashlib.sha256((embedded_path("shapes-vlm") / "model.safetensors").read_bytes()).hexdigest()[:12]


def measured(vlm: HookedVLM, name: str) -> dict[str, Any]:
    """Every policy on one data set, its settings chosen on the validation part."""
    evaluation = evaluate_dataset(vlm, name, policies=POLICIES, select=True, progress=False)
    found = measure_evaluation(evaluation, dataset=name, model="shapes-vlm")
    assert evaluation.validation is not None
    return {
        "name": name,
        "title": BENCHMARKS[name].title,
        "lead": lead(evaluation, RunFacts(name, "`shapes-vlm`", {})),
        "n_validation": evaluation.validation["id"].nunique(),
        "settings": {SHORT[key]: policy for key, policy in evaluation.policies.items() if key != "baseline"},
        "test": named_test(*evaluation.summary.loc[0, ["test", "groups"]]),
        "main": main_table(evaluation, found),
        "relations": relation_gains(evaluation),
        "swept": gain_table(evaluation.settings, evaluation.test, "setting").replace(
            ", heads=all, rows=last", "", regex=True
        ),
        "groups": group_table(found.groups) if len(found.groups) else None,
        "tried": found.tried,
    }


def pixels(vlm: HookedVLM, n: int = 40, side: int = 400) -> dict[str, Any]:
    """What the library that resizes photos changes: in pixels, in the confidence, and in answers of the model."""
    samples = [
        replace(sample, image=load_image(sample.image).resize((side, side)))
        for sample in read_dataset(spoken_sets()[0], n=n)
    ]
    values, sure, said = [], [], []
    for backend in BACKENDS:
        with on_image_backend(vlm.processor, backend):
            inputs = prepare_samples(vlm, samples, "paper")
        answers = vlm.generate(inputs, 3)
        values.append(inputs.tensors["pixel_values"].numpy())
        sure.append(np.array(answers.confidence))
        said.append(answers.texts)
    apart, (one, other) = np.abs(values[0] - values[1]), sure
    scale = 255 * float(np.mean(vlm.processor.image_processor.image_std))
    return {
        "n": n,
        "side": side,
        "share": f"{100 * (apart > 1e-3).mean():.1f}",
        "most": f"{apart.max():.3f}",
        "grey": f"{apart.max() * scale:.1f}",
        "confidence": f"{np.abs(one - other).max():.4f}",
        "rounded": int((one.round(2) != other.round(2)).sum()),
        "answers": sum(first != second for first, second in zip(*said, strict=True)),
    }


def relation_gains(evaluation: Evaluation) -> pd.DataFrame:
    """Accuracy of the untouched model by relation, and what each policy gains or loses there."""
    rows: dict[str, dict[str, Any]] = {}
    names = {str(policy): SHORT[key] for key, policy in evaluation.policies.items()}
    for line in evaluation.summary.itertuples():
        cells = rows.setdefault(line.relation, {"relation": line.relation, "n": line.n})
        if line.policy == "baseline":
            cells["baseline %"] = percent(line.accuracy, line.low, line.high)
        else:
            cells[names[line.policy]] = points(line.difference, line.difference_low, line.difference_high)
    return pd.DataFrame(rows.values())


def known_tables() -> dict[str, Any]:
    """The tables that need no run: measures of confidence, settings, files, published numbers, precision."""
    named = {"ScalingVis alpha": "alpha", "alpha unsure": "alpha_unsure", "alpha sure": "alpha_sure"}
    named |= {"threshold": "threshold"}
    presets = [
        {
            "data set": name,
            **{title: getattr(preset, key) for title, key in named.items()},
            "options": ", ".join(BENCHMARKS[name].options),
        }
        for name, preset in PRESETS.items()
    ]
    files = [
        {"data set": f"`{name}`", "n": (one := BENCHMARKS[name]).n, "annotations": f"`{one.annotations[0]}`",
         "photos": f"`{one.images}/`" + (" and `val2017/`" if name == "vsr" else ""), "licence": one.licence}
        for name in PRESETS
    ]  # fmt: skip
    return {
        "measures": pd.DataFrame([{"confidence": f"`{name}`", "what": what} for name, what in MEASURES.items()]),
        "presets": pd.DataFrame(presets),
        "files": pd.DataFrame(files),
        "published": published_table(["accuracy", "paper_f1"]),
        "published_groups": published_table(["pair", "set"]),
        "precision": precision_table(),
    }


def published_table(measures: Sequence[str]) -> pd.DataFrame:
    """The published numbers of some measures, one row per source, model and method, a column per data set."""
    known = published_numbers()
    titles = {"accuracy": "", "pair": ", pairs", "set": ", sets", "paper_f1": ', "F1"'}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for line in known[known["measure"].isin(measures)].itertuples():
        cells = rows.setdefault((line.source, line.model, line.method), {})
        digits = 1 if line.source == "paper" else 2
        cells[f"{line.dataset}{titles[line.measure]}"] = f"{100 * line.published:.{digits}f}"
    heads = ("source", "model", "policy")
    return pd.DataFrame(
        [{**dict(zip(heads, (source, model, SHORT[method]), strict=True)), **cells}
         for (source, model, method), cells in rows.items()]
    )  # fmt: skip


def precision_table() -> pd.DataFrame:
    """How many samples each data set has, and how far that carries."""
    known = published_numbers().set_index(["source", "model", "method", "dataset", "measure"])["published"]
    rows = []
    for name, size in OFFICIAL_SIZES.items():
        validation, test = map(len, official_split(size))
        share = known["paper", "llava-1.5", "baseline", name, "accuracy"]
        found = wilson(round(share * test), test)
        ends = f"{100 * found.low:.1f} to {100 * found.high:.1f} %"
        cells = {"samples": size, "validation": validation, "test": test, "one answer": f"{100 / test:.2f} points"}
        rows.append({"data set": name, **cells, "interval": ends})
    return pd.DataFrame(rows)


def known_numbers() -> dict[str, Any]:
    """The single numbers of the page's text."""
    known = published_numbers()
    known = known[(known["model"] == "llava-1.5") & (known["measure"] == "accuracy")]
    paper, rerun = (
        known[known["source"] == source].set_index(["method", "dataset"])["published"] for source in ("paper", "re-run")
    )
    apart = (100 * (rerun - paper.reindex(rerun.index)).drop(index="vsr", level="dataset")).abs()
    broken = ("adaptvis", "vsr")
    return {
        "reproduced": f"{apart.max():.1f}",
        "sure_of_vsr": f"{PRESETS['vsr'].alpha_sure:g}",
        "vsr_paper": f"{100 * paper[broken]:.1f}",
        "vsr_rerun": f"{100 * rerun[broken]:.2f}",
        "example": EXAMPLE,
        "scores": yes_no_from_counts(**EXAMPLE),
        "defects": {name: one.defects for name, one in BENCHMARKS.items() if one.defects},
    }
