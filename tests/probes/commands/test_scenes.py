"""Scenes of the commands: pairs for the model at hand, and refusals before a model is loaded."""

import argparse
import json
from dataclasses import replace

import pytest
from PIL import Image

from interp.errors import InputError, RefusedError
from probes.__main__ import build_parser, main
from probes.commands.asking import fitting
from probes.commands.scenes import add_scenes, asked_pairs


def read(tmp_path, *words):
    parser = argparse.ArgumentParser()
    add_scenes(parser, out=str(tmp_path / "out"))
    return parser.parse_args(list(words))


def test_the_embedded_model_is_asked_for_relations_of_what_it_knows(tmp_path, capsys):
    asked = asked_pairs(read(tmp_path, "--pairs", "1", "--seed", "3", "--batch", "4"))
    assert [pair.clean.relation for pair in asked.pairs] == ["left", "right", "above", "below"]
    assert asked.how["record"] == {
        "scenes": "known",
        "form": "relation",
        "kind": "reversed",
        "pairs": 1,
        "all_pairs": False,
        "described": asked.scenes,
    }
    assert (asked.how["batch"], asked.how["seed"], asked.how["resume"]) == (4, 3, False)
    said = capsys.readouterr().out
    assert "both answers are right in 4 of 4 pairs" in asked.scenes
    assert "on 8 x 8 tokens of 14 pixels" in said and "both answers are right in 4 of 4 pairs" in said


def test_all_pairs_are_kept_where_that_is_asked(tmp_path):
    asked = asked_pairs(
        read(tmp_path, "--pairs", "2", "--form", "relation", "--scenes", "squares", "--all-pairs", "--seed", "1"),
        kind="last",
    )
    assert len(asked.pairs) == 8 and asked.asked is None and asked.pairs[0].clean.meta["kind"] == "last"


def test_words_that_the_model_can_not_say_are_refused_by_name_with_what_works(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="0 of 7 words are kept; dropped: Red.*four spellings.*--form relation"):
        asked_pairs(read(tmp_path, "--scenes", "squares"))
    assert asked_pairs(read(tmp_path, "--scenes", "squares", "--form", "relation", "--pairs", "1", "--all-pairs")).pairs
    monkeypatch.setattr("probes.mechanisms.scenes.line_pairs.DIRECTIONS", ("left", "right", "sideways", "below"))
    with pytest.raises(InputError, match="four spellings") as told:
        asked_pairs(read(tmp_path, "--scenes", "squares"))
    assert "--form" not in str(told.value), "no advice that does not work"


def test_where_no_answer_is_read_no_word_has_to_be_one_token(tmp_path):
    asked = asked_pairs(read(tmp_path, "--scenes", "squares", "--pairs", "2", "--all-pairs"), says=False)
    assert len(asked.pairs) == 8 and "words are kept" not in asked.scenes
    options = build_parser().parse_args(["probe", "--scenes", "squares", "--pairs", "3", "--sites", "projector"])
    options.out, options.shuffles = str(tmp_path / "probe"), 1
    assert options.command(options) == 0


def test_pairs_of_photos_that_a_tool_can_not_patch_are_left_out_of_all_of_them(tmp_path, monkeypatch, capsys):
    known = asked_pairs(read(tmp_path, "--pairs", "1", "--all-pairs"))
    measured = []

    def check(vlm, pairs, *given):
        if pairs[0].clean.relation == "left":
            raise InputError("cup has 3 tokens and 2")

    def measure(vlm, pairs, tools, **how):
        measured.extend(pairs)
        raise InputError(str(how["record"]["not_measured"]))

    monkeypatch.setattr("probes.commands.mechanisms.asked_pairs", lambda *given, **how: replace(known, photos=True))
    monkeypatch.setattr("probes.mechanisms.dual.study.check_tokens", check)
    monkeypatch.setattr("probes.mechanisms.dual.study.dual_mechanisms", measure)
    assert main(["mechanisms", "--tools", "object,last", "--out", str(tmp_path / "out")]) == 2
    assert [pair.clean.relation for pair in measured] == ["right", "above", "below"]
    assert "1 of 4 pairs is left out, such as: cup has 3 tokens and 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tiny-smolvlm", "2 x 2 tokens are too few for 3 items"),
        ("tiny-llava_onevision", r"llava_onevision: its tokens show [\d.]+ of \d+ pixels along a side"),
    ],
)
def test_a_family_for_which_no_canvas_can_be_drawn_is_refused_by_name(name, why, tmp_path):
    with pytest.raises(RefusedError, match=why):
        asked_pairs(read(tmp_path, "--model", name))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--scenes", "cubes"], "'cubes' is no folder, and none of known"),
        (["--scenes", "objects"], "name the folder"),
        (["--scenes", "squares", "--folder", "x"], "leave it out with squares"),
        (["--scenes", "squares", "--boxes", "x"], "--boxes are those of mirrored photos"),
        (["--pairs", "0"], "--pairs 0"),
        (["--batch", "0"], "--batch 0"),
        (["--seed", "-1"], "seed"),
        (["--prompt", "raw"], "--prompt raw"),
    ],
)
def test_what_can_not_be_is_refused_before_a_model_is_loaded(tmp_path, words, why):
    with pytest.raises(InputError, match=why):
        asked_pairs(read(tmp_path, "--model", "no-such-model", *words))


