"""Amplify: a planted model is helped exactly where it must be; the tower runs once; studies resume, refuse and tell."""

import json
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from broken_off import break_second
from towers_seen import SEEING, tower_runs

from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError, RefusedError
from interp.intervene.amplification import AmplifyImageTokens, random_directions
from interp.intervene.image_hooks import IMAGE_POINT
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.llava import _PLACES, D_MODEL, GAIN, build_planted, planted_scenes
from probes import amplify, load_directions, save_directions
from probes.__main__ import main
from probes.mechanisms.amplify.answers import AmplifyMeasurement, read_alphas
from probes.mechanisms.amplify.report import amplify_findings
from probes.mechanisms.amplify.study import judge, without_trained
from probes.mechanisms.columns import FILES, NAMES, OWN
from probes.mechanisms.scenes.vocabulary import plain_word

QUIET = {"progress": False, "prompt": "paper", "draws": 200}
RELUCTANCE = 8.0
"""By how many logits the planted model would rather say left."""

ACROSS = np.zeros((D_MODEL, 2), dtype=np.float32)
ACROSS[_PLACES["across"]] = (1.0, -1.0)


@cache
def reluctant():
    """The planted relation model, which says right only of what lies far more to the right than any photo can show."""
    model, processor = build_planted("planted-relation")
    with torch.no_grad():
        left = processor.tokenizer.convert_tokens_to_ids("left")
        model.get_output_embeddings().weight[left, _PLACES["one"]] += RELUCTANCE / 256.0
    return HookedVLM.wrap(model, processor, self_check=False)


@cache
def scenes(count=16):
    return planted_scenes("planted-relation", count)


def further_right(sample):
    """How much further right the first object lies, in the planted model's units."""
    first, second = (thing.box.xyxy[0] for thing in sample.objects)
    return (first - second) / 14 / 3.5


def test_where_the_model_needs_more_of_a_direction_amplification_helps_exactly_the_items_that_it_must():
    alphas = (0.5, 3.0)
    found = amplify(reluctant(), scenes(), {"horizontal": ACROSS}, alphas=alphas, **QUIET)
    right = np.array([one.answer == "right" for one in scenes()])
    assert np.array_equal(found.untouched, np.stack([~right] * 2, axis=1)) and not found.dropped
    for place, alpha in enumerate(alphas):
        for item, sample in enumerate(scenes()):
            pull = 2 * GAIN * (1 + 2 * alpha) * further_right(sample)  # opposite columns
            assert abs(pull - RELUCTANCE) > 0.2
            says = "right" if pull > RELUCTANCE else "left"
            assert (found.probe[item, place] == (says == sample.answer)).all()
    best = found.measures.query("axis == 'all' and source == 'probe' and alpha == 3").set_index("measure")["value"]
    assert best["net"] == best["corrected"] == pytest.approx(right.mean()) and best["broken"] == 0
    assert found.gain["over_untouched"] and found.gain["beyond_random"]
    assert set(found.chosen.query("source == 'probe'")["alpha"]) == {3.0}
    assert found.value("net") == pytest.approx(right.mean()) == found.value("net", alpha=3)
    assert found.paper.set_index("rule").loc["probe", "corrected_rate"].item() == 1
    assert "Amplification helps" in amplify_findings(found).sentences[0]


def test_the_other_axis_does_not_help_both_help_too_and_adding_what_all_tokens_share_does_not():
    down = np.zeros_like(ACROSS)
    down[_PLACES["down"]] = (1.0, -1.0)
    few = {"alphas": (3.0,), "seeds": (0,), **QUIET}
    wrong = amplify(reluctant(), scenes(), {"horizontal": down}, **few)
    assert np.array_equal(wrong.probe[:, 0], wrong.untouched) and not wrong.gain["over_untouched"]
    assert "No gain by amplification was detected" in amplify_findings(wrong).sentences[0]
    both = amplify(reluctant(), scenes(), {"horizontal": ACROSS, "vertical": down}, axes="both", **few)
    assert both.probe.all()
    added = amplify(reluctant(), scenes(), {"horizontal": ACROSS[:, :1]}, mode="additive", **few)
    assert np.array_equal(added.probe[:, 0], added.untouched)


