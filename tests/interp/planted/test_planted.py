"""What was planted is found, in its layer and head and with its sign, and nothing is found in the null model."""

import numpy as np
import pytest
import torch

from adaptvis.policy.answering import answer_batch
from adaptvis.policy.policies import AdaptVis, Baseline, ScalingVis
from interp.errors import ModelError
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.layers import paper_layers
from interp.maps.trajectory import trajectory
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix
from interp.overlap.overlap import overlap
from interp.planted import llava as planted
from interp.planted.build import GRID
from interp.planted.llava import _PLACES, COLORS, GAIN, PLANTED, build_planted, planted_scenes
from interp.stats.auroc import auroc
from interp.stats.intervals import bootstrap
from interp.stats.tests import shuffled_null
from probes.position.balance import cross_modality_balance

HEADS = [(layer, head) for layer in range(planted.N_LAYERS) for head in range(planted.N_HEADS)]
SCENES = 48


def load(name, **options):
    return HookedVLM.wrap(*build_planted(name, **options), self_check=False)  # heads that do nothing would fail it


class Run:
    """A planted model on its scenes: last-row attention of every head, and whether each answer was right."""

    def __init__(self, name, count=SCENES, seed=0, **options):
        self.vlm, self.scenes = load(name, **options), planted_scenes(name, count, seed=seed)
        self.inputs = self.vlm.prepare(
            [scene.image for scene in self.scenes], [scene.question for scene in self.scenes], prompt="paper"
        )
        self.logits, pattern = last_rows(self.vlm, self.inputs)
        self.right_over_left = word_logit(self.vlm, self.logits, "right") - word_logit(self.vlm, self.logits, "left")
        said = np.where(self.right_over_left > 0, "right", "left")
        self.correct = said == [scene.answer for scene in self.scenes]
        self.measured = [
            trajectory(rows, layout, grid)
            for rows, layout, grid in zip(pattern, self.inputs.layouts, self.inputs.grids, strict=True)
        ]

    def overlaps(self, box_of, measure):
        """A measure of every head, against one box of each scene: [scene layer head]."""
        return np.stack(
            [
                overlap(measured, grid, [box_of(scene)]).values(measure)[:, : planted.N_HEADS]
                for measured, grid, scene in zip(self.measured, self.inputs.grids, self.scenes, strict=True)
            ]
        )


def last_rows(vlm, inputs, intervention=None):
    """Last-row logits [sample vocab] and attention [sample layer head key]."""
    hooks = (intervention or Untouched()).hooks(vlm.cfg, inputs.layouts)
    with torch.no_grad():
        output, cache = vlm.run_with_cache(
            inputs, names_filter=lambda name: name.startswith("blocks") and "hook_pattern" in name, fwd_hooks=hooks
        )
    rows = torch.stack([cache["pattern", layer][:, :, 0] for layer in range(vlm.cfg.n_layers)], 1)
    return output.logits[:, -1], rows.numpy()


def word_logit(vlm, logits, word):
    return logits[:, vlm.processor.tokenizer.convert_tokens_to_ids(word)].numpy()


def asked(scene):
    return scene.objects[0].box


@pytest.fixture(scope="module")
def runs():
    return {name: Run(name) for name in PLANTED}


def test_the_models_answer_as_their_mechanism_says(runs):
    assert runs["planted-object"].correct.all() and runs["planted-relation"].correct.all()
    reads_asked = np.array([scene.meta["reads_asked"] for scene in runs["planted-distractor"].scenes])
    assert (runs["planted-distractor"].correct == reads_asked).all() and 0.3 < reads_asked.mean() < 0.7
    assert 0.3 < runs["planted-null"].correct.mean() < 0.7


def test_generated_answers_are_one_of_the_two_words_and_end(runs):
    run = runs["planted-object"]
    answers = run.vlm.generate(run.inputs, 4)
    assert answers.texts == tuple(scene.answer for scene in run.scenes)
    assert set(answers.lengths) == {2}


def test_an_unknown_name_is_refused():
    with pytest.raises(ModelError, match="planted-object"):
        build_planted("planted-nothing")