def test_folders_are_known_by_what_lies_in_them(tmp_path):
    with pytest.raises(InputError, match="holds 0 pictures"):
        asked_pairs(read(tmp_path, "--model", "no-such-model", "--scenes", str(tmp_path)))
    (tmp_path / "val2017").mkdir()
    rows = []
    for number, side in enumerate(("left", "right", "above")):
        Image.new("RGB", (60, 40), (90 * number, 0, 0)).save(tmp_path / "val2017" / f"{number:012d}.jpg")
        where = side if side == "above" else f"to the {side} of"
        rows.append([number, f"A photo of a dog {where} a cat", "A photo of a dog below a cat"])
    (tmp_path / "coco_qa_two_obj.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match="make no pairs of five items"):
        asked_pairs(read(tmp_path, "--model", "no-such-model", "--scenes", str(tmp_path)), kind="last")
    with pytest.raises(InputError, match="are for relations"):
        asked_pairs(read(tmp_path, "--model", "no-such-model", "--scenes", str(tmp_path), "--form", "item"))
    asked = asked_pairs(read(tmp_path, "--scenes", str(tmp_path), "--all-pairs"))
    assert [pair.clean.answer for pair in asked.pairs] == ["left", "right"]
    assert "1 left out: answered by 'above'" in asked.scenes


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds files that are no study's"):
        asked_pairs(read(tmp_path, "--model", "no-such-model"))


def test_a_folder_that_holds_nothing_known_says_what_is_looked_for(tmp_path):
    with pytest.raises(InputError, match="coco_qa_two_obj.json"):
        asked_pairs(read(tmp_path, "--model", "no-such-model", "--scenes", str(tmp_path)))


@pytest.mark.parametrize(("command", "said"), (("ablate", "for ablate"), ("mechanisms", "for ablate and backup")))
def test_photos_are_refused_where_scenes_are_put_together_and_before_a_model_is_loaded(
    command, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("probes.commands.scenes.load", lambda options: pytest.fail("the model was loaded"))
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "val2017" / f"{1:012d}.jpg")
    captions = ["A photo of a dog to the left of a cat", "A photo of a dog to the right of a cat"]
    (tmp_path / "coco_qa_two_obj.json").write_text(json.dumps([[1, *captions]]))
    assert main([command, "--scenes", str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ("probe", "ablate", "mechanisms"))
def test_all_pairs_is_no_option_of_what_keeps_them_all(command, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--all-pairs"])
    assert build_parser().parse_args([command]).all_pairs


def test_what_can_not_be_measured_is_left_out_with_its_reason_and_refused_if_nothing_is_left(capsys):
    def check(number):
        if number > 1:
            raise InputError(f"{number} is too small")

    how = {"record": {"scenes": "folder"}}
    assert fitting([0, 1], check, "photos", how) == [0, 1] and how == {"record": {"scenes": "folder"}}
    assert fitting([0, 2, 1, 3], check, "photos", how) == [0, 1]
    told = {"left_out": 2, "what": "of 4 photos", "why": "such as: 2 is too small"}
    assert how == {"record": {"scenes": "folder", "not_measured": [told]}}
    assert capsys.readouterr().out == "2 of 4 photos are left out, such as: 2 is too small\n"
    assert fitting([0, 1], check, "photos", how) == [0, 1] and not capsys.readouterr().out
    assert fitting([0, 2], check, "probes", how) == [0]
    assert [row["what"] for row in how["record"]["not_measured"]] == ["of 4 photos", "of 2 probes"]
    with pytest.raises(InputError, match="none of 2 photos can be measured, first 5 is too small"):
        fitting([5, 6], check, "photos", how)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("interchange --slots 0 99", r"slots=\[0, 99\] of resid_pre"),
        ("interchange --positions last --hook z --slots 12", "from 0 to 11"),
        ("probe --sites blocks.99", "blocks.99"),
    ],
)
def test_what_this_model_does_not_have_is_refused_before_it_is_asked(line, why, tmp_path, monkeypatch):
    monkeypatch.setattr("probes.commands.scenes._Source.pairs", lambda *given: pytest.fail("pairs were drawn"))
    options = build_parser().parse_args([*line.split(), "--out", str(tmp_path / "out")])
    with pytest.raises(InputError, match=why):
        options.command(options)