def test_of_few_items_it_is_said_that_no_gain_can_be_told_what_the_worst_alpha_does_and_in_plain_english():
    found = amplify(reluctant(), scenes(3), {"horizontal": ACROSS}, alphas=(0.5, -3.0), seeds=(0,), **QUIET)
    gone = replace(found, dropped=("one",))
    told = amplify_findings(gone).sentences
    assert told[0].startswith("Whether amplification helps can not be told from 3 items") and "3 groups" in told[0]
    assert "The best of 2 alphas is 0.5" in told[1] and "The worst is -3 with" in told[1]
    assert "1 of 4 items was dropped" in told[-1]
    few = amplify(reluctant(), scenes(8), {"horizontal": ACROSS}, alphas=(0.5,), seeds=(0,), **QUIET)
    assert "1 seed, gain" in " ".join(amplify_findings(few).sentences)
    assert "At alpha 0.5, the only one" in " ".join(amplify_findings(few).sentences)


def test_the_tower_runs_once_a_photo_whatever_is_asked_of_it():
    with tower_runs(reluctant()) as calls:
        amplify(reluctant(), scenes(8), {"horizontal": ACROSS}, alphas=(1, 2), batch=4, **QUIET)
    assert len(calls) == 2


def asked_of(vlm, count=3):
    """Samples about photos of noise, and directions for both axes."""
    things, sides = (Object("mug"), Object("table")), ("left", "above", "right", "below")
    options = ("left", "right", "above", "below")
    samples = [
        Sample(str(place), tiny.photo(place, (70 + 20 * place, 60)), "Where?", options, side, things, side)
        for place, side in enumerate(sides[:count])
    ]
    draw = np.random.default_rng(0)
    return samples, {axis: draw.normal(size=(vlm.cfg.d_model, 2)) for axis in ("horizontal", "vertical")}


@pytest.mark.parametrize("name", SEEING)
def test_words_are_those_of_whole_passes_of_single_samples_in_every_family(name, monkeypatch):
    monkeypatch.setattr("probes.mechanisms.amplify.answers.check_words", lambda tokenizer: None)  # some spell by bytes
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    samples, directions = asked_of(vlm)
    work = AmplifyMeasurement.of(vlm, directions, (1.0, 4.0), (5,), prompt="paper")
    found = work(samples)
    decode = vlm.processor.tokenizer.decode
    for sample, rows in zip(samples, found, strict=True):
        assert [(row["source"], row["alpha"]) for row in rows] == [
            ("untouched", 0), ("probe", 1), ("probe", 4), ("random 5", 1), ("random 5", 4),
        ]  # fmt: skip
        axis = "horizontal" if sample.answer in ("left", "right") else "vertical"
        drawn = random_directions(directions[axis], (5, int(axis == "vertical")), same_angle=True)
        for column, options in (("first", "left, right, above or below"), ("second", "right, left, below or above")):
            asked = f"Where is the mug in relation to the table? Answer with {options}."
            inputs = vlm.prepare(sample.image, asked, prompt="paper")
            for row in rows:
                own = {"untouched": None, "probe": directions[axis], "random 5": drawn}[row["source"]]
                edit = None if own is None else AmplifyImageTokens(own, row["alpha"])
                with torch.no_grad():
                    logits = vlm.run_with_hooks(inputs, intervention=edit).logits[0, -1]
                top = logits.topk(2).values
                if top[0] - top[1] > 1e-3:
                    assert row[column] == plain_word(decode([int(logits.argmax())]))


def test_how_far_tokens_move_is_that_of_a_loop():
    vlm = tiny.vlm(self_check=False)
    samples, directions = asked_of(vlm)
    rows = AmplifyMeasurement.of(vlm, directions, (2.0,), (0,), prompt="paper")(samples)[1]
    inputs = vlm.prepare(samples[1].image, "Where is the mug?", prompt="paper")
    tokens = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT)[1][IMAGE_POINT]
    edited = AmplifyImageTokens(directions["vertical"], 2.0)._amplified(tokens)
    shares = [float((after - before).norm() / before.norm()) for before, after in zip(tokens, edited, strict=True)]
    assert rows[1]["moved"] == pytest.approx(np.mean(shares), rel=1e-4) and rows[0]["moved"] == 0


def test_a_study_that_was_broken_off_goes_on_to_the_same_table(tmp_path, monkeypatch):
    options = {"alphas": (1, 3), "seeds": (0, 1), "batch": 4, **QUIET}
    whole = amplify(reluctant(), scenes(), {"horizontal": ACROSS}, **options)
    calls = break_second(monkeypatch, AmplifyMeasurement)
    with pytest.raises(KeyboardInterrupt):
        amplify(reluctant(), scenes(), {"horizontal": ACROSS}, out=tmp_path, **options)
    resumed = amplify(reluctant(), scenes(), {"horizontal": ACROSS}, out=tmp_path, resume=True, **options)
    assert len(calls) == 5
    pd.testing.assert_frame_equal(resumed.answers, whole.answers)
    pd.testing.assert_frame_equal(resumed.to_dataframe(), whole.to_dataframe())
    with pytest.raises(InputError, match="directions"):
        amplify(reluctant(), scenes(), {"horizontal": 2 * ACROSS}, out=tmp_path, resume=True, **options)