# trajectory -----------------------------------------------------------------------------------------------------


def test_the_trajectory_finds_the_head_that_looks_at_bos_only(runs):
    for measured in runs["planted-object"].measured:
        on_bos = measured.share("bos")
        assert on_bos[planted.BOS_HEAD] == pytest.approx(1.0)
        others = [on_bos[head] for head in HEADS if head not in (planted.BOS_HEAD, planted.MARK_HEAD)]
        assert max(others) < 0.02


def test_the_trajectory_finds_the_sink_and_only_there(runs):
    row, col = planted.SINK
    for measured in runs["planted-object"].measured[:8]:
        weights = measured.image_map(layer=planted.SINK_HEAD[0], head=planted.SINK_HEAD[1])
        assert weights[row * GRID + col] == pytest.approx(1.0)
        idle = measured.image_map(layer=3, head=0)
        assert idle == pytest.approx(np.full(GRID * GRID, 1 / GRID**2))


def test_heads_that_do_nothing_look_evenly_at_every_part(runs):
    measured = runs["planted-object"].measured[0]
    for part in ("bos", "image", "question", "template"):
        assert measured.share(part)[3] == pytest.approx(np.full(4, measured.token_share(part)), abs=1e-6)


# overlap --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["mass", "cosine", "lift", "hit"])
def test_overlap_singles_out_the_head_that_looks_at_the_object(runs, measure):
    scores = runs["planted-object"].overlaps(asked, measure)
    best = np.unravel_index(np.nanargmax(scores.mean(0)), scores.shape[1:])
    assert best == planted.OBJECT_HEAD
    assert planted.OBJECT_HEAD[0] in paper_layers(planted.N_LAYERS)
    found = scores[:, *planted.OBJECT_HEAD]
    assert found == pytest.approx(np.full(SCENES, 16.0 if measure == "lift" else 1.0), rel=1e-2)
    others = np.array([scores[:, *head].mean() for head in HEADS if head != planted.OBJECT_HEAD])
    assert np.nanmax(others) < (1.01 if measure == "lift" else 0.3)


def test_overlap_follows_the_head_to_the_distractor(runs):
    run = runs["planted-distractor"]
    on_asked = run.overlaps(asked, "mass")[:, *planted.OBJECT_HEAD]
    on_other = run.overlaps(lambda scene: scene.meta["other"], "mass")[:, *planted.OBJECT_HEAD]
    assert on_asked == pytest.approx(run.correct.astype(float), abs=1e-3)
    assert on_other == pytest.approx(1.0 - run.correct, abs=1e-3)


def test_overlap_predicts_right_answers_in_the_planted_head_and_nowhere_else(runs):
    run = runs["planted-distractor"]
    scores = run.overlaps(asked, "mass").round(6)
    for head in HEADS:
        own = np.nan_to_num(scores[:, *head])
        assert auroc(own, run.correct) == (1.0 if head == planted.OBJECT_HEAD else 0.5), head


def test_in_the_null_model_overlap_predicts_nothing_at_the_stated_rate():
    """Over many draws of scenes, p-values are uniform and intervals cover one half; attention is blind to scenes."""
    run = Run("planted-null", count=40 * 60, seed=5)
    head = (3, 1)
    own = run.overlaps(asked, "mass")[:, *head].reshape(60, 40)
    correct = run.correct.reshape(60, 40)
    sets = list(zip(own, correct, strict=True))
    nulls = [shuffled_null(scores, labels, seed=i, n=199) for i, (scores, labels) in enumerate(sets)]
    p = np.sort([null.p_value for null in nulls])
    furthest = np.abs(p - (np.arange(60) + 0.5) / 60).max()
    assert furthest < 1.36 / 60**0.5 + 0.01  # Kolmogorov-Smirnov at 5 %
    drawn = [
        bootstrap(np.column_stack(one), lambda part: auroc(part[:, 0], part[:, 1].astype(bool)), seed=0, n=300)
        for one in sets
    ]
    covered = [interval.low <= 0.5 <= interval.high for interval in drawn]
    assert np.mean(covered) > 0.85


