"""Every scorer that needs the model runs on every family, and gives one finite number for each query head."""

from functools import cache

import numpy as np
import pytest
import torch

from interp.errors import ModelError
from interp.image.boxes import Box
from interp.image.photos import load_image
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.prompt.templates import paper_prompt
from interp.proof.samples import QUESTIONS, SIZES, noise
from interp.zoo.tiny import TINY, build_tiny
from probes.heads.scorers.ablation import AblationMeasurement
from probes.heads.scorers.attention import SCORERS, LookMeasurement, read_scorers
from probes.heads.scorers.divergence import DivergenceMeasurement
from probes.heads.scorers.gradient import GradientMeasurement
from probes.heads.scorers.id_write import IdWriteMeasurement

ASKED = {"prompt": "paper"}


@cache
def family(name):
    return HookedVLM.wrap(*build_tiny(name), self_check=False)


def asked():
    """One question whose prompt ends a line: these tokenizers cut words into letters, and a space is none of them."""
    box = Box("mug", (40, 30, 120, 100))
    own = {"paper_prompt": f"{paper_prompt(QUESTIONS[1])}\n"}
    return Sample("s", load_image(noise(SIZES[0])), QUESTIONS[1], (), "left", (Object("mug", box),), meta=own)


def measured(work, sample):
    work.check([sample], progress=False)
    return work([sample])[0]


@pytest.mark.parametrize("name", TINY)
def test_scorers_run_on_every_family(name):
    vlm = family(name)
    sample, cells = asked(), vlm.cfg.n_layers * vlm.cfg.n_heads
    looks = LookMeasurement(vlm, read_scorers(tuple(SCORERS)), moves=2, **ASKED)
    (row,) = measured(looks, sample)
    assert all(own.shape == (cells,) for own in row.values())
    there = row["image_mass"] > 0  # a layer may see no further back than the question
    assert there.any() and (row["gaze"] <= row["image_mass"] + 1e-6).all()
    for column in ("gaze", "hit_rate", "overlap", "pointing", "entropy"):
        assert np.isfinite(row[column][there]).all(), column
    (row,) = measured(GradientMeasurement(vlm, **ASKED), sample)
    assert row["gradient"].shape == (cells,) and (row["gradient"] >= 0).all() and row["gradient"].max() > 0
    (row,) = measured(DivergenceMeasurement(vlm, **ASKED), sample)
    moved = row["distance"] > 0
    assert moved.shape == (cells,) and moved.any() and np.isfinite(row["cosine"][moved]).all()
    (row,) = measured(AblationMeasurement(vlm, **ASKED), sample)
    assert row["drop"].shape == (cells,) and np.abs(row["drop"]).max() > 0 and 0 < row["p"] < 1
    own = np.random.default_rng(0).normal(size=(vlm.cfg.n_layers + 1, 2, vlm.cfg.d_model))
    rows = measured(IdWriteMeasurement.of(vlm, own, **ASKED), sample)
    assert [row["object"] for row in rows] == ["mug"] and rows[0]["h"].shape == (cells,)
    for axis in "hv":
        assert np.isfinite(rows[0][axis]).all() and rows[0][axis].all()


def test_a_model_that_overflows_is_refused_by_the_name_of_the_question():
    vlm = HookedVLM.wrap(*build_tiny("tiny-qwen2_5_vl"), self_check=False)
    values = [own for name, own in vlm.model.named_parameters() if name.endswith("v_proj.weight")][-1]
    with torch.no_grad():
        values.fill_(torch.inf)
    axes = np.ones((vlm.cfg.n_layers + 1, 2, vlm.cfg.d_model))
    every = (AblationMeasurement, DivergenceMeasurement, lambda vlm, **how: IdWriteMeasurement.of(vlm, axes, **how))
    for work in every:
        with pytest.raises(ModelError, match="sample 's': .* infinite or NaN"):
            measured(work(vlm, **ASKED), asked())