def test_items_with_a_reply_on_no_side_are_dropped_and_counted_and_such_a_reply_later_is_wrong():
    samples = [replace(one, id=f"{one.id} {turn}", group=one.id) for turn in (0, 1) for one in scenes(12)]
    work = break_words(samples)
    found = amplify(work, samples, {"horizontal": ACROSS}, alphas=(1.0,), seeds=(0, 1), **QUIET)
    assert len(found.dropped) + len(found.ids) == 24
    answers = found.answers.set_index("id")
    untouched = answers[answers["source"] == "untouched"]
    off = (untouched[["first", "second"]] == "above").any(axis=1)
    assert set(found.dropped) == set(untouched.index[off]) != set()
    later = answers[answers["source"] == "probe"].loc[list(found.ids)]
    assert not found.probe[(later["first"] == "above").to_numpy(), 0, 0].any()
    assert "were dropped" in " ".join(amplify_findings(found).sentences)


def break_words(samples):
    """The planted relation model, which says above of what lies far to the right."""
    model, processor = build_planted("planted-relation")
    with torch.no_grad():
        above, right = (processor.tokenizer.convert_tokens_to_ids(word) for word in ("above", "right"))
        unembed = model.get_output_embeddings().weight
        unembed[above] = unembed[right] * 2
        unembed[above, _PLACES["one"]] -= GAIN / 256.0  # so that it wins where one is further right by more than 1
    return HookedVLM.wrap(model, processor, self_check=False)


def test_items_that_directions_were_trained_on_are_refused_or_left_out_by_name():
    samples = [replace(one, group=f"photo {place // 2}") for place, one in enumerate(scenes(12))]
    named = [samples[0].id, "photo 3", "another"]
    with pytest.raises(InputError, match=r"trained on 4 of 12 samples.*planted-relation-0.*on_trained='exclude'"):
        amplify(reluctant(), samples, {"horizontal": ACROSS}, trained_on=named, **QUIET)
    kept, trained = without_trained(samples, named, "exclude")
    assert trained == [samples[place] for place in (0, 1, 6, 7)] and len(kept) == 8
    few = {"alphas": (3.0,), "seeds": (0, 1), **QUIET}
    found = amplify(reluctant(), samples, {"horizontal": ACROSS}, trained_on=named, on_trained="exclude", **few)
    assert set(found.ids) == {one.id for one in kept}
    assert set(found.left_out.query("table == 'answers'")["source"]) == {one.id for one in trained}
    with pytest.raises(InputError, match="is one text"):
        without_trained(samples, "photo 3")
    with pytest.raises(InputError, match="on_trained='keep'"):
        without_trained(samples, named, "keep")
    with pytest.raises(InputError, match="no samples"):
        everything = [one.id for one in samples]
        amplify(reluctant(), samples, {"horizontal": ACROSS}, trained_on=everything, on_trained="exclude", **QUIET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directions": ACROSS}, "directions=ndarray"),
        ({"directions": {}}, r"directions=\[\]"),
        ({"directions": {"across": ACROSS}}, "directions=.*'across'"),
        ({"directions": {"horizontal": ACROSS[:9]}}, "horizontal axis: directions are 9 wide"),
        ({"directions": {"horizontal": ACROSS * 0}}, "horizontal axis: all directions are zero"),
        ({"directions": {"horizontal": ACROSS * [1, 0]}}, r"horizontal axis: columns \[1\] are zero"),
        ({"directions": {"horizontal": ACROSS * np.nan}}, "horizontal axis: .*finite"),
        ({"directions": {"horizontal": ACROSS}, "mode": "additive"}, "horizontal axis: .*cancel"),
        ({"directions": {"vertical": ACROSS}}, "the horizontal axis, and directions are there for vertical"),
        ({"axes": "both"}, "axes='both'"),
        ({"axes": "all"}, "axes='all' is not known"),
        ({"wording": "paper"}, "wording='paper' is not known"),
        ({"mode": "add"}, "mode='add' is not known"),
        ({"alphas": ()}, "at least one"),
        ({"alphas": (0, 1)}, "an alpha is 0"),
        ({"alphas": (1, 1)}, "each once"),
        ({"alphas": (True,)}, "an alpha is True"),
        ({"alphas": 3}, "is no list"),
        ({"seeds": ()}, "at least one"),
        ({"draws": 0}, "0 draws"),
        ({"samples": []}, "no samples"),
        ({"samples": [scenes(1)[0]]}, "in 1 group"),
        ({"samples": [replace(one, relation="on") for one in scenes(4)]}, "relation 'on'"),
        ({"samples": [replace(one, objects=one.objects[:1]) for one in scenes(4)]}, "names 1 objects"),
    ],
)
def test_what_means_nothing_is_refused_before_the_first_pass(changes, message):
    given = {"samples": scenes(4), "directions": {"horizontal": ACROSS}, **QUIET, **changes}
    with tower_runs(reluctant()) as calls, pytest.raises(InputError, match=message):
        amplify(reluctant(), given.pop("samples"), given.pop("directions"), **given)
    assert not calls


