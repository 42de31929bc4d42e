"""An overlap study counts what was found, is the same however it was run, and refuses what it can not do."""

from dataclasses import replace

import numpy as np
import pytest
from overlap_studies import load, run, same
from PIL import Image, ImageFilter

from interp.datasets.reading import read_samples
from interp.errors import InputError, SpatialLensError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object
from interp.overlap.study.examine import examine_overlap
from interp.overlap.study.result import read_overlap_study
from interp.overlap.study.roles import Roles, digest, find_roles, roles_of
from interp.overlap.study.run import study_overlap
from interp.planted.llava import planted_scenes

# what is found -----------------------------------------------------------------------------------------------------


class Finder:
    """A detector that knows some colours, and is right about them."""

    name = "finder"

    def __init__(self, scenes, colors):
        self.labels = tuple(f"{color} square" for color in colors)
        self.known = {
            scene.image.tobytes(): [*(item.box for item in scene.objects), scene.meta["other"]] for scene in scenes
        }

    def detect(self, image, words=None):
        own = [box for box in self.known[image.tobytes()] if box.label in self.labels]
        return Boxes(tuple(dict.fromkeys(own)), self.name)


def test_that_samples_without_boxes_stay_and_are_counted():
    scenes = planted_scenes("planted-distractor", 30)
    colors = ("red", "green")
    study = run("planted-distractor", scenes=scenes, detector=Finder(scenes, colors))
    known = [sum(item.name.split()[0] in colors for item in scene.objects) for scene in scenes]
    assert study.samples["found"].tolist() == [("none", "some", "all")[count] for count in known]
    assert len(study) == 30 and set(known) == {0, 1, 2}
    for place, (scene, count) in enumerate(zip(scenes, known, strict=True)):
        first = scene.objects[0].name.split()[0] in colors
        assert np.isfinite(study.values("mass")[place, 3]).all() == (count == 2)  # both together need both
        assert np.isfinite(study.values("mass_shuffled")[place, 3]).all() == (count == 2)
        assert np.isfinite(study.values("mass", "first")[place, 3]).all() == first
        assert np.isfinite(study.values("mass", "first minus second")[place, 3]).all() == (count == 2)
        assert np.isfinite(study.values("peaks")[place, 3, 0]) and study.samples["text"][place] in ("left", "right")
    table = study.coverage().set_index("relation")
    assert table.loc["all", ["n", "looked_for", "all", "some", "none"]].tolist() == [
        30, 30, known.count(2), known.count(1), known.count(0)
    ]  # fmt: skip
    assert table.loc["all", "low"] < table.loc["all", "share"] < table.loc["all", "high"]
    assert table["n"].sum() == 60 and set(table.index) == {"all", "left", "right"}
    found = examine_overlap(study, measure="mass", region="first", n_draws=50)
    assert found.pooled.undefined[3, -1] == sum(not one.objects[0].name.startswith(colors) for one in scenes)


def test_that_a_false_find_of_what_is_rightly_not_there_is_no_find_and_not_measured():
    scenes = planted_scenes("planted-distractor", 12)
    color = scenes[0].objects[0].name.split()[0]
    asked = [
        replace(one, question=f"Is there a {color} square?", answer="no", options=("yes", "no"), objects=())
        for one in scenes[:4]
    ]
    unread = [replace(one, question="Is it daytime?", objects=()) for one in scenes[4:6]]
    finder = Finder(scenes, ("red", "green", "blue", "yellow"))
    study = run("planted-distractor", scenes=[*asked, *unread, *scenes[6:]], detector=finder)
    assert study.samples["found"].tolist()[:6] == ["absent"] * 4 + ["unread"] * 2
    assert not study.samples["complete"][:6].any() and (study.samples["boxes"][:4] == "{}").all()
    for region in study.regions:
        assert np.isnan(study.values("mass", region)[:6]).all()
    row = study.coverage().iloc[0]
    assert row[["n", "absent", "unread", "looked_for"]].tolist() == [12, 4, 2, 6]
    assert row["absent_with_box"] == (study.samples["n_first"][:4] > 0).sum() > 0
    assert "4 of 12 questions rightly say that something is not there" in study.describe()


