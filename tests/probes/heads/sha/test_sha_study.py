"""SHA over items: each arm is what its own photos and questions give, tests are paired, runs go on or are refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import load_image
from interp.objects.sample import Object, Sample
from interp.stats.clusters import clustered_mean
from interp.stats.sign_flips import flip_signs
from probes import HeadMeasurement, ShaView, collect_heads, known_boxes, study_sha
from probes.heads.columns import FILES, OWN
from probes.heads.sha.arms import ARMS, BOTH, ELSEWHERE, MASK, ORIGINAL
from probes.heads.sha.report import sha_findings

VIEW = ShaView("both")
HOW = {"max_new_tokens": 3, "batch": 8, "progress": False, "draws": 40, "deals": 2, "options": {"shuffles": 3}}
HEARD = {name: HOW[name] for name in ("max_new_tokens", "batch", "progress")}


@cache
def model():
    return tiny.vlm(self_check=False)


def made(place):
    thing = Object("mug", Box("mug", (8.0 + place % 5, 10.0, 30.0, 28.0)))
    functions = {"functions": ["spatial"] if place % 2 else ["math", "recall"][: 1 + (place % 3 == 0)]}
    question = tiny.QUESTIONS[place % len(tiny.QUESTIONS)]
    image = tiny.photo(place // 2)
    objects = (thing,) if place % 2 == 0 else ()
    return Sample(f"i{place}", image, question, ("left", "right"), "left", objects, "", f"g{place // 2}", functions)


ITEMS = [made(place) for place in range(40)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The folder and what was found."""
    place = tmp_path_factory.mktemp("sha") / "out"
    return place, study_sha(model(), ITEMS, out=place, view=VIEW, **HOW)


def test_each_arm_is_what_its_own_photos_and_questions_give(asked, tmp_path):
    place, found = asked
    boxes = known_boxes(ITEMS)
    for arm in (ORIGINAL, MASK, BOTH):
        shown = [VIEW.sample(item, boxes[item.id], arm) for item in ITEMS]
        own = collect_heads(model(), shown, out=tmp_path / arm, **HEARD).to_dataframe()
        rows = found.answers[found.answers["arm"] == arm].set_index("id").loc[own["id"]]
        assert rows["answer"].tolist() == own["answer"].tolist()
        assert rows["correct"].tolist() == own["correct"].tolist()
    assert found.arms == (*ARMS, ELSEWHERE) and set(found.answers["arm"]) == set(found.arms)
    photos = [path for path in (place / "photos").iterdir() if path.name.startswith(f"{BOTH}-")]
    assert len(photos) == 20  # one for two questions
    wanted = {load_image(VIEW.photo(item.image, boxes[item.id], BOTH)).tobytes() for item in ITEMS}
    assert {load_image(path).tobytes() for path in photos} == wanted


def test_shares_and_paired_differences_are_those_of_the_answers(asked):
    _, found = asked
    wide = found.answers.pivot(index="id", columns="arm", values="correct").loc[[item.id for item in ITEMS]]
    groups = np.array([item.group for item in ITEMS], dtype=object)
    for function, some in (("all", slice(None)), ("spatial", [place % 2 == 1 for place in range(40)])):
        own = wide[some].astype(float)
        row = found.share("accuracy", BOTH, function)
        assert row["value"] == pytest.approx(own[BOTH].mean()) and row["samples"] == len(own)
        gaps = (own[list(found.arms[1:])].to_numpy() - own[[ORIGINAL]].to_numpy()).astype(float)
        flips = flip_signs(gaps, groups[some], seed=0)
        for place, arm in enumerate(found.arms[1:]):
            told = found.against("accuracy", arm, function)
            ends = clustered_mean(gaps[:, place], groups[some], seed=0, n=40)
            assert told["value"] == pytest.approx(ends.estimate, abs=1e-6)
            assert (told["low"], told["high"]) == pytest.approx((ends.low, ends.high), abs=1e-6)
            assert (told["p"], told["p_any"]) == pytest.approx((flips.p[place], flips.p_any[place]), abs=1e-6)
        control = (own[BOTH] - own[ELSEWHERE]).mean()
        against = found.against("accuracy", BOTH, function, baseline=ELSEWHERE)
        assert against["value"] == pytest.approx(control, abs=1e-6) and against["p"] == against["p_any"]


