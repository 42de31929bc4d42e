"""The published tables are whole numbers of items, presets say what the paper ran, and comparisons never guess."""

import numpy as np
import pandas as pd
import pytest

from adaptvis.paper.published import (
    METHODS,
    PRESETS,
    SCALING_ALPHAS,
    compare_with_published,
    model_version,
    published_numbers,
)
from adaptvis.paper.splits import OFFICIAL_SIZES
from interp.errors import InputError
from interp.stats.intervals import Interval, wilson

# Rounding slips of the published table: no whole number of items gives them (280 of 330 is 84.85, rounded twice).
SLIPS = {("coco-two", "dola", 0.575), ("vg-one", "scaling", 0.382), ("controlled-a", "adaptvis", 0.849)}


def test_every_published_accuracy_is_a_whole_number_of_test_items():
    numbers = published_numbers()
    rows = numbers[numbers["measure"] == "accuracy"]
    digits = rows["source"].map({"paper": 1, "re-run": 2})
    slips = set()
    for row, places in zip(rows.itertuples(), digits, strict=True):
        nearest = round(row.published * row.n_published) / row.n_published
        if round(100 * nearest, places) != pytest.approx(100 * row.published):
            slips.add((row.dataset, row.method, row.published))
    assert slips == SLIPS


def test_every_cell_is_there_once():
    numbers = published_numbers()
    assert not numbers.duplicated(["source", "model", "method", "dataset", "measure"]).any()
    assert numbers.groupby(["source", "model"]).size().to_dict() == {
        ("paper", "llava-1.5"): 40,
        ("paper", "llava-1.6"): 40,
        ("re-run", "llava-1.5"): 36,
    }
    assert numbers["published"].between(0, 1).all() and set(numbers["method"]) == set(METHODS)


@pytest.mark.parametrize(
    "source, model, method, dataset, measure, percent",
    [
        ("paper", "llava-1.6", "adaptvis", "controlled-a", "accuracy", 98.2),
        ("paper", "llava-1.5", "adaptvis", "vsr", "paper_f1", 62.5),
        ("paper", "llava-1.5", "baseline", "vg-two", "accuracy", 40.8),
        ("re-run", "llava-1.5", "adaptvis", "controlled-a", "set", 31.52),
        ("re-run", "llava-1.5", "scaling", "controlled-b", "pair", 44.65),
        ("re-run", "llava-1.5", "baseline", "coco-one", "accuracy", 52.89),
        ("re-run", "llava-1.5", "adaptvis", "vsr", "paper_f1", 49.85),
    ],
)
def test_cells_stand_where_they_were_published(source, model, method, dataset, measure, percent):
    rows = published_numbers().set_index(["source", "model", "method", "dataset", "measure"])
    assert rows.loc[(source, model, method, dataset, measure), "published"] == pytest.approx(percent / 100)


def test_presets_cover_the_data_sets_and_make_policies_on_the_authors_grids():
    assert list(PRESETS) == list(OFFICIAL_SIZES)
    for preset in PRESETS.values():
        assert preset.alpha in SCALING_ALPHAS and preset.alpha_unsure in (0.5, 0.8)
        assert preset.alpha_sure in (1.2, 1.5, 2.0)
    found = PRESETS["controlled-b"].policies()
    assert [str(policy) for policy in found.values()] == [
        "baseline",
        "ScalingVis(alpha=0.8)",
        "AdaptVis(alpha_unsure=0.5, alpha_sure=1.5, threshold=0.35)",
    ]


def test_a_result_is_set_beside_both_sources_in_items():
    found = compare_with_published(198 / 330, 330, "controlled-a", "llava-hf/llava-1.5-7b-hf", "baseline")
    rows = found.rows.set_index("source")
    assert not found.reason and list(rows.index) == ["paper", "re-run"]
    assert rows["items"].tolist() == [-1, 0] and rows["inside"].all()
    assert rows["note"].str.contains("takes our answers as independent").all()
    known = compare_with_published(
        198 / 330, 330, "controlled-a", "llava-1.5-7b", "baseline", others={"accuracy": wilson(198, 330)}
    )
    assert (known.rows["note"] == "").all()
    assert rows["low"].tolist() == [wilson(198, 330).low] * 2 and rows["n_published"].tolist() == [330, 330]
    assert rows.loc["paper", "difference"] == pytest.approx(0.6 - 0.603)