def test_that_what_the_model_never_saw_is_told_and_not_measured():
    scenes = planted_scenes("planted-distractor", 6)
    image = scenes[0].image
    wide = Image.new("RGB", (3 * image.width, image.height))
    wide.paste(image, (image.width, 0))
    hidden = Box("red square", (0, 0, 20, 20))  # cropped away
    seen = Box("blue square", (image.width + 10, 10, image.width + 40, 40))
    crop = replace(scenes[0], image=wide, objects=(Object("red square", hidden), Object("blue square", seen)))
    study = run("planted-distractor", scenes=[crop, *scenes[1:]])
    assert study.samples["visible"].tolist() == [False, *[True] * 5] and study.samples["complete"].all()
    assert np.isnan(study.values("mass")[0]).all() and np.isfinite(study.values("mass")[1:, 3]).all()
    assert np.isfinite(study.values("mass", "second")[0, 3]).all()


def test_that_several_boxes_of_a_name_are_one_role_and_shared_boxes_tell_nothing_apart():
    scene = planted_scenes("planted-distractor", 8)
    red, blue = Box("red square", (0, 0, 28, 28)), Box("red square", (56, 56, 84, 84))
    both = [
        replace(one, objects=(Object("red square", red), Object("red square", blue), Object("table", red)))
        for one in scene[:4]
    ]
    alike = [replace(one, objects=(Object("mug", red), Object("cup", red))) for one in scene[4:]]
    roles = find_roles([*both, *alike], "ground-truth", progress=False)
    assert roles[0].names == ("red square", "table") and len(roles[0].first) == 2 and len(roles[0].second) == 1
    assert not roles[0].shared
    study = run("planted-distractor", scenes=[*both, *alike])
    assert study.samples["n_first"].tolist()[:4] == [2] * 4
    for place, one in enumerate(roles):
        assert study.samples["shared"][place] == one.shared
        contrast = study.values("mass", "first minus second")[place]
        assert np.isnan(contrast).all() if one.shared else np.isfinite(contrast[3]).all()


def test_that_roles_are_the_first_two_words_and_their_digest_minds_every_box():
    from interp.objects.words import Found, Match

    box = Box("cup", (0, 0, 1, 1))
    found = Found(
        tuple(Match(word, ("cup",), Boxes((box,) * n)) for word, n in (("mug", 1), ("cat", 0), ("dog", 1))), "x"
    )
    roles = roles_of(found)
    assert roles == Roles(("mug", "cat"), (box,), ()) and roles.found == "some"
    others = [
        replace(roles, names=("cup", "cat")),
        replace(roles, first=()),
        replace(roles, first=(replace(box, label="x"),)),
    ]
    assert len({digest([one]) for one in (roles, *others)}) == 4 and digest([roles]) == digest([roles_of(found)])
    assert roles_of(Found((), "x")).found == "unread"


# running and resuming ----------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def stopping(vlm, after):
    """A model that answers some batches and then fails."""
    answer, calls = vlm.generate_with_cache, iter(range(1000))

    def generate_with_cache(*args, **options):
        if next(calls) >= after:
            raise Stopped
        return answer(*args, **options)

    vlm.generate_with_cache = generate_with_cache
    return vlm