def test_a_model_with_deepstack_is_refused_and_one_that_names_no_side_is_told_of():
    vlm = HookedVLM.from_pretrained("tiny-qwen3_vl", self_check=False)
    with pytest.raises(RefusedError, match="DeepStack"):
        amplify(vlm, scenes(4), {"horizontal": np.ones((vlm.cfg.d_model, 2))}, **QUIET)
    model, processor = build_planted("planted-relation")
    with torch.no_grad():
        word = processor.tokenizer.convert_tokens_to_ids("red")
        model.get_output_embeddings().weight[word, _PLACES["one"]] = 1.0
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    with pytest.raises(InputError, match="no reply of the untouched model is on a side of its axis, but 'red'"):
        amplify(vlm, scenes(4), {"horizontal": ACROSS}, alphas=(1,), seeds=(0,), **QUIET)


def axis_directions(vlm, samples):
    """A quick logistic probe on the mean image token of each object: which of the two lies on which side."""
    features = {"horizontal": [], "vertical": []}
    labels = {"horizontal": [], "vertical": []}
    inputs = vlm.prepare([one.image for one in samples], ["Where?"] * len(samples), prompt="paper")
    with torch.no_grad():
        tokens = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT)[1][IMAGE_POINT]
    for one, grid, own in zip(samples, inputs.grids, tokens.split([len(grid) for grid in inputs.grids]), strict=True):
        axis = "horizontal" if one.answer in ("left", "right") else "vertical"
        for place, thing in enumerate(one.objects):
            features[axis].append(own[list(grid.tokens_in([thing.box]))].mean(0))
            labels[axis].append((one.answer in ("left", "above")) == (place == 0))
    found = {}
    for axis, rows in features.items():
        given, wanted = torch.stack(rows), torch.tensor(labels[axis]).logical_not().long()
        weights = torch.zeros(given.shape[1], 2, requires_grad=True)
        bias = torch.zeros(2, requires_grad=True)
        steps = torch.optim.AdamW([weights, bias], lr=1e-2, weight_decay=1e-2)
        for _ in range(200):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(given @ weights + bias, wanted).backward()
            steps.step()
        right = ((given @ weights + bias).argmax(1) == wanted).float().mean()
        assert right > 0.9
        found[axis] = weights.detach().numpy()
    return found


@pytest.fixture(scope="module")
def on_shapes():
    """The embedded model, directions of a probe, and what they were trained on."""
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32", self_check=False)
    training = shapes(48, split="train", seed=3, kinds=("relation",))
    return vlm, axis_directions(vlm, training), [one.id for one in training]


def test_the_embedded_model_is_asked_end_to_end_and_what_came_out_is_written(on_shapes, tmp_path, capsys):
    vlm, directions, trained_on = on_shapes
    file = save_directions(tmp_path / "axes.npz", directions, trained_on)
    read, named = load_directions(file)
    assert list(named) == trained_on and all(np.array_equal(read[axis], own) for axis, own in directions.items())
    out = tmp_path / "out"
    line = f"amplify --model shapes-vlm --dataset shapes --n 24 --directions {file} --alphas 1 4 --seeds 2 --out {out}"
    assert main(line.split()) == 0
    told = capsys.readouterr().out
    assert "] net (p " in told and "the paper" in told
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n"] + summary["dropped"] == 12  # of 24, half ask about two things
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    for name in FILES["amplify"]:
        assert "*" in name or name.startswith("axis-probe") or name in written, name
    for name in ("amplify", "held_out", "chosen", "paper", "answers", "left_out"):
        table = pd.read_parquet(out / f"{name}.parquet")
        unknown = [column for column in table if column not in {*NAMES, *OWN.get(name, {})}]
        assert not unknown, (name, unknown)
        assert not table.isna().any().any()