def test_a_result_far_from_the_published_one_is_outside():
    rows = compare_with_published(280 / 330, 330, "controlled-a", "llava-1.5-7b", "scaling").rows
    assert not rows["inside"].any() and rows["items"].tolist() == [67, 67]


def test_further_measures_come_with_their_intervals():
    others = {"pair": Interval(67 / 165, 0.35, 0.47), "set": Interval(0.0, 0.0, 0.0), "f1": Interval(0.7, 0.6, 0.8)}
    rows = compare_with_published(0.6, 330, "controlled-a", "llava-1.5", "baseline", others=others).rows
    assert set(zip(rows["source"], rows["measure"], strict=True)) == {
        *[("paper", "accuracy"), ("re-run", "accuracy")],
        *[("re-run", "pair"), ("re-run", "set")],
    }
    assert rows.set_index("measure").loc[["pair", "set"], "items"].tolist() == [0, 0]


def test_the_f1_of_vsr_is_compared_and_its_adaptvis_numbers_are_explained():
    others = {"paper_f1": Interval(0.4985, 0.46, 0.54)}
    rows = compare_with_published(609 / 978, 978, "vsr", "llava-1.5-7b", "adaptvis", others=others).rows
    found = rows.set_index(["source", "measure"])
    assert not found.loc[("paper", "paper_f1"), "inside"] and found.loc[("re-run", "paper_f1"), "inside"]
    assert found["note"].str.contains("raw logit").all() and pd.isna(found.loc[("paper", "paper_f1"), "items"])
    assert found.loc[("re-run", "accuracy"), "items"] == 0


@pytest.mark.parametrize(
    "dataset, model, method, word",
    [
        ("controlled-a", "Qwen/Qwen2.5-VL-7B-Instruct", "baseline", "Qwen"),
        ("controlled-a", "llava-1.5-13b-hf", "baseline", "13b"),
        ("shapes-a", "llava-1.5-7b", "baseline", "shapes-a"),
        ("vsr", "llava-1.5-7b", "additive", "additive"),
    ],
)
def test_what_was_never_published_gives_an_empty_table_and_the_reason(dataset, model, method, word):
    found = compare_with_published(0.5, 10, dataset, model, method)
    assert found.rows.empty and word in found.reason
    assert list(found.rows.columns) == list(
        compare_with_published(0.5, 10, "vsr", "llava-1.5", "baseline").rows.columns
    )


@pytest.mark.parametrize(
    "name, version",
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5"),
        ("/models/LLaVA-v1.5-7B", "llava-1.5"),
        ("llava-hf/llava-v1.6-vicuna-7b-hf", "llava-1.6"),
        ("llava-1.5", "llava-1.5"),
        ("llava-hf/llava-v1.6-34b-hf", None),
        ("me/llava-1.5-7b-spatial-lora", None),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", None),
        ("shapes-vlm", None),
        ("", None),
    ],
)
def test_a_model_is_known_by_its_version_and_size(name, version):
    assert model_version(name) == version


@pytest.mark.parametrize("accuracy, n", [(60.3, 330), (0.6015, 330), (0.5, 0), (-0.1, 10), (np.nan, 10)])
def test_an_accuracy_that_is_no_number_of_items_is_refused(accuracy, n):
    with pytest.raises(InputError, match="right answers"):
        compare_with_published(accuracy, n, "vsr", "llava-1.5", "baseline")


def test_what_has_no_interval_lies_neither_inside_nor_outside_it():
    two_photos = Interval(0.6, np.nan, np.nan)
    rows = compare_with_published(
        198 / 330, 330, "controlled-a", "llava-1.5-7b", "baseline", others={"accuracy": two_photos}
    ).rows
    assert rows["inside"].isna().all() and rows["ours"].tolist() == [0.6, 0.6]


def test_no_set_of_twenty_right_is_compatible_with_a_few_of_them():
    sets = wilson(0, 20)
    found = compare_with_published(
        198 / 330, 330, "controlled-a", "llava-1.5-7b", "baseline", others={"set": sets, "pair": wilson(20, 20)}
    ).rows.set_index("measure")
    assert found.loc["set", "published"] == 0 and found.loc["set", "inside"] and found.loc["set", "high"] > 0.15
    assert not found.loc["pair", "inside"]
