"""A study of norms: rows of one-photo functions, pooled; resumed to the bit; groups drawn whole; refusals; its page."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Sample
from probes.__main__ import main
from probes.position.mean_residual_norms import mean_residual_norms
from probes.position.norm_quantiles import parts_of
from probes.position.norms_study import NormsMeasurement, study_norms
from probes.position.report.norms import norms_findings, norms_sentence
from probes.position.residual_norms import residual_norms
from probes.position.token_norms import DEFINITIONS, token_norm_quartiles, token_norms

QUIET = {"progress": False, "prompt": "paper"}


def samples(count=6, *, group=""):
    asked = [tiny.QUESTIONS[place % 3] for place in range(count)]
    return [
        Sample(f"s{place}", tiny.photo(place), question, (), "left", group=group or f"photo {place // 2}")
        for place, question in enumerate(asked)
    ]


def check_gaps(quartiles):
    """Tokens that are the same in every prompt may have no interval, as the first one; those of photos have one."""
    gaps = quartiles[quartiles["low"].isna()]
    assert {"bos"} <= set(gaps["group"]) <= {"bos", "text", "question"}
    assert quartiles.drop(index=gaps.index).notna().all(axis=None)
    assert gaps["high"].isna().all() and gaps.drop(columns=["low", "high"]).notna().all(axis=None)


@pytest.fixture(scope="module")
def vlm():
    return tiny.vlm(self_check=False)


@pytest.fixture(scope="module")
def found(vlm):
    return study_norms(vlm, samples(), batch=4, **QUIET)


def one_by_one(vlm, count=6):
    for sample in samples(count):
        inputs = vlm.prepare(sample.image, sample.question, prompt="paper")
        yield token_norms(vlm, inputs)[0], residual_norms(vlm, inputs)[0]


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-gemma3", "tiny-qwen2_5_vl"])
def test_rows_are_what_the_functions_for_one_photo_give_of_each_sample(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    own, asked = NormsMeasurement.of(vlm, prompt="paper"), samples(2)
    with tiny.passes(vlm) as passes:
        rows = own(asked)
    assert len(passes) == 1
    for sample, (tokens, stream) in enumerate(one_by_one(vlm, 2)):
        assert [row["group"] for row in rows[sample]] == list(stream.groups)
        for place, row in enumerate(rows[sample]):
            assert row["norms"] == pytest.approx(stream.norms[:, place], rel=1e-4)
            assert row["normalized"] == pytest.approx(stream.normalized[place], rel=1e-4)
            for definition in DEFINITIONS:
                norms = tokens.by_group(definition)[row["group"]]
                assert row["tokens"] == len(norms)
                assert row[definition] == pytest.approx(parts_of(norms), rel=1e-4)
    if name == "tiny-gemma3":
        text = next(row for row in rows[0] if row["group"] == "text")
        assert text["received"][50] > 2 * text["paper"][50]  # it scales the rows of its words


def test_a_study_is_the_means_of_its_samples_by_both_conventions_and_definitions(vlm, found):
    tokens, streams = zip(*one_by_one(vlm), strict=True)
    groups = [f"photo {place // 2}" for place in range(6)]
    for convention in ("stream", "paper"):
        wanted = mean_residual_norms(streams, convention=convention, groups=groups)
        for end in ("estimate", "low", "high"):
            own = found.stream(convention)
            assert getattr(own.ratio, end) == pytest.approx(getattr(wanted.ratio, end), rel=1e-4)
        assert own.norms == pytest.approx(wanted.norms, rel=1e-4)
    exact = token_norm_quartiles(tokens).set_index(["definition", "group"])
    for definition in DEFINITIONS:
        own = found.tokens(definition)
        for place, group in enumerate(own.groups):
            row = exact.loc[(definition, group)]
            assert own.tokens[place] == row["tokens"]
            assert own.quartiles[place, 1] == pytest.approx(row["median"], rel=0.05)
    assert found.n == 6 and set(found.to_dataframe()["convention"]) == {"stream", "paper"}
    assert not found.to_dataframe().isna().any(axis=None)
    assert len(found.quartiles()) == sum(3 * len(found.tokens(definition).groups) for definition in DEFINITIONS)
    check_gaps(found.quartiles())


def test_a_study_that_was_broken_off_goes_on_to_the_same_result(vlm, found, tmp_path, monkeypatch):
    calls = break_second(monkeypatch, NormsMeasurement)
    with pytest.raises(KeyboardInterrupt):
        study_norms(vlm, samples(), batch=4, out=tmp_path, **QUIET)
    resumed = study_norms(vlm, samples(), batch=4, out=tmp_path, resume=True, **QUIET)
    assert len(calls) == 3
    for table in ("to_dataframe", "norms_to_dataframe", "quartiles"):
        pd.testing.assert_frame_equal(getattr(resumed, table)(), getattr(found, table)(), check_exact=True)


def test_kept_numbers_do_not_grow_with_the_number_of_image_tokens(vlm):
    (row, *_) = NormsMeasurement.of(vlm, prompt="paper")(samples(1))[0]
    sizes = {name: np.size(value) for name, value in row.items()}
    assert sizes == {"group": 1, "tokens": 1, "norms": 4, "normalized": 1, "received": 101, "paper": 101}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": []}, "no samples"),
        ({"samples": samples(4, group="one")}, "at least two groups"),
        ({"draws": 0}, "at least one draw"),
        ({"level": 1.0}, "level between 0 and 1"),
        ({"record": {"prompt": "x"}}, "prompt"),
        ({"vlm": "shapes-vlm"}, "HookedVLM.from_pretrained"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused_before_the_first_pass(vlm, given, message):
    asked = {"vlm": vlm, "samples": samples(4), **QUIET, **given}
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match=message):
        study_norms(**asked)
    assert not passes


def test_a_raw_prompt_without_words_is_refused_before_the_first_pass(vlm):
    bare = [Sample(f"s{place}", tiny.photo(place), "<image>", (), "left") for place in range(2)]
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match="in words"):
        study_norms(vlm, bare, progress=False, prompt="raw")
    assert not passes


def test_the_sentence_and_the_figures_have_the_numbers(found):
    ratio = found.residual.ratio
    said = norms_sentence(found)
    for depth in (0, -1):
        assert f"{ratio.estimate[depth]:.3g}"[:4] in said and f"{ratio.low[depth]:.3g}"[:4] in said
    assert "6 samples" in said and norms_findings(found).sentences[0] == said
    assert found.plot()[2].lines[0].get_ydata() == pytest.approx(np.log10(ratio.estimate))
    received, paper = found.plot_tokens()
    counts = dict(zip(found.received.groups, found.received.tokens, strict=True))
    assert f"image, n = {counts['image']}" in [text.get_text() for text in received.get_legend().get_texts()]
    assert "the paper's definition" in paper.get_title(loc="left")
    with pytest.raises(InputError, match="not known"):
        found.tokens("theirs")


def test_the_command_writes_every_file_and_the_sentence(tmp_path, capsys):
    asked = ["norms", "--dataset", "shapes", "--n", "4", "--model", "tiny-gemma3", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    said = json.loads((tmp_path / "out" / "summary.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert said["sentence"] in page and said["sentence"] in capsys.readouterr().out
    assert "by the paper" in page and said["settings"]["dataset"] == "shapes"
    for name in ("norm_ratios", "residual_norms"):
        assert not pd.read_parquet(tmp_path / "out" / f"{name}.parquet").isna().any(axis=None)
    check_gaps(pd.read_parquet(tmp_path / "out" / "norm_quartiles.parquet"))
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {"residual_norms", "residual_norms_paper", "token_norms"}
    assert main(asked) == 2 and main(["norms", "--dataset", "shapes", "photo.jpg"]) == 2
