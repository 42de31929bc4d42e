"""Small overlap studies of planted models, for the tests of the study and of how it is run."""

import pandas as pd
import torch

from interp.maps.trajectory import trajectory
from interp.model.hooked_vlm import HookedVLM
from interp.model.provenance import result_of
from interp.overlap.study.run import study_overlap
from interp.planted.llava import build_planted, planted_scenes


def load(name):
    return HookedVLM.wrap(*build_planted(name), self_check=False)  # heads that do nothing would fail it


def run(name, count=40, scenes=None, **options):
    scenes = planted_scenes(name, count) if scenes is None else scenes
    return study_overlap(load(name), scenes, **{"detector": "ground-truth", "progress": False, **options})


def looked_at(vlm, scenes):
    """Last prompt rows by another way than the study's: a plain forward pass with a cache."""
    inputs = vlm.prepare([scene.image for scene in scenes], [scene.question for scene in scenes], prompt="paper")
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.startswith("blocks") and "pattern" in name)
    rows = torch.stack([cache["pattern", layer][:, :, 0] for layer in range(vlm.cfg.n_layers)], 1).numpy()
    return [trajectory(*parts) for parts in zip(rows, inputs.layouts, inputs.grids, strict=True)], inputs.grids


def same(study, other):
    """Whether two studies are equal to the bit."""
    assert list(study.measures) == list(other.measures)
    for name, values in study.measures.items():
        assert values.tobytes() == other.measures[name].tobytes(), name
    pd.testing.assert_frame_equal(study.samples, other.samples, check_exact=True)
    assert result_of(study.settings) == result_of(other.settings) and study.regions == other.regions
