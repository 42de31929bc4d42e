"""An overlap study of maps by gradients and by the lens: the numbers are those of each photo by itself."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
from PIL import Image

from interp.errors import InputError, ModelError
from interp.image.boxes import Box
from interp.maps.answer_lens import answer_lens
from interp.maps.gradients import KINDS, answer_gradient
from interp.objects.sample import Object, Sample
from interp.overlap.overlap import overlap
from interp.overlap.report.further import _FURTHER
from interp.overlap.study.examine import examine_overlap
from interp.overlap.study.request import ALSO as EVERY
from interp.overlap.study.result import read_overlap_study
from interp.overlap.study.run import study_overlap
from interp.overlap.study.token_maps import ALSO
from interp.proof.samples import noise
from interp.study.prompter import prepare_samples

BOXES = (Box("mug", (20, 15, 95, 75)), Box("table", (110, 40, 190, 125)))


@cache
def vlm():
    return tiny.vlm()


def samples(n=3):
    objects = tuple(Object(box.label, box) for box in BOXES)
    asked = "Where is the mug in relation to the table? Answer with left or right."
    return [
        Sample(
            f"s{place}", Image.fromarray(noise((200, 130), place)), asked, ("left", "right"), "left", objects, "left"
        )
        for place in range(n)
    ]


def run(n=3, **options):
    given = {"detector": "ground-truth", "draws": 2, "max_new_tokens": 1, "progress": False, "also": ALSO}
    return study_overlap(vlm(), samples(n), **{**given, **options})


def test_each_map_of_each_sample_is_measured_as_by_itself():
    study = run(layers=(0, 2))
    for place, sample in enumerate(samples()):
        inputs = prepare_samples(vlm(), [sample], "paper")
        (slopes,), ((_, chance),) = answer_gradient(vlm(), inputs), answer_lens(vlm(), inputs)
        maps = {kind: slopes.maps(kind) for kind in KINDS} | {"lens": chance[:, None]}
        assert tuple(maps) == ALSO
        for name, own in maps.items():
            regions = {"first": [BOXES[0]], "second": [BOXES[1]]}
            wanted = overlap(own, inputs.grids[0], regions=regions, contrast=("first", "second"))
            for measure in ("cosine", "lift", "auroc", "hit"):
                for region in ("union", "first minus second"):
                    found = study.of(name).values(measure, region)[place]
                    np.testing.assert_allclose(
                        found[[0, 2]], wanted.values(measure, region=region)[[0, 2]], rtol=2e-3, atol=2e-4
                    )
                    assert np.isnan(found[1]).all()
            even = study.of(name).values("auroc_even")[place]
            np.testing.assert_allclose(even[[0, 2]], wanted.even_score("auroc"), rtol=1e-5)


def test_the_rows_stay_as_they_are_and_the_lens_has_no_heads():
    study, alone = run(), run(also=())
    for measure in alone.measures:
        np.testing.assert_array_equal(study.measures[measure], alone.measures[measure])
    lens, slopes = study.of("lens"), study.of("gradient")
    assert lens.n_heads == 1 and "heads" not in lens.nulls and "heads" in slopes.nulls
    assert slopes.n_heads == vlm().cfg.n_heads and lens.values("mass").shape == (3, 3, 2)
    np.testing.assert_array_equal(lens.values("mass")[..., 0], lens.values("mass")[..., 1])
    assert slopes.normalisations == lens.normalisations == ("image",)


def test_a_study_is_kept_and_read_and_examined_with_each_map_by_itself(tmp_path):
    whole = run(4, out=tmp_path / "out", batch=2, also=("lens", "two-stage", "gradient"))
    read = read_overlap_study(tmp_path / "out")
    assert list(read.further) == list(whole.further) == ["lens", "two-stage", "gradient"]
    right = whole.samples.assign(right=[True, False, True, False])
    given = replace(whole, samples=right, further={k: replace(v, samples=right) for k, v in whole.further.items()})
    found = examine_overlap(given, measure="mass", n_draws=50)
    for maps, own in found.further.items():
        for measure, values in whole.of(maps).measures.items():
            np.testing.assert_array_equal(read.of(maps).measures[measure], values)
        alone = examine_overlap(given.of(maps), measure="mass", n_draws=50)
        assert own.maps == maps and np.array_equal(own.within.auroc, alone.within.auroc, equal_nan=True)
    assert "\ngradient: mass (union, image, head mean) inside relations: AUROC" in found.describe()


def test_every_map_has_its_section_in_the_report():
    assert set(_FURTHER) == set(EVERY)


def test_what_can_not_be_measured_is_refused_before_the_model_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(vlm().model, "is_quantized", True, raising=False)
    with tiny.passes(vlm()) as ran:
        with pytest.raises(ModelError, match="quantised"):
            run(out=tmp_path / "out")
        with pytest.raises(InputError, match="give each once, of two-stage, vision, gradient"):
            run(also=("relative",))
    assert ran == [] and not (tmp_path / "out").exists()
