"""Balance over a data set: rows of one photo each, intervals of whole groups, with the system part and without."""

import json
from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pandas as pd
import pytest
import tiny
from broken_off import break_second
from made_up import layout_of, softmax_rows
from markupsafe import escape

from interp import HookedVLM
from interp.errors import InputError, RefusedError
from interp.objects.sample import Sample
from interp.stats.intervals import spread_ends
from probes.__main__ import main
from probes.position.balance import Balance, cross_modality_balance
from probes.position.balance_arms import DIFFERENCE, MEASURES
from probes.position.balance_measurement import BalanceMeasurement, measure_attention
from probes.position.balance_study import study_balance
from probes.position.columns import FILES, NAMES
from probes.position.mean_balance import mean_balance
from probes.position.mean_shares import mean_shares
from probes.position.report.balance import balance_findings, balance_sentence
from probes.position.shares import modality_shares

SYSTEM = "A chat between a curious user and an assistant."
QUIET = {"progress": False, "max_new_tokens": 3, "batch": 2}


def samples(count=4, size=(70, 64)):
    asked = ["Where is the mug?", "Where is it?", "What is in the photo?", "Which?", "Why?", "Is it a dog?"]
    return [
        Sample(f"s{place}", tiny.photo(place, size), asked[place], (), "left", group=f"g{place // 2}")
        for place in range(count)
    ]


@pytest.fixture(scope="module")
def llava():
    return HookedVLM.from_pretrained("tiny-llava", self_check=False)


@pytest.fixture(scope="module")
def both(llava):
    """A study with both arms."""
    return study_balance(llava, samples(), system=SYSTEM, **QUIET)