def test_that_a_resumed_study_equals_one_that_was_never_stopped_to_the_bit(tmp_path):
    scenes = planted_scenes("planted-distractor", 26)
    options = {"detector": "ground-truth", "progress": False, "batch": 4, "normalisations": ("image", "keys")}
    whole = study_overlap(load("planted-distractor"), scenes, **options, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        study_overlap(stopping(load("planted-distractor"), 3), scenes, **options, out=tmp_path / "parts")
    with pytest.raises(InputError, match="holds 12 of 26 samples"):
        read_overlap_study(tmp_path / "parts")
    assert len(read_overlap_study(tmp_path / "parts", partial=True)) == 12
    resumed = study_overlap(load("planted-distractor"), scenes, **options, out=tmp_path / "parts", resume=True)
    same(resumed, whole)
    same(read_overlap_study(tmp_path / "parts"), whole)
    same(study_overlap(load("planted-distractor"), scenes, **options), whole)


def test_that_a_folder_with_a_study_is_refused_before_anything_is_run(tmp_path):
    scenes = planted_scenes("planted-object", 6)
    run("planted-object", scenes=scenes, out=tmp_path)
    with pytest.raises(InputError, match="holds a study"):
        study_overlap(
            stopping(load("planted-object"), 0), scenes, detector="ground-truth", out=tmp_path, progress=False
        )
    for changes, said in (
        ({"draws": 9}, "draws: was 10, now 9"),
        ({"seed": 1}, "seed: was 0, now 1"),
        ({"normalisations": ("keys",)}, "normalisations"),
        ({"detector": Finder(scenes, ("red", "green", "blue", "yellow", "purple"))}, "detector: was 'ground truth'"),
    ):
        with pytest.raises(InputError, match=said):
            run("planted-object", scenes=scenes, out=tmp_path, resume=True, **changes)


def test_that_another_kind_of_study_is_not_read(tmp_path):
    from interp.study.run import run_study

    scenes = planted_scenes("planted-object", 3)
    run_study(scenes, lambda batch: [[{"x": 1}] for _ in batch], tmp_path, settings={"what": "x"}, progress=False)
    with pytest.raises(InputError, match="another kind of study"):
        read_overlap_study(tmp_path)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"normalisations": ("softmax",)}, "normalisations softmax: give each once, of image, keys"),
        ({"normalisations": ()}, "no normalisation"),
        ({"normalisations": ("image", "image")}, "give each once"),
        ({"nulls": ("even",)}, "nulls even: give each once, of shuffled, moved, centre, heads"),
        ({"draws": 0}, "draws 0"),
        ({"batch": 0}, "batch 0"),
        ({"seed": -1}, "seed -1"),
        ({"scenes": []}, "no samples"),
        ({"layers": (4,)}, r"layer \[4\] does not exist"),
        ({"layers": ()}, "layers is empty"),
        (
            {"scenes": [replace(one, objects=()) for one in planted_scenes("planted-object", 2)]},
            "no ground-truth: name",
        ),
        ({"scenes": planted_scenes("planted-object", 1)}, "only one photo has boxes"),
        ({"detector": "no-such-weights.pt"}, "no-such-weights.pt"),
    ],
)
def test_that_what_can_not_be_studied_is_refused(tmp_path, changes, said):
    with pytest.raises(SpatialLensError, match=said):
        run("planted-object", 2, out=tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


# the command -------------------------------------------------------------------------------------------------------


def command(*arguments):
    from interp.__main__ import main

    return main(["overlap", *map(str, arguments)])


@pytest.mark.slow
def test_that_the_command_reports_a_drawn_set_and_goes_on_with_it(tmp_path, capsys):
    out = tmp_path / "out"
    asked = ("--dataset", "shapes", "--n", 24, "--detector", "ground-truth", "--also", "vision", "--out", out)
    assert command(*asked) == 0
    said = capsys.readouterr()
    assert "All objects have boxes in 24 of 24 questions" in said.out and "right: " in said.out
    assert "Of these, 12 are about one object: found in 12, not found in 0." in said.out
    assert "24/24" in said.err and "sample/s" in said.err
    assert "Where the vision tower looks" in (out / "report.html").read_text(encoding="utf-8")
    before = read_overlap_study(out)
    assert command(*asked) == 2 and "holds a study" in capsys.readouterr().err
    assert command(*asked, "--resume") == 0
    same(read_overlap_study(out), before)
    assert before.settings["dataset"] == "shapes" and before.settings["remarks"] == []


@pytest.mark.slow
def test_that_the_command_reads_a_folder_of_photos_and_says_that_the_embedded_model_does_not_know_them(
    tmp_path, capsys
):
    from interp.datasets.synthetic.shapes import shapes

    lines = ["image,question,answer,options,boxes"]
    for place, sample in enumerate(shapes(6, kinds=("relation",))):
        sample.image.convert("L").filter(ImageFilter.GaussianBlur(2)).save(tmp_path / f"{place}.png")  # no scene
        boxes = ";".join(f"{item.name}={','.join(map(str, item.box.xyxy))}" for item in sample.objects)
        lines.append(f'{place}.png,"{sample.question}",{sample.answer},{"|".join(sample.options)},"{boxes}"')
    (tmp_path / "questions.csv").write_text("\n".join(lines))
    assert command("--dataset", tmp_path, "--out", tmp_path / "out", "--draws", 2) == 0
    said = capsys.readouterr().out
    assert (
        "All objects have boxes in 6 of 6 questions" in said
        and "some in 0, none in 0" in said
        and "answers and where it looks mean nothing" in said
    )


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--dataset", "no-such-thing"), "no folder of photos and no data set: name one of controlled-a"),
        (("--dataset", "shapes", "--layers", "x"), "no list of numbers"),
        (("--dataset", "shapes", "--normalisations", "image,softmax"), "normalisations image, softmax: give each once"),
        (
            ("--dataset", "shapes", "--also", "two-stage,tower"),
            "two-stage, tower: give each once, of two-stage, vision",
        ),
        (("--dataset", "shapes", "--n", "0"), "n=0"),
        (("--dataset", "shapes", "--draws", "0"), "draws 0"),
        (("--dataset", "shapes", "--folder", "x"), "leave the folder out"),
        (("--dataset", "controlled-a"), "read from files"),
        (("--dataset", "shapes", "--detector", "no-such-weights.pt"), "no-such-weights.pt"),
    ],
)
def test_that_the_command_refuses_before_a_model_is_loaded(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.setattr("interp.commands.overlap.load", lambda options: pytest.fail("a model was loaded"))
    assert command("--out", tmp_path / "out", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_that_the_command_does_not_write_among_files_of_something_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("interp.commands.overlap.load", lambda options: pytest.fail("a model was loaded"))
    (tmp_path / "summary.json").write_text("{}")
    assert command("--dataset", "shapes", "--n", "4", "--out", tmp_path) == 2
    assert "holds files that are no study's" in capsys.readouterr().err
    assert (tmp_path / "summary.json").read_text() == "{}"


def test_that_a_name_is_a_benchmark_before_it_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    assert len(read_samples("shapes", n=3)) == 3
    with pytest.raises(InputError, match=r"holds no questions\.csv"):
        read_samples("./shapes")
    with pytest.raises(InputError, match="leave them out"):
        read_samples("./shapes", folder="data")


def test_that_layers_beyond_the_model_are_refused_by_the_command(tmp_path, capsys):
    assert command("--dataset", "shapes", "--n", 4, "--layers", "99", "--out", tmp_path / "out") == 2
    assert "[99] does not exist" in capsys.readouterr().err


def test_that_a_model_that_is_not_loaded_is_refused():
    with pytest.raises(InputError, match="load it with HookedVLM"):
        study_overlap("shapes-vlm", planted_scenes("planted-object", 2), detector="ground-truth")


def test_a_record_can_not_say_again_what_the_manifest_says():
    with pytest.raises(InputError, match="record has seed, which the manifest says already"):
        study_overlap(None, [], detector="ground-truth", record={"seed": 7, "dataset": "mine"})