def test_heads_are_counted_in_every_arm_and_held_against_the_original(asked):
    _, found = asked
    assert set(found.counts) == set(found.arms)
    assert set(found.heads["function"]) == {"spatial", "math"}  # of recall there are too few items
    for row in found.heads.itertuples():
        own = found.counts[row.arm]
        assert row.value == len(own.sets[own.scores.place(row.function)]) and row.of == 12
    more = found.heads_against_original
    assert ORIGINAL not in set(more["arm"]) and set(more.query("baseline == 'elsewhere'")["arm"]) == {BOTH}
    assert set(found.left_out["function"]) == {"recall"} and found.left_out["why"].str.contains("at least 10").all()
    with pytest.raises(InputError, match="at least 10"):
        found.found(BOTH, "recall")


def test_the_page_says_how_boxes_were_shown_and_every_table_is_told_of(asked):
    _, found = asked
    told = sha_findings(found)
    assert "Those of the smallest part are of 7 groups" in told.few[0]
    assert "one photo" in told.sentences[-1] and "in the place of the photo" in told.sentences[-1]
    covered = found.settings["control_overlap"]
    assert f"the control hides {100 * covered:.1f} % all the same" in told.sentences[-1] and 0 <= covered < 1
    assert "of the data set" in told.sentences[-1] and "[" in told.sentences[0]
    for name, table in told.tables.items():
        assert f"{name}.parquet" in FILES["heads-sha"], name
        assert name in OWN and len(table.columns)


def test_a_run_that_is_broken_off_goes_on_to_the_very_same_answers_and_heads(asked, tmp_path, monkeypatch):
    _, whole = asked
    with monkeypatch.context() as patch:
        break_second(patch, HeadMeasurement)
        with pytest.raises(KeyboardInterrupt):
            study_sha(model(), ITEMS, out=tmp_path, view=VIEW, **HOW)
    with pytest.raises(InputError, match="resume"):
        study_sha(model(), ITEMS, out=tmp_path, view=VIEW, **HOW)
    again = study_sha(model(), ITEMS, out=tmp_path, view=VIEW, resume=True, **HOW)
    pd.testing.assert_frame_equal(again.answers, whole.answers)
    pd.testing.assert_frame_equal(again.heads, whole.heads)
    pd.testing.assert_frame_equal(again.against_original, whole.against_original)


def test_without_functions_answers_alone_are_told(tmp_path):
    bare = [replace(item, meta={}) for item in ITEMS[:8]]
    found = study_sha(model(), bare, out=tmp_path, view=ShaView("drawn"), control=False, **HOW)
    assert found.heads.empty and "no function" in found.left_out["why"].iloc[0]
    assert found.arms == ARMS and set(found.accuracy["function"]) == {"all"}
    assert any("can not be counted" in sentence for sentence in sha_findings(found).sentences)


class Finder:
    """A detector that finds one thing in every photo."""

    name, labels = "finder", ()

    def detect(self, image, words=None):
        return Boxes((Box("mug", (1.0, 2.0, 20.0, 21.0)),), source=self.name)


def test_boxes_of_a_detector_are_shown_and_named(tmp_path):
    items = [replace(item, objects=(Object("mug"),)) for item in ITEMS[:6]]
    found = study_sha(model(), items, out=tmp_path, boxes=Finder(), control=False, **HOW)
    assert {own[0].xyxy for own in found.boxes.values()} == {(1.0, 2.0, 20.0, 21.0)}
    assert found.settings["boxes"]["source"] == "finder" and "of finder" in sha_findings(found).sentences[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    (
        ({"items": [replace(item, objects=()) for item in ITEMS]}, "40 of 40 items can not be shown"),
        ({"items": ITEMS[:2]}, "at least two groups"),
        ({"rule": "top_k", "given": {"k": 3}}, "as many heads as it is told"),
        ({"prompt": "raw"}, "prompt='raw'"),
        ({"boxes": "detector"}, "boxes are a str"),
        ({"boxes": {"i0": (Box("mug", (0.0, 0.0, 9.0, 9.0)),)}}, "39 of 40 items"),
        ({"tokens": "best"}, "tokens='best'"),
        ({"deals": 0}, "deals 0"),
        ({"max_new_tokens": 500}, "the model takes 512"),
    ),
)
def test_bad_input_is_refused_before_the_first_pass(changes, said, tmp_path):
    items = changes.get("items", ITEMS)
    options = {**HOW, **{name: value for name, value in changes.items() if name != "items"}}
    with tiny.passes(model()) as passes, pytest.raises(InputError, match=said):
        study_sha(model(), items, out=tmp_path / "out", **options)
    assert not passes and not (tmp_path / "out").exists()
