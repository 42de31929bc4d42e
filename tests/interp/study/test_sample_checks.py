"""What is wrong with samples is told before the first pass, of all of them at once, and can be mended without loss."""

from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import tiny
from PIL import Image

import interp.prompt.inputs
from adaptvis.benchmark import evaluate_dataset
from adaptvis.evaluation.evaluation import evaluate
from adaptvis.sweep.plan import Plan
from adaptvis.sweep.run import run_sweep
from interp.__main__ import main
from interp.datasets import read_dataset, read_folder
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError, ModelError
from interp.image.boxes import Box
from interp.image.photos import check_image, load_image
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object
from interp.overlap.study.run import study_overlap
from interp.study import sample_checks
from interp.study.keys import content_key
from interp.study.sample_checks import check_prompts, check_samples

SAMPLES = shapes(6, split="test", seed=3, kinds=("relation",))
GOOD = SAMPLES[0]
OUTSIDE = Object("mug", Box("mug", (500.0, 500.0, 600.0, 600.0)))


def cut(folder, form="JPEG"):
    """A photo whose file is not whole."""
    path = folder / f"cut.{form.lower()}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def is_text(folder):
    path = folder / "text.jpg"
    path.write_text("no photo")
    return path


WRONG = {
    "no id": (lambda folder: {"id": " "}, "has no id"),
    "no question": (lambda folder: {"question": " "}, "question is empty"),
    "a question that is no text": (lambda folder: {"question": "Where \udcff?"}, "holds broken letters"),
    "no answer": (lambda folder: {"answer": "", "options": ()}, "answer is empty"),
    "options without the answer": (lambda folder: {"answer": "north"}, "answer 'north' is none of its options left"),
    "one option twice": (lambda folder: {"options": (*GOOD.options, "Left")}, "empty or double"),
    "an empty option": (lambda folder: {"options": (*GOOD.options, "")}, "empty or double"),
    "no file": (lambda folder: {"image": folder / "none.jpg"}, "there is no file"),
    "a folder": (lambda folder: {"image": folder}, "is a folder"),
    "no photo": (lambda folder: {"image": is_text(folder)}, "no image of a format"),
    "half a JPEG": (lambda folder: {"image": cut(folder)}, "broken or cut off"),
    "half a PNG": (lambda folder: {"image": cut(folder, "PNG")}, "broken or cut off"),
    "what is no photo at all": (lambda folder: {"image": 5}, "an image was given as int"),
    "an answer that is no text": (lambda folder: {"answer": None}, "answer None is no text"),
    "options that are no texts": (lambda folder: {"options": (1, 2)}, "are no tuple of texts"),
    "options in one text": (lambda folder: {"options": "left|right"}, "are no tuple of texts"),
    "a relation that is no text": (lambda folder: {"relation": 3}, "relation 3 is no text"),
    "objects that are names": (lambda folder: {"objects": ("mug",)}, "are no tuple of Object"),
    "meta that is none": (lambda folder: {"meta": None}, "meta is a NoneType"),
    "a box outside": (lambda folder: {"objects": (OUTSIDE,)}, "lies outside the image"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_sample_that_nobody_could_be_asked_is_named(tmp_path, what):
    change, says = WRONG[what]
    check_samples(SAMPLES)
    bad = replace(SAMPLES[4], **change(tmp_path))
    with pytest.raises(InputError, match=rf"sample '{bad.id}'.*: .*{says}"):
        check_samples([*SAMPLES[:4], bad])


def test_all_bad_samples_are_told_at_once(tmp_path):
    changes = [change(tmp_path) for name, (change, _) in WRONG.items() if name != "no id"]
    bad = [replace(GOOD, **{**change, "id": f"bad-{place}"}) for place, change in enumerate(changes * 2)]
    with pytest.raises(InputError) as error:
        check_samples([*SAMPLES, *bad])
    text = str(error.value)
    assert f"{len(bad)} of {len(bad) + 6} samples can not be asked" in text and f"and {len(bad) - 20} more" in text
    assert all(f"'bad-{place}'" in text for place in range(20)) and "\n" not in text
    both = replace(GOOD, question="", answer="north")
    with pytest.raises(InputError, match="question is empty: .*; its answer 'north'"):
        check_samples([both])
    with pytest.raises(InputError, match="two samples have the id 'a': .*; 2 ids occur more than once"):
        check_samples([replace(GOOD, id=name) for name in "abab"])


@pytest.mark.parametrize(
    "bad, says", [(replace(GOOD, id=3), "id 3, which is no text"), (replace(GOOD, id=[]), "no text"), ("x", "is a str")]
)
def test_what_has_no_id_of_text_is_refused(bad, says):
    with pytest.raises(InputError, match=says):
        check_samples([*SAMPLES[1:], bad])


def test_a_photo_in_memory_is_decoded_once_while_it_does_not_change(monkeypatch):
    decoded = []
    usual = check_image
    monkeypatch.setattr("interp.study.sample_checks.check_image", lambda image: decoded.append(image) or usual(image))
    samples = [replace(sample, image=sample.image.copy(), objects=()) for sample in SAMPLES]
    check_samples(samples)
    check_samples(samples)
    assert len(decoded) == len(samples)
    samples[0].image.thumbnail((20, 20))
    check_samples(samples)
    check_samples([replace(samples[0], image=samples[0].image.copy())])
    assert len(decoded) == len(samples) + 2


def test_few_blank_photos_are_made_into_pixels_at_a_time(monkeypatch):
    counts = []
    usual = interp.prompt.inputs.prepare

    def count(model, processor, images, *given, **how):
        counts.append(len(images))
        return usual(model, processor, images, *given, **how)

    monkeypatch.setattr("interp.prompt.inputs.prepare", count)
    check_prompts(tiny.vlm(), shapes(20, kinds=("relation",)), "paper")
    assert sum(counts) == 20 and max(counts) <= 8


def test_an_evaluation_that_chooses_tries_each_prompt_and_decodes_each_photo_once(monkeypatch):
    tried, decoded = [], []
    usual, decode = sample_checks._unaskable, check_image

    def count(vlm, samples, *how):
        tried.extend(sample.id for sample in samples)
        return usual(vlm, samples, *how)

    monkeypatch.setattr("interp.study.sample_checks._unaskable", count)
    monkeypatch.setattr("interp.study.sample_checks.check_image", lambda image: decoded.append(image) or decode(image))
    asked = {"ablations": False, "max_new_tokens": 1, "progress": False, "alphas": (0.5,)}
    found = evaluate_dataset(tiny.vlm(), "shapes-a", n=24, select=True, policies=("scaling",), **asked)
    ids = [*found.test["id"].unique(), *found.validation["id"].unique()]
    assert sorted(tried) == sorted(ids) and len(decoded) == len(ids)


def test_a_file_is_decoded_once_while_it_does_not_change(tmp_path, monkeypatch):
    decoded = []
    usual = Image.open
    monkeypatch.setattr(Image, "open", lambda *given, **how: decoded.append(given) or usual(*given, **how))
    path = tmp_path / "a.png"
    GOOD.image.save(path)
    samples = [replace(sample, image=path, objects=()) for sample in SAMPLES]
    check_samples(samples)
    check_samples(samples)
    assert len(decoded) == 1
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="6 of 6 samples"):
        check_samples(samples[:-1] + [replace(samples[-1], question="")])


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3", "tiny-idefics3", "tiny-llava_next"])
@pytest.mark.parametrize("prompt", ["chat", "paper", "raw"])
def test_a_question_that_a_model_can_not_be_asked_is_named(name, prompt):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    image = vlm.processor.image_token
    asked = [replace(one, question=f"{image} {one.question}") for one in SAMPLES] if prompt == "raw" else SAMPLES
    check_prompts(vlm, asked, prompt)
    bad = [replace(asked[place], question=f"{image} {asked[place].question}") for place in (1, 4)]
    with pytest.raises(InputError, match=f"^2 of 6 samples can not be asked.*{bad[0].id}.*{bad[1].id}"):
        check_prompts(vlm, [asked[0], bad[0], *asked[2:4], bad[1], asked[5]], prompt)


def test_what_is_wrong_with_the_model_is_told_once():
    vlm = HookedVLM.from_pretrained("tiny-paligemma", self_check=False)
    for samples in (SAMPLES, SAMPLES[:1]):
        with pytest.raises(ModelError, match="^this processor has no chat template"):
            check_prompts(vlm, samples, "chat")
    llava = tiny.vlm()
    llava.processor.tokenizer.pad_token = None
    check_prompts(llava, SAMPLES[:1], "paper")
    with pytest.raises(ModelError, match="no padding token"):
        check_prompts(llava, SAMPLES, "paper")


def test_a_photo_of_a_shape_that_a_model_can_not_take_is_named():
    vlm = HookedVLM.from_pretrained("tiny-qwen2_5_vl", self_check=False)
    thin = replace(SAMPLES[2], image=Image.new("RGB", (2000, 4)), objects=())
    with pytest.raises(InputError, match=f"sample '{thin.id}'"):
        check_prompts(vlm, [*SAMPLES[:2], thin], "chat")


@pytest.mark.parametrize("template", ["{% for %}", "{{ raise_exception('no') }}", "{{ a.b.c }}", "{{ ''.__class__ }}"])
def test_a_chat_template_that_fails_is_one_line(template):
    vlm = tiny.vlm()
    vlm.processor.chat_template = template
    with pytest.raises((ModelError, InputError)) as error:  # some templates only say nothing of the image
        check_prompts(vlm, SAMPLES, "chat")
    assert "\n" not in str(error.value) and "prompt" in str(error.value)


BAD = [*SAMPLES[:5], replace(SAMPLES[5], question=f"<image> {SAMPLES[5].question}")]


@pytest.fixture
def vlm(monkeypatch):
    """A model that must not run."""
    made = tiny.vlm()

    def runs(*given, **how):
        raise AssertionError("the model ran")

    runs.__signature__ = signature(made.model.forward)  # by which is known what inputs it takes
    monkeypatch.setattr(made.model, "forward", runs)
    return made


@pytest.mark.parametrize("samples", [BAD, [*SAMPLES[:5], replace(SAMPLES[5], answer="north")]], ids=["prompt", "row"])
def test_no_batch_job_runs_the_model_before_all_samples_were_looked_at(vlm, samples, tmp_path):
    match = f"sample '{samples[-1].id}'"
    with pytest.raises(InputError, match=match):
        study_overlap(vlm, samples, detector="ground-truth", out=tmp_path / "a", progress=False)
    with pytest.raises(InputError, match=match):
        run_sweep(vlm, samples, Plan(()), out=tmp_path / "b", progress=False)
    with pytest.raises(InputError, match=match):
        evaluate(vlm, samples, out=tmp_path / "c", progress=False)
    with pytest.raises(InputError, match=match):
        other = [replace(sample, id=f"other {sample.id}") for sample in SAMPLES]
        evaluate(vlm, samples, validation=other, out=tmp_path / "d", progress=False)
    assert not list(tmp_path.iterdir())


def test_the_neutral_question_is_looked_at_too(vlm):
    with pytest.raises(InputError, match="question holds the image placeholder"):
        study_overlap(
            vlm,
            SAMPLES,
            detector="ground-truth",
            normalisations=("relative",),
            neutral_prompt="<image> Describe it.",
            progress=False,
        )


def test_samples_are_looked_at_before_a_model_is_loaded(tmp_path):
    (tmp_path / "vg_images").mkdir()
    (tmp_path / "vg_images" / "1.jpg").write_text("no photo")
    (tmp_path / "vg_qa_one_obj.json").write_text('[[1, "A cat on the left", "A cat on the right"]]')
    assert len(read_dataset("vg-one", tmp_path)) == 1
    with pytest.raises(InputError, match="sample 'vg-one-00000' .row 0.: .*no image of a format"):
        evaluate_dataset(lambda: pytest.fail("it was loaded"), "vg-one", folder=tmp_path, how="by-pair", part="all")


def own_folder(folder, bad):
    """Six questions about photos of one's own, of which one may hold an image placeholder."""
    rows = ["image,question,answer,options,boxes"]
    for place, sample in enumerate(SAMPLES):
        sample.image.save(folder / f"{place}.png")
        boxes = "; ".join(f"{one.name}={','.join(map(str, one.box.xyxy))}" for one in sample.objects)
        question = f"{'<image> ' if bad and place == 3 else ''}{sample.question}"
        rows.append(f'{place}.png,"{question}",{sample.answer},{"|".join(sample.options)},"{boxes}"')
    (folder / "questions.csv").write_text("\n".join(rows))


def test_a_row_that_was_corrected_costs_nothing_and_runs(tmp_path, capsys):
    folder, out = tmp_path / "own", tmp_path / "out"
    folder.mkdir()
    own_folder(folder, bad=True)
    flags = ["overlap", "--dataset", str(folder), "--out", str(out), "--draws", "1", "--max-new-tokens", "1"]
    assert main(flags) == 2
    assert "sample 'own-0004' (row 4): the question holds the image placeholder" in capsys.readouterr().err
    assert not (out / "manifest.json").exists()
    own_folder(folder, bad=False)
    study = study_overlap(
        tiny.vlm(),
        read_folder(folder),
        detector="ground-truth",
        out=out,
        resume=True,
        draws=1,
        progress=False,
    )
    assert len(study) == 6


def test_a_photo_under_the_home_folder_is_checked_keyed_and_asked_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    photo = load_image(GOOD.image)
    photo.save(tmp_path / "mug.png")
    photo.save(tmp_path / "~mug.png")  # no home of a user, but a file
    for name in ("~/mug.png", "~mug.png"):
        sample = replace(GOOD, image=name)
        check_samples([sample])
        assert content_key(sample) == content_key(replace(GOOD, image=tmp_path / name.replace("~/", "")))
        assert load_image(name).tobytes() == photo.tobytes()


@pytest.mark.parametrize("name", ["~nobody_of_that_name/mug.png", "mug\0.png", "~" + "a" * 300])
def test_a_photo_under_no_possible_name_is_refused_by_each_who_reads_it(name):
    for use in (check_image, load_image, lambda own: content_key(replace(GOOD, image=own))):
        with pytest.raises(InputError, match="there is no file|can not be read|no image that can be read|No such file"):
            use(name)
