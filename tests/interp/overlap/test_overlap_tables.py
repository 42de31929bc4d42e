"""Tables of overlap, of one photo and of a study, call one thing by one name, and those of earlier names are read."""

import numpy as np
import pytest
from made_up import square_grid
from overlap_studies import load, looked_at, run

from interp.errors import InputError
from interp.image.boxes import Box
from interp.overlap.nulls import NULL_MEASURES, NULLS
from interp.overlap.overlap import overlap
from interp.overlap.study.result import as_study, read_overlap_study
from interp.planted import llava as planted
from interp.planted.llava import planted_scenes
from interp.plots import plot_overlap_by_layer
from interp.study.run import read_study

GRID = square_grid((48, 48), 6)


def test_that_tables_of_a_study_and_of_one_photo_call_the_same_thing_by_one_name():
    one = run("planted-object", 6, draws=2)
    scene = planted_scenes("planted-object", 1)[0]
    (looked,), (grid,) = looked_at(load("planted-object"), [scene])
    photo = overlap(looked, grid, regions={"first": [scene.objects[0].box]}).to_dataframe()
    study = one.to_dataframe(normalisations=("image",))
    told = {"relation", "group", "right", "confidence", "found"}  # of the question, which a photo by itself has not
    nulls = {f"{name}_{null}" for null in NULLS for name in NULL_MEASURES}
    assert set(study) - set(photo) == told | nulls
    assert set(photo) - set(study) == {"step", "area_share", "coverage", "objects", "objects_seen"}
    mine = study[(study["sample"] == scene.id) & (study["region"] == "first")].reset_index(drop=True)
    other = photo[photo["region"] == "first"].reset_index(drop=True)
    for name in ("layer", "head", "cosine", "mass_even", "cosine_even", "peaks"):
        assert mine[name].to_numpy() == pytest.approx(other[name].to_numpy(), abs=1e-5), name


def test_that_the_table_of_a_study_is_drawn_as_those_of_photos_are():
    two = run("planted-distractor", 6, draws=2)
    ax = plot_overlap_by_layer(two.to_dataframe(["mass", "mass_even"]), measure="mass")
    drawn = [line.get_ydata() for line in ax.get_lines() if len(line.get_xdata()) == planted.N_LAYERS]
    assert any(line == pytest.approx(two.values("mass")[..., -1].mean(0), abs=1e-6) for line in drawn)


def test_that_a_study_kept_under_earlier_names_is_read(tmp_path):
    run("planted-object", 6, draws=2, out=tmp_path, also=("vision",))
    now, (table, manifest) = read_overlap_study(tmp_path), read_study(tmp_path)
    earlier = {}
    for name in manifest["settings"]["arrays"]:
        measure, _, null = name.rpartition("_")
        if null in ("even", *NULLS):
            earlier |= {front + name: f"{front}{null}_{measure}" for front in ("", "vision_")}
    assert earlier["hit_near_even"] == "even_hit_near" and earlier["vision_mass_moved"] == "vision_moved_mass"
    arrays = [earlier.get(name, name) for name in manifest["settings"]["arrays"]]
    then = as_study(table.rename(columns=earlier), {**manifest["settings"], "arrays": arrays})
    for old, new in ((then, now), (then.of("vision"), now.of("vision"))):
        assert list(old.measures) == list(new.measures) and list(old.samples) == list(new.samples)
        for name, values in new.measures.items():
            assert values.tobytes() == old.measures[name].tobytes(), name


def test_the_best_layer_is_where_attention_is_nearest_and_not_where_the_centroid_is_farthest():
    maps = np.random.default_rng(0).gamma(0.6, size=(6, 3, 36)).astype(np.float32)
    found = overlap(maps, GRID, [Box("mug", (8, 30, 20, 44))])
    distance = found.by_layer("distance")
    assert found.best_layer("distance") == distance.argmin() != distance.argmax()
    assert found.best_layer("cosine") == found.by_layer("cosine").argmax()
    assert overlap(maps, GRID, []).best_layer("distance") is None
    with pytest.raises(InputError, match="no peaks is better"):
        found.best_layer("peaks")