def test_without_directions_an_axis_probe_is_trained_on_one_half_and_the_other_is_asked(tmp_path):
    line = f"amplify --model shapes-vlm --dataset shapes --n 32 --alphas 2 --seeds 1 --out {tmp_path}"
    assert main(line.split()) == 0
    directions, trained_on = load_directions(tmp_path / "directions.npz")
    assert set(directions) == {"horizontal", "vertical"} and len(trained_on) == 8
    asked = set(pd.read_parquet(tmp_path / "answers.parquet")["id"])
    assert len(asked) == 8 and not asked & set(trained_on)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    told = [name.replace(".parquet", "") for name in FILES["amplify"]]
    assert all(any(fnmatch(name, f"{one}*") for one in told) for name in written), written
    assert main(f"{line} --resume".split()) == 0


def test_files_that_hold_no_directions_and_lines_that_ask_nothing_are_refused(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("left")
    np.savez(tmp_path / "other.npz", left=np.ones(3))
    for name, message in (
        ("text.npz", "can not be read"),
        ("other.npz", "holds ['left']"),
        ("no.npz", "can not be read"),
    ):
        assert main(f"amplify --dataset shapes --directions {tmp_path / name} --out {tmp_path / 'out'}".split()) != 0
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="are named"):
        save_directions(tmp_path / "a.npz", {"across": ACROSS}, [])
    file = save_directions(tmp_path / "axes.npz", {"horizontal": ACROSS}, [])
    assert main(f"amplify --directions {file}".split()) != 0
    assert "no data set is named" in capsys.readouterr().err
    assert main(f"amplify --directions {file} --dataset shapes --seeds 0".split()) != 0
    assert "at least 1 random direction" in capsys.readouterr().err


def test_row_breaks_do_not_count_among_the_tokens_that_move_and_a_negative_alpha_moves_them_too(monkeypatch):
    monkeypatch.setattr("probes.mechanisms.amplify.answers.check_words", lambda tokenizer: None)
    vlm = HookedVLM.from_pretrained("tiny-llava_next", self_check=False)
    samples, directions = asked_of(vlm)
    work = AmplifyMeasurement.of(vlm, directions, (-2.0, 2.0), (0,), prompt="paper")
    rows = work(samples)[0]
    inputs = vlm.prepare(samples[0].image, "Where is the mug?", prompt="paper")
    tokens = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT)[1][IMAGE_POINT]
    (layout,), edit = inputs.layouts, AmplifyImageTokens(directions["horizontal"], 2.0)
    own = tokens[np.isin(layout.placeholders, layout.image_positions)]
    assert len(own) < len(tokens)
    share = ((edit._amplified(own) - own).norm(dim=-1) / own.norm(dim=-1)).mean().item()
    assert [row["moved"] for row in rows[1:3]] == pytest.approx([share, share], rel=1e-4)


def test_answers_are_judged_at_their_own_seed_and_alpha_and_items_off_their_axis_dropped():
    samples = [replace(one, answer="left", relation="left") for one in scenes(4)[:3]]
    sources = [
        ("untouched", 0.0),
        *((name, alpha) for name in ("probe", "random 0", "random 1") for alpha in (1, 2, 3)),
    ]
    right = np.random.default_rng(0).random((3, len(sources), 2)) < 0.5
    rows = [
        {"id": one.id, "source": source, "alpha": alpha, "first": words[0], "second": words[1]}
        for one, said in zip(samples, np.where(right, "left", "right"), strict=True)
        for (source, alpha), words in zip(sources, said, strict=True)
    ]
    rows[len(sources)]["second"] = "above"  # of the second item, untouched
    alphas, seeds = (1.0, 2.0, 3.0), (0, 1)
    found, kept = judge(pd.DataFrame(rows), samples, np.array(list("abc"), dtype=object), alphas, seeds)
    assert kept.tolist() == [True, False, True] and found.groups.tolist() == ["a", "c"]
    own = right[[0, 2]]
    assert np.array_equal(found.untouched, own[:, 0]) and np.array_equal(found.probe, own[:, 1:4])
    for seed, alpha in np.ndindex(2, 3):
        assert np.array_equal(found.random[:, seed, alpha], own[:, 4 + 3 * seed + alpha])
    assert read_alphas((3, 1)) == (1.0, 3.0)
