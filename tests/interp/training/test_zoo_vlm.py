"""The embedded VLM answers held-out scenes as its card says; its packs ask what they should, and training resumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.datasets.synthetic.quartets import quartets
from interp.datasets.synthetic.shapes import KINDS, place, scene_rng, shapes
from interp.errors import InputError
from interp.planted.build import GRID, IMAGE_TOKENS, LATE_WORDS, PATCH, build_model, build_processor
from interp.prompt.templates import paper_prompt
from interp.training.vlm.evaluate import accuracies, answer, check_lines, encode, evaluate, held_out, write_card
from interp.training.vlm.familiarity import Familiarity
from interp.training.vlm.losses import PackReader, normalised, pack_attention
from interp.training.vlm.packs import (
    IGNORE,
    PREFIX,
    SEGMENT,
    SEGMENTS,
    caption_text,
    draw_late_packs,
    draw_packs,
    draw_patch_labels,
)
from interp.training.vlm.train import Settings, _Run, calm_image_tokens
from interp.zoo import embedded_path

FOLDER = embedded_path("shapes-vlm")


# --- the trained model


@pytest.fixture(scope="module")
def vlm():
    from interp import HookedVLM

    return HookedVLM.from_pretrained("shapes-vlm")


def test_it_reaches_its_lines_on_held_out_scenes(vlm):
    samples = held_out(240, seed=0, kinds=("relation", "photo"))
    with vlm.paused():
        right = accuracies(answer(vlm.model, vlm.processor, encode(vlm.processor, samples, batch=60)))
    assert right["relation/left+right"] >= 0.95
    assert right["photo"] >= 0.90
    assert 0.40 <= right["relation/above+below"] <= right["relation/left+right"] - 0.10


def test_it_has_the_depth_and_the_tokens_that_it_promises(vlm):
    assert vlm.cfg.n_layers >= 12 and vlm.dtype == torch.float32
    inputs = vlm.prepare(held_out(1, kinds=("relation",))[0].image, "Where is the red circle in the photo?")
    assert len(inputs.layouts[0].image_positions) == IMAGE_TOKENS == 64


def test_all_embedded_weights_together_are_small():
    weights = [*Path(embedded_path("shapes-detector")).parent.glob("*.safetensors"), *FOLDER.glob("*.safetensors")]
    assert len(weights) == 2 and sum(file.stat().st_size for file in weights) <= 16e6


def test_the_card_states_what_was_measured():
    card = (FOLDER / "README.md").read_text()
    record = json.loads((FOLDER / "training.json").read_text())
    assert "1,000 held-out scenes" in card and f"seed {record['settings']['seed']}" in card
    assert record["seconds"] <= 90 * 60


def test_the_card_is_written_from_what_was_measured(tmp_path):
    for name in ("config.json", "training.json"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes((FOLDER / "model.safetensors").read_bytes())
    table = evaluate(FOLDER, scenes=8, seed=3)
    card = write_card(tmp_path, table, scenes=8, seed=3).read_text()
    assert f"| relation | 8 | {table['relation'].accuracy.estimate:.1%} |" in card
    assert sum(("reached" in line) or ("missed" in line) for line in card.splitlines()) >= len(check_lines(table))


# --- what it is trained on


def packs(batch=6, **settings):
    return draw_packs(0, batch, seed=9, n_objects=(2, 3), **({"unfamiliar_share": 0.5} | settings))


def words_of(ids):
    return build_processor().tokenizer.convert_ids_to_tokens(ids.tolist())


def test_a_segment_supervises_the_answer_and_the_end_after_it():
    pack, text = packs(), build_processor().tokenizer
    for segment in range(1, SEGMENTS):
        ids, labels = pack.ids[0, segment], pack.labels[0, segment]
        first = int((labels != IGNORE).argmax())
        said = words_of(ids[: first + 1])
        assert said[-2:] == ["ASSISTANT", ":"]
        assert labels[first] == ids[first + 1] and labels[first + 1] == text.eos_token_id
        assert (labels[first + 2 :] == IGNORE).all()


def test_mentions_are_where_the_names_are_and_know_their_places():
    pack = packs(20)
    mentions, seen = pack.mentions, set()
    for (row, segment, token), end, order, place_, patches in zip(
        mentions.at, mentions.answer, mentions.order, mentions.place, mentions.patches, strict=True
    ):
        rng = scene_rng("train", 9, int(row))
        objects = place(rng, int(rng.choice(np.asarray((2, 3)))))
        said = words_of(pack.ids[row, segment])
        (item,) = [item for item in objects if item.shape == said[token] or item.color == said[token]]
        x, y = item.box.centre
        assert tuple(place_) == (int(2 * x // PATCH), int(2 * y // PATCH))
        assert patches[int(y // PATCH) * GRID + int(x // PATCH)] and 2 <= patches.sum() <= 16
        assert said[end] == ":" and pack.labels[row, segment, end] != IGNORE
        seen.add(int(order))
    assert seen == {0, 1}


def test_the_share_of_unfamiliar_relations_is_what_was_asked():
    def share(wanted):
        pack = packs(150, unfamiliar_share=wanted)
        tokens = build_processor().tokenizer.convert_tokens_to_ids
        counts = [(pack.labels[:, 1:] == tokens(word)).sum() for word in ("left", "right", "above", "below")]
        return sum(counts[2:]) / sum(counts[2:] + [(pack.labels[:, 1:] == tokens("left")).sum()])

    assert share(0.0) == 0 and share(0.1) < share(0.6)


def test_captions_list_objects_from_left_to_right():
    objects = place(scene_rng("train", 0, 4), 3)
    names = [part.split(" at ")[0] for part in caption_text(objects).rstrip(".").split(", ")]
    assert names == [item.name for item in sorted(objects, key=lambda item: item.box.centre[0])]


def test_a_pack_is_read_as_one_prompt_per_segment_would_be():
    """The logits of every segment equal those of the plain model on that segment alone, behind the image."""
    model, pack = build_model(seed=1, layers=3).eval(), packs(2)
    reader = PackReader(model)
    with torch.no_grad():
        with pack_attention(model):
            from interp.training.vlm.losses import _segment_mask

            states = reader._states(pack, _segment_mask(torch.from_numpy(pack.labels), blind=False))
        packed = model.lm_head(states[-1][:, PREFIX:]).unflatten(1, (SEGMENTS, SEGMENT))
        for row in range(2):
            for segment in range(SEGMENTS):
                bos, image = [model.config.text_config.bos_token_id], [model.config.image_token_index] * IMAGE_TOKENS
                ids = torch.tensor([[*bos, *image, *pack.ids[row, segment]]])
                plain = model(input_ids=ids, pixel_values=normalised(pack.pixels[row : row + 1])).logits
                torch.testing.assert_close(packed[row, segment], plain[0, PREFIX:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trains_projector", [False, True])
def test_gradients_reach_the_projector_only_where_it_is_trained(trains_projector):
    model = build_model(seed=1, layers=3)
    reader = PackReader(model, trains_projector=trains_projector)
    with pack_attention(model):
        sum(reader(packs(2)).values()).backward()
    found = [weight.grad is not None for weight in model.model.multi_modal_projector.parameters()]
    assert found == [trains_projector] * 4
    assert model.get_input_embeddings().weight.grad is not None


def test_blind_words_do_not_see_the_image_and_the_answer_does():
    model, pack = build_model(seed=1, layers=3).eval(), packs(1)
    reader, other = PackReader(model), packs(2).pixels[1:]
    from interp.training.vlm.losses import _segment_mask

    changed = type(pack)(other, pack.ids, pack.labels, pack.mentions)
    labels = torch.from_numpy(pack.labels)
    with torch.no_grad(), pack_attention(model):
        both = [reader._states(p, _segment_mask(labels, blind=True))[-1][:, PREFIX:] for p in (pack, changed)]
    moved = (both[0] - both[1]).abs().amax(-1).unflatten(1, (SEGMENTS, SEGMENT))[0] > 1e-6
    answers = (labels[0] != IGNORE).long().argmax(-1)
    assert moved[0].all()
    for segment in range(1, SEGMENTS):
        end = answers[segment]
        assert not moved[segment, :end].any() and moved[segment, end]


def test_patch_labels_name_the_object_that_the_patch_shows():
    batch = draw_patch_labels(0, 4, seed=3)
    rng = scene_rng("train", 3, 0)
    objects = place(rng, int(rng.integers(1, 5)))
    from interp.datasets.synthetic.shapes import COLORS, SHAPES

    for item in objects:
        x, y = item.box.centre
        patch = int(y // PATCH) * GRID + int(x // PATCH)
        assert list(COLORS)[batch.color[0, patch] - 1] == item.color
        assert SHAPES[batch.shape[0, patch] - 1] == item.shape


# --- the training itself


def test_calmed_image_tokens_have_no_common_direction_and_the_size_of_words():
    model, pixels = build_model(seed=0, layers=1), draw_patch_labels(0, 8, seed=0).pixels
    calm_image_tokens(model, pixels)
    with torch.no_grad():
        tokens = torch.cat(tuple(model.get_image_features(normalised(pixels)).pooler_output))
    assert tokens.mean(0).norm() < 1e-3
    assert float(tokens.norm(dim=-1).mean()) == pytest.approx(4, abs=1e-3)


def test_familiarity_is_held_in_its_band():
    familiarity = Familiarity(0.04)
    familiarity.update(0.5, 0.9)
    assert familiarity.share == 0.04  # left and right are not known yet
    familiarity.update(0.95, 0.9)
    assert familiarity.share < 0.04
    before = familiarity.share
    familiarity.update(0.95, 0.3)
    assert familiarity.share > before
    for _ in range(50):
        familiarity.update(0.95, 0.3)
    assert familiarity.share <= familiarity.most


TINY = {"layers": 6, "vision_steps": 2, "vision_batch": 4, "batch": 2, "validate_every": 1, "threads": 1}


@pytest.fixture
def few_scenes(monkeypatch):
    """A run is watched on a handful of scenes."""
    monkeypatch.setattr(
        "interp.training.vlm.train.validation_samples",
        lambda seed: [one for kind in KINDS for one in shapes(8, split="val", seed=seed, kinds=(kind,))],
    )
    monkeypatch.setattr(
        "interp.training.vlm.train.late_validation_samples", lambda seed: quartets(1, words="a", seed=seed)
    )


@pytest.mark.parametrize("stop", [(2, 0), (3, 0), (3, 1)])
def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(stop, tmp_path, monkeypatch, few_scenes):
    def run(out, stop=None):
        run = _Run(Settings(steps=3, late_steps=2, **TINY), out)
        run.see()
        if stop is not None:
            monkeypatch.setattr(run, "_step", lambda loss, step=run._step: interrupt(run, step, loss, stop))
        run.speak()
        run.relate()
        return run.model.state_dict()

    def interrupt(run, step, loss, stop):
        if (run.spoken, run.related) == stop:
            raise KeyboardInterrupt
        step(loss)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop=stop)
    resumed = run(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert len(whole["model.language_model.embed_tokens.weight"]) == len(build_processor().tokenizer)


def test_late_packs_ask_about_every_other_scene_in_the_late_words():
    pack, tokenizer = draw_late_packs(0, 8, seed=0, unfamiliar_share=0.0), build_processor().tokenizer
    late = set(tokenizer.convert_tokens_to_ids(LATE_WORDS))
    answered = [{int(token) for token in labels[labels != IGNORE]} & late for labels in pack.labels]
    options = [{int(token) for token in ids.ravel()} & late for ids in pack.ids]
    assert not any(options[0::2]) and all(len(own) == 2 for own in options[1::2])
    assert all(answered[place] <= options[place] for place in range(8)) and any(answered)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, few_scenes):
    _Run(Settings(steps=1, **TINY), tmp_path).see()
    with pytest.raises(InputError, match="other settings"):
        _Run(Settings(steps=2, **TINY), tmp_path)


def test_the_chat_template_gives_the_papers_prompt():
    text = "Where is the red circle in the photo?"
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
    assert build_processor().apply_chat_template(message, add_generation_prompt=True) == paper_prompt(text)