@pytest.mark.parametrize("name", ["tiny-qwen2_vl", "tiny-gemma3"])
def test_rows_are_those_of_each_photo_asked_alone_in_both_arms(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    work = BalanceMeasurement.of(vlm, system=SYSTEM, max_new_tokens=3)
    asked = samples()
    for sample, rows in zip(asked, work(asked), strict=True):
        assert [row["arm"] for row in rows] == ["kept", "stripped"]
        for row, system in zip(rows, (SYSTEM, ""), strict=True):
            (alone,) = measure_attention(vlm, vlm.prepare(sample.image, sample.question, system=system), 3)
            assert row["text"] == alone.text and row["image_mass"] == pytest.approx(
                alone.balance.image_mass.ravel(), abs=1e-5
            )
            assert row["balance"] == pytest.approx(alone.balance.values.ravel(), abs=1e-5)
            assert row["share_image"] == pytest.approx(
                dict(zip(alone.shares.groups, alone.shares.kept, strict=True))["image"], abs=1e-5
            )
            assert row["entropy_produced"] == pytest.approx(alone.entropy["produced"].values.mean(), abs=1e-5)
            assert row["entropy_consumed"] == pytest.approx(alone.entropy["consumed"].values.mean(), abs=1e-5)
            assert (row["system_tokens"] > 0) == bool(system) == (row["share_system"] > 0)


def test_one_generation_is_made_for_each_arm(llava, monkeypatch):
    calls = []
    whole = type(llava).generate_with_cache
    monkeypatch.setattr(type(llava), "generate_with_cache", lambda *a, **k: calls.append(1) or whole(*a, **k))
    study_balance(llava, samples(), **{**QUIET, "batch": 4})
    assert len(calls) == 1
    study_balance(llava, samples(), system=SYSTEM, **{**QUIET, "batch": 4})
    assert len(calls) == 3


def test_means_and_differences_are_those_of_the_rows(both):
    kept, stripped = (both.samples[both.samples["arm"] == arm].set_index("id") for arm in both.arms)
    for measure in ("share_image", "share_image_authors", "share_image_masked", "entropy_produced", "coverage"):
        assert both.value(measure) == pytest.approx(kept[measure].mean(), abs=1e-6)
        change = (stripped[measure] - kept[measure]).mean()
        assert both.value(measure, DIFFERENCE) == pytest.approx(change, abs=1e-6)
    maps = both.balance["kept"].values, both.balance["stripped"].values
    assert both.difference == pytest.approx(maps[1] - maps[0], abs=1e-6)
    assert both.value("balance") == pytest.approx(maps[0].mean(), abs=1e-6)
    assert both.value("changed", DIFFERENCE) == (kept["text"] != stripped["text"]).mean()
    for arm, own in zip(both.arms, maps, strict=True):
        assert both.value("image_heads", arm) == (own > 0.5).sum()
    heads = both.value("image_heads", "stripped") - both.value("image_heads")
    assert both.value("image_heads", DIFFERENCE) == heads


def test_the_arm_without_the_system_part_is_the_study_of_prompts_that_have_none(llava, both):
    """The template of this family writes none, so that leaving a given one out gives the plain prompts."""
    plain = study_balance(llava, samples(), **QUIET)
    assert plain.arms == ("kept",) and plain.difference is None
    for measure in ("share_image", "entropy_consumed", "image_heads", "over_even"):
        assert plain.value(measure) == both.value(measure, "stripped")
    assert np.array_equal(plain.balance["kept"].values, both.balance["stripped"].values)
    why = plain.left_out.set_index(["arm", "measure"])["why"]
    assert "no prompt has a system part" in why["stripped", "all"] == why[DIFFERENCE, "all"]
    assert "no prompt has a system part" == why["kept", "share_system"]
    with pytest.raises(InputError, match="no prompt has a system part"):
        plain.value("share_image", "stripped")
    with pytest.raises(InputError, match="no prompt has a system part"):
        plain.plot_difference()


def test_no_table_holds_a_gap_and_every_measure_is_there_or_named(llava, both):
    for found in (both, study_balance(llava, samples(), **{**QUIET, "max_new_tokens": 1})):
        for table in (found.measures, found.left_out, found.by_head(), found.by_layer()):
            assert not table.loc[:, ~table.columns.str.match("low|high")].isna().any(axis=None)  # of two groups
        named = set(zip(found.left_out["arm"], found.left_out["measure"], strict=True))
        for arm in found.arms:
            for measure in MEASURES[:-1]:
                assert found.tells(measure, arm) != ((arm, measure) in named)
    assert "no answer has two tokens" in found.left_out.query("measure == 'entropy_consumed'")["why"].item()


def test_a_study_that_was_broken_off_goes_on_to_the_same_tables(llava, both, tmp_path, monkeypatch):
    calls = break_second(monkeypatch, BalanceMeasurement)
    asked = {"system": SYSTEM, "out": tmp_path, **QUIET}
    with pytest.raises(KeyboardInterrupt):
        study_balance(llava, samples(), **asked)
    resumed = study_balance(llava, samples(), resume=True, **asked)
    assert len(calls) == 3
    for name in ("samples", "measures", "left_out"):
        pd.testing.assert_frame_equal(getattr(resumed, name), getattr(both, name), check_exact=True)
    pd.testing.assert_frame_equal(resumed.by_head(), both.by_head(), check_exact=True)
    with pytest.raises(InputError, match="system"):
        study_balance(llava, samples(), resume=True, **{**asked, "system": "Another one."})


def made_up(count, seed=0):
    """Balances and shares of random rows; the second half are those of the first again."""
    layout = layout_of(9)
    half = [softmax_rows(layout, 2, 3, seed=seed + place) for place in range(count // 2)]
    return [(cross_modality_balance(rows, layout), modality_shares(rows, layout)) for rows in [*half, *half]]


def drawn(values, groups, seed, n=2000):
    """Means of draws of whole groups, one group after the other."""
    names = list(dict.fromkeys(groups))
    counts = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), size=n)
    means = []
    for draw in counts:
        chosen = []
        for name, times in zip(names, draw, strict=True):
            chosen += [own for own, group in zip(values, groups, strict=True) if group == name] * times
        means.append(np.mean(chosen, axis=0))
    return np.array(means)


def test_intervals_draw_whole_groups():
    balances, shares = zip(*made_up(8), strict=True)
    groups = [f"photo {place % 4}" for place in range(8)]
    found = mean_balance(balances, groups, seed=3)
    values = np.stack([one.values for one in balances]).astype(np.float64)
    draws = drawn(values, groups, 3)
    low, high = spread_ends(values.mean(0), draws, 0.95, units=4, bounds=(0, 1))
    assert np.allclose(found.balance.low, low, atol=1e-6) and np.allclose(found.balance.high, high, atol=1e-6)
    wide, alone = found.balance.high - found.balance.low, mean_balance(balances, seed=3).balance
    assert (wide > 1.2 * (alone.high - alone.low)).mean() > 0.8
    for interval, above in ((found.image_heads, 0.5), (found.over_even, balances[0].even)):
        counts = (draws > above).sum(axis=(1, 2))
        assert interval.estimate == (values.mean(0) > above).sum()
        wanted = spread_ends(interval.estimate, counts.astype(float), 0.95, units=4, bounds=(0, values[0].size))
        assert (interval.low, interval.high) == pytest.approx(wanted)
    parts = mean_shares(shares, groups, seed=3)
    image = drawn([one.masked for one in shares], groups, 3)
    wanted = spread_ends(parts.image.estimate, image, 0.95, units=4, bounds=(0, 1))
    assert (parts.image.low, parts.image.high) == pytest.approx(wanted, abs=1e-6)
    assert (parts.drawn_groups, parts.samples, found.groups, found.samples) == (4, 8, 4, 8)


def test_no_interval_leaves_what_a_measure_can_be(llava):
    found = study_balance(llava, [replace(one, group="") for one in samples(3)], system=SYSTEM, **QUIET)
    assert not found.measures.isna().any(axis=None) and (found.measures["groups"] == 3).all()
    for row in found.measures.itertuples():
        most = found.heads if row.measure in ("image_heads", "over_even") else 1
        least = -most if row.arm == DIFFERENCE and row.measure != "changed" else 0
        assert least <= row.low < row.high <= most, row
    for own in found.balance.values():
        assert own.balance.low.min() >= 0 and own.balance.high.max() <= 1


def test_one_group_has_no_interval_and_its_tables_no_gaps():
    balances, shares = zip(*made_up(4), strict=True)
    pairs = ["a", "a", "b", "b"]  # two groups have no interval either
    alone = mean_balance(balances, ["a"] * 4), mean_shares(shares[:1])
    for found in (*alone, mean_balance(balances, pairs), mean_shares(shares, pairs)):
        assert not {"low", "high"} & set(found.to_dataframe()) and not found.to_dataframe().isna().any(axis=None)
    assert np.isnan(mean_balance(balances[:1]).image_heads.low)
    whole = mean_shares(shares, ["a", "a", "b", "c"]).to_dataframe()
    assert {"low", "high", "low_authors", "high_authors"} < set(whole) and (whole["low"] <= whole["share"]).all()
    for mean, some in ((mean_balance, balances), (mean_shares, shares)):
        with pytest.raises(InputError, match="3 groups for 4 samples"):
            mean(some, ["a", "b", "c"])


def test_even_attention_is_the_null_that_no_head_is_above():
    layout = layout_of(9)
    rows = np.full((2, 3, layout.length), 1 / layout.length, dtype=np.float32)
    found = cross_modality_balance(rows, layout)
    assert found.even == 9 / 15 and found.image_heads == 6 and found.over_even == 0
    several = mean_balance([replace(found, sample_id=name) for name in "abc"])
    assert mean_balance([found, replace(found, sample_id="b")]).surely_over_even is None  # two say nothing for sure
    assert several.image_heads.estimate == 6 and several.over_even.estimate == 0 < several.over_even.high < 6
    ones = np.ones((2, 3), np.float32)
    planted = Balance("c", ones, ones[..., None], ones, 0 * ones, 0.6)
    both = mean_balance([planted] * 3)
    assert (
        planted.over_even == 6 == both.over_even.estimate and several.surely_over_even == 0 == both.surely_over_even - 6
    )


def test_no_head_is_surely_above_even_attention_where_what_it_adds_is_noise():
    """Of 100 models of 48 such heads, with 60 samples each, about 5 may have one; half of all heads lie above it."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        values = 0.6 + 0.1 * rng.standard_normal((60, 12, 4)).astype(np.float32)
        balances = [Balance(str(place), one, one[..., None], one, one, 0.6) for place, one in enumerate(values)]
        mean = mean_balance(balances, n=200)
        assert 12 < mean.over_even.estimate < 36
        found.append(mean.surely_over_even)
    assert np.count_nonzero(found) <= 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": []}, "no samples"),
        ({"samples": samples(2)}, "at least two groups"),
        ({"system": SYSTEM, "prompt": "paper"}, "only prompt='chat'"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"prompt": "late"}, "not known"),
        ({"draws": 0}, "draw"),
        ({"samples": [replace(one, question="<image>") for one in samples()], "prompt": "raw"}, "no words"),
    ],
    ids=str,
)
def test_what_can_not_be_measured_is_refused_before_the_first_pass(llava, options, message):
    with tiny.passes(llava) as passes, pytest.raises(InputError, match=message):
        study_balance(llava, **{"samples": samples(), **QUIET, **options})
    assert not passes


def test_a_template_that_takes_no_system_prompt_is_refused_before_the_first_pass():
    vlm = tiny.vlm(self_check=False)
    with tiny.passes(vlm) as passes, pytest.raises(RefusedError, match="takes no system prompt"):
        study_balance(vlm, samples(), system=SYSTEM, **QUIET)
    assert not passes


def test_of_raw_prompts_those_with_a_system_part_are_asked_again_without(llava):
    asked = [
        replace(one, question=f"{SYSTEM if place % 2 else ''} USER: <image>\n{one.question} ASSISTANT:".strip())
        for place, one in enumerate(samples(6))
    ]
    found = study_balance(llava, asked, prompt="raw", **QUIET)
    assert found.samples["arm"].tolist() == ["kept", *["kept", "stripped"]] * 3
    assert found.row("share_image", "stripped")["samples"] == 3 == found.row("balance", DIFFERENCE)["samples"]
    own = found.samples.query("arm == 'kept'")
    assert found.value("share_system") == pytest.approx(own["share_system"].mean())  # those without get nothing


def test_figures_show_the_numbers(both):
    assert np.array_equal(both.plot(arm="stripped").images[0].get_array(), both.balance["stripped"].values)
    assert np.array_equal(both.plot_difference().images[0].get_array(), both.difference)
    bars = both.plot_shares()
    assert [text.get_text().split(",")[0] for text in bars.get_yticklabels()] == ["kept", "kept", "kept", "stripped"]
    assert bars.patches[0].get_width() == pytest.approx(both.value("share_system"))
    lines = both.plot_layers().get_lines()
    assert lines[0].get_ydata() == pytest.approx(both.balance["kept"].values.mean(1), abs=1e-6)
    with pytest.raises(InputError, match="no arm 'bare'"):
        both.plot(arm="bare")


def test_the_page_says_the_sentence_and_what_it_does_not_show(both):
    page = balance_findings(both)
    assert page.sentences[0] == balance_sentence(both) == page.summary["sentence"]
    assert both.balance["kept"].surely_over_even is None  # two groups have no interval, and no test
    assert f"{both.value('image_heads'):.0f} of 12 heads" in page.sentences[0]
    assert "; of so few whether any looks at it more than even attention would" in page.sentences[0]
    assert "even attention" in page.sentences[0] and "of 12 heads" in page.sentences[0]
    assert any("authors' pie" in one for one in page.cautions) and any("another prompt" in one for one in page.cautions)
    assert set(page.figures) == {"balance", "layers", "shares", "balance_stripped", "balance_change"}


@pytest.mark.parametrize("system", [[], ["--system", SYSTEM]], ids=["plain", "system"])
def test_the_command_asks_a_data_set_and_writes_every_file(tmp_path, capsys, system):
    out = tmp_path / "out"
    asked = ["balance", "--dataset", "shapes", "--n", "6", "--model", "tiny-llava", "--out", str(out), *system]
    assert main([*asked, "--max-new-tokens", "2"]) == 0
    names = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    known = [*FILES["balance-study"], *(name.replace(".parquet", ".csv") for name in FILES["balance-study"])]
    assert not [name for name in names if not any(fnmatch(name, one) for one in known)]
    there = {name for name in FILES["balance-study"] if "*" not in name and (system or "balance_" not in name)}
    assert there <= set(names)
    said = json.loads((out / "summary.json").read_text())
    assert said["sentence"] in capsys.readouterr().out and said["settings"]["system"] == (SYSTEM if system else None)
    assert str(escape(said["sentence"].split(":")[0])) in (out / "report.html").read_text()
    for name in ("measures", "by_head", "by_layer", "samples", "left_out"):
        assert set(pd.read_parquet(out / f"{name}.parquet")) <= set(NAMES)
    assert main(asked) == 2  # what lies there is not written over
    assert main(["balance", "photo.png", "Where?", "--dataset", "shapes"]) == 2


@pytest.mark.parametrize("command", ["balance", "shares"])
def test_the_commands_of_one_photo_take_a_system_prompt(tmp_path, capsys, command):
    photo = tmp_path / "photo.png"
    tiny.photo(0).save(photo)
    where = [command, str(photo), "Where is the mug?", "--model", "tiny-llava", "--max-new-tokens", "2"]
    said = {}
    for system in ([], ["--system", SYSTEM]):
        out = tmp_path / f"out{len(system)}"
        assert main([*where, "--out", str(out), *system]) == 0
        assert {path.name for path in out.iterdir()} == set(FILES[command])
        said[len(system)] = json.loads((out / "summary.json").read_text())
    assert said[0]["settings"]["system"] is None and said[2]["settings"]["system"] == SYSTEM
    if command == "shares":
        assert set(said[2]["shares"]) - set(said[0]["shares"]) == {"system"}
        assert capsys.readouterr().out.count("no system part") == 1
    assert main([*where, "--system", SYSTEM, "--prompt", "paper", "--out", str(tmp_path / "no")]) == 2