def test_in_the_null_model_neither_attention_nor_answer_depends_on_the_image(runs):
    run = runs["planted-null"]
    other = run.vlm.prepare(
        [scene.image for scene in run.scenes[::-1]], [scene.question for scene in run.scenes], prompt="paper"
    )
    swapped, pattern = last_rows(run.vlm, other)
    assert torch.allclose(swapped, run.logits, atol=1e-4)
    assert np.allclose(pattern, last_rows(run.vlm, run.inputs)[1], atol=1e-4)


# directions and paths -------------------------------------------------------------------------------------------


def test_projected_image_tokens_carry_how_far_right_they_lie_and_the_null_model_s_do_not(runs):
    cols = np.tile(np.arange(GRID) - (GRID - 1) / 2, GRID)
    for name, tight in (("planted-object", True), ("planted-null", False)):
        run = runs[name]
        with torch.no_grad():
            _, cache = run.vlm.run_with_cache(run.inputs, names_filter="projector.hook_out")
        across = cache["projector.hook_out"].view(SCENES, GRID * GRID, -1)[..., _PLACES["across"]].numpy()
        fit = np.corrcoef(across[0], cols)[0, 1]
        assert (fit > 0.999) if tight else (abs(fit) < 0.3)


def hide_image(rows_of):
    """A hook function that hides the image from some rows: `rows_of(layout)`."""

    def hook_function(scores, *, hook, layouts):
        for sample, layout in enumerate(layouts):
            rows = rows_of(layout)
            scores[sample, :, rows, layout.image_positions[0] : layout.image_positions[-1] + 1] = -1e9
        return scores

    return hook_function


def test_the_relation_passes_from_image_to_words_to_last_row_and_by_no_other_path(runs):
    run = runs["planted-relation"]
    layouts = run.inputs.layouts
    names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in range(planted.N_LAYERS)]

    def right_over_left(rows_of):
        hide = hide_image(rows_of)
        hook = lambda scores, hook: hide(scores, hook=hook, layouts=layouts)  # noqa: E731
        with torch.no_grad():
            logits = run.vlm.run_with_hooks(run.inputs, fwd_hooks=[(names, hook)], query_rows="all").logits[:, -1]
        return word_logit(run.vlm, logits, "right") - word_logit(run.vlm, logits, "left")

    from_last = right_over_left(lambda layout: [layout.last])
    assert from_last == pytest.approx(run.right_over_left, abs=1e-3)
    words = set(COLORS)
    from_words = right_over_left(lambda layout: [i for i, token in enumerate(layout.tokens) if token in words])
    assert from_words == pytest.approx(np.zeros(SCENES), abs=1e-3)


def test_balance_is_one_where_the_image_is_read_and_zero_where_words_are(runs):
    run = runs["planted-object"]
    _, pattern = last_rows(run.vlm, run.inputs)
    for rows, layout in zip(pattern[:8], run.inputs.layouts, strict=False):
        values = cross_modality_balance(rows, layout).values
        assert values[planted.OBJECT_HEAD] == pytest.approx(1.0) and values[planted.SINK_HEAD] == pytest.approx(1.0)
        assert values[planted.FETCH_HEAD] == pytest.approx(0.0, abs=1e-6)


# interventions --------------------------------------------------------------------------------------------------

STRENGTH = 0.8
"""Of the head that looks at the object: soft, so that weight is left for its rivals."""


def by_algebra(scene, layout, alpha):
    """How far "right" stands above "left" when the planted head's image logits are multiplied by `alpha`.

    Three colour channels that agree give 3 x strength, BOS 2 x strength, everything else what agrees of its colour.
    """
    pixels = np.asarray(scene.image)[7::14, 7::14].reshape(-1, 3).astype(float)
    colour = np.where(pixels == 128, 0.0, np.sign(pixels - 128))
    wanted = np.array(COLORS[scene.question.split(" the ")[1].split()[0]])
    image = alpha * STRENGTH * colour @ wanted
    others = np.zeros(sum(kind != "pad" for kind in layout.kinds) - 1 - len(image))
    weights = np.exp(np.concatenate([image, [2 * STRENGTH], others]))
    across = np.tile((np.arange(GRID) - (GRID - 1) / 2) / ((GRID - 1) / 2), GRID)
    return 2 * GAIN * (weights[: len(image)] / weights.sum()) @ across


@pytest.fixture(scope="module")
def soft():
    return Run("planted-object", strength=STRENGTH)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.5, 4.0, -1.0])
def test_scaling_the_planted_head_moves_the_answer_as_the_algebra_says(soft, alpha):
    layer, head = planted.OBJECT_HEAD
    logits, _ = last_rows(soft.vlm, soft.inputs, ScaleImageLogits(alpha, layers=(layer,), heads=(head,)))
    moved = word_logit(soft.vlm, logits, "right") - word_logit(soft.vlm, logits, "left")
    wanted = [by_algebra(scene, layout, alpha) for scene, layout in zip(soft.scenes, soft.inputs.layouts, strict=True)]
    assert moved == pytest.approx(wanted, abs=5e-3)
    assert np.abs(wanted).max() > 0.1 or alpha <= 0


def test_scaling_heads_that_do_nothing_moves_nothing(soft):
    idle = [(3, 0), (2, 0), (0, 3)]
    for layer, head in idle:
        logits, _ = last_rows(soft.vlm, soft.inputs, ScaleImageLogits(4.0, layers=(layer,), heads=(head,)))
        assert torch.allclose(logits, soft.logits, atol=1e-4)


def test_scaling_moves_nothing_in_the_null_model(runs):
    run = runs["planted-null"]
    logits, pattern = last_rows(run.vlm, run.inputs, ScaleImageLogits(2.0))
    assert torch.allclose(logits, run.logits, atol=1e-4)
    assert not np.allclose(pattern, last_rows(run.vlm, run.inputs)[1], atol=0.05)  # though attention did move


def test_scalingvis_in_all_heads_is_the_algebra_of_the_one_that_writes(soft):
    answers = answer_batch(soft.vlm, soft.inputs, ScalingVis(1.5), max_new_tokens=2)
    wanted = [by_algebra(scene, layout, 1.5) for scene, layout in zip(soft.scenes, soft.inputs.layouts, strict=True)]
    assert [one.text for one in answers] == ["right" if value > 0 else "left" for value in wanted]


def test_adaptvis_takes_the_branch_that_the_algebra_of_confidence_says(soft):
    pairs = list(zip(soft.scenes, soft.inputs.layouts, strict=True))
    confidence = np.array([1 / (1 + np.exp(-abs(by_algebra(*pair, 1.0)))) for pair in pairs])
    threshold = float(np.sort(confidence)[len(confidence) // 2 - 1 : len(confidence) // 2 + 1].mean())
    policy = AdaptVis(alpha_unsure=-1.0, alpha_sure=1.5, threshold=threshold)
    answers = answer_batch(soft.vlm, soft.inputs, policy, max_new_tokens=2)
    untouched = answer_batch(soft.vlm, soft.inputs, Baseline(), max_new_tokens=2)
    assert [one.confidence for one in untouched] == pytest.approx(confidence, abs=2e-3)
    alphas = np.where(confidence < threshold, -1.0, 1.5)
    wanted = ["right" if by_algebra(*pair, alpha) > 0 else "left" for pair, alpha in zip(pairs, alphas, strict=True)]
    assert [one.text for one in answers] == wanted
    assert wanted != [one.text for one in untouched]


def test_a_prefix_gives_the_same_algebra(soft):
    alphas = (0.5, 1.5, 4.0)
    layer, head = planted.OBJECT_HEAD
    step = Prefix(soft.vlm, soft.inputs).step([ScaleImageLogits(a, layers=(layer,), heads=(head,)) for a in alphas])
    for place, alpha in enumerate(alphas):
        logits = step.logits[place]
        moved = word_logit(soft.vlm, logits, "right") - word_logit(soft.vlm, logits, "left")
        pairs = zip(soft.scenes, soft.inputs.layouts, strict=True)
        assert moved == pytest.approx([by_algebra(*pair, alpha) for pair in pairs], abs=5e-3)
