"""What the probes of position cost: time over the plain model's, and memory, also over samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from bench_line import MIB, Line, pairwise, peak_bytes
from bench_models import ASKED, PATTERNS, prepared, random_llava, with_1100_tokens
from PIL import Image

from interp import HookedVLM, Patch, Prefix, ScaleHeads, VLMInputs, all_heads, slot_point
from interp.intervene.image_tokens import permute_image_tokens
from interp.maps.gradients import answer_gradient
from interp.model.features import ImageFeatures
from interp.objects.sample import Object, Sample
from probes import (
    AmplifyMeasurement,
    InterchangeMeasurement,
    Pair,
    cross_modality_balance,
    residual_norms,
    rope_sensitivity,
)
from probes.heads.activations.hearing import hear_own
from probes.position.balance_measurement import measure_attention

Probe = Callable[[HookedVLM, VLMInputs], Any]


def probe_times(model: Any, processor: Any, *, pairs: int) -> dict[str, Line]:
    """RoPE probe, slot of an interchange and z of answers against plain runs; others against the language model."""
    vlm = HookedVLM.wrap(model, processor)
    inputs = prepared(vlm)
    with torch.no_grad():
        features, given = ImageFeatures.capture(vlm, inputs), embedded(vlm, inputs)
        edit = permute_image_tokens(inputs.grids, 0)

        def rope() -> object:
            return rope_sensitivity(vlm, inputs)

        def permuted() -> object:
            return features.forward(intervention=edit, use_cache=False)

        amplified, forwards = amplification(vlm, features)

        def alone() -> None:
            for _ in range(forwards):
                model(**given, use_cache=False, logits_to_keep=1)

        values = {
            "gradient_map": pairwise(
                lambda: answer_gradient(vlm, inputs),
                lambda: model(**inputs.tensors, use_cache=False),
                vlm=vlm,
                pairs=pairs,
            ),
            "rope_probe": pairwise(rope, lambda: model(**inputs.tensors, use_cache=False), vlm=vlm, pairs=pairs),
            "last_slot": last_slot(vlm, inputs, pairs=pairs),
            "head_masks": head_masks(vlm, inputs, pairs=pairs),
            "one_permutation": pairwise(permuted, lambda: model(**given, use_cache=False), vlm=vlm, pairs=pairs),
            "amplification": pairwise(amplified, alone, vlm=vlm, pairs=pairs),
            "collect_z": collected(vlm, inputs, pairs=pairs),
        }
    return {name: Line.named(name, own) for name, own in values.items()}


def collected(vlm: HookedVLM, inputs: VLMInputs, *, tokens: int = 10, pairs: int) -> list[float]:
    """What all heads put out at the tokens of an answer, kept while it is said, against saying it."""

    def kept() -> object:
        return answered(vlm, inputs, tokens)

    def plain() -> object:
        return vlm.model.generate(**inputs.tensors, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)

    return pairwise(kept, plain, vlm=vlm, pairs=pairs)


def answered(vlm: HookedVLM, inputs: VLMInputs, tokens: int = 10) -> Any:
    """What all heads put out at the tokens of an answer, their mean [layer head d_head]."""
    return hear_own(vlm, inputs, tokens).mean(0, range(1, tokens + 1)).cpu().numpy()


def last_slot(vlm: HookedVLM, inputs: VLMInputs, *, pairs: int) -> list[float]:
    """One slot of an interchange at the last position, of a sweep over all slots on one prefix, over a forward."""
    slots = [slot_point(slot, vlm.cfg.n_layers) for slot in range(vlm.cfg.n_layers + 1)]
    other = prepared(vlm, question="Where is the dog?")
    _, cache = vlm.run_with_cache(other, names_filter=slots)
    patches = [Patch.recorded(point, cache, "last", other) for point in slots]
    prefix = Prefix(vlm, inputs)

    def sweep() -> object:
        return prefix.step(patches)

    def forward() -> object:
        return vlm.model(**inputs.tensors, use_cache=False)

    return [ratio / len(slots) for ratio in pairwise(sweep, forward, vlm=vlm, pairs=pairs)]


def head_masks(vlm: HookedVLM, inputs: VLMInputs, *, pairs: int) -> list[float]:
    """One head masked at the last position, of a sweep over every head of every layer on one prefix, over a forward."""
    masks = [ScaleHeads([head], 0) for head in all_heads(vlm.cfg)]
    prefix = Prefix(vlm, inputs)

    def sweep() -> object:
        return prefix.step(masks)

    def forward() -> object:
        return vlm.model(**inputs.tensors, use_cache=False)

    return [ratio / len(masks) for ratio in pairwise(sweep, forward, vlm=vlm, pairs=pairs)]


def sweep_times(*, pairs: int) -> dict[str, Line]:
    """A sweep over the image tokens of one pair against as many forwards; as deep as a real model, and narrower."""
    vlm = HookedVLM.wrap(*random_llava(tokens=576, device="cpu", dtype=torch.float32, layers=32, heads=8, width=512))
    return {"image_sweep": Line.named("image_sweep", image_sweep(vlm, pairs=pairs))}


def image_sweep(vlm: HookedVLM, *, pairs: int, side: int = 336) -> list[float]:
    """A strip patched at slots 0 to L - 1, from photos to probabilities, over L forwards."""
    rng, layers = np.random.default_rng(0), vlm.cfg.n_layers
    photos = [Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(2)]
    clean, other = (Sample("pair", photo, ASKED, ("left", "right"), "left") for photo in photos)
    pair = Pair(clean, other, {"clean": "left", "place": "right"}, "horizontal")
    asked = {"control": None, "slots": range(layers), "prompt": "paper"}
    work = InterchangeMeasurement.of(vlm, [pair], "outer_strip", **asked)
    inputs = prepared(vlm, side=side)

    def sweep() -> object:
        return work.measure([pair])

    def forward() -> object:
        return vlm.model(**inputs.tensors, use_cache=False)

    return [ratio / layers for ratio in pairwise(sweep, forward, vlm=vlm, pairs=pairs)]


def amplification(vlm: HookedVLM, features: ImageFeatures) -> tuple[Callable[[], object], int]:
    """Amplification of one item at one alpha along given and along random directions, and its number of forwards.

    Each further alpha and seed costs the same again: 15 alphas and 3 seeds are 45 of these forwards in each order. One
    alpha keeps a pair of runs short, so that the machine changes little in between.
    """
    things = (Object("mug"), Object("table"))
    sample = Sample("mug", features.inputs.images[0], "Where?", ("left", "right"), "left", things, "left")
    columns = np.random.default_rng(0).normal(size=(vlm.cfg.d_model, 2))
    work = AmplifyMeasurement.of(vlm, {"horizontal": columns}, (2.0,), (0,))
    return lambda: work.ask((features, features), [sample], ["left"]), 1 + 2 * 2


def embedded(vlm: HookedVLM, inputs: VLMInputs) -> dict[str, Any]:
    """What the language model is given of a batch, so that it can be run without the tower."""
    kept: dict[str, Any] = {}
    tower = vlm.model.model.language_model
    note = tower.register_forward_pre_hook(lambda module, args, given: kept.update(given), with_kwargs=True)
    try:
        vlm.model(**inputs.tensors, use_cache=False)
    finally:
        note.remove()
    return {name: kept[name] for name in ("inputs_embeds", "attention_mask")}


def probe_memory() -> dict[str, Line]:
    """Extra peak memory of each probe, 16 layers x 16 heads x 1,100 tokens, fp32, and its growth over samples."""
    vlm = HookedVLM.wrap(*random_llava(tokens=1024, device="cpu", dtype=torch.float32, width=512))
    inputs = with_1100_tokens(vlm, 0)
    with torch.no_grad():
        with vlm.paused():
            plain = peak_bytes(lambda: vlm.model(**inputs.tensors, use_cache=False), "cpu")
            answer = dict(max_new_tokens=10, min_new_tokens=10, do_sample=False)
            generate = peak_bytes(lambda: vlm.model.generate(**inputs.tensors, **answer), "cpu")
            slope = peak_bytes(lambda: forward_and_backward(vlm.model, inputs), "cpu")
        maps = peak_bytes(lambda: answer_gradient(vlm, inputs), "cpu")
        lines = {"gradient_memory": Line.named("gradient_memory", [(maps - slope) / MIB], unit="MiB")}
        for name, probe in PROBES.items():
            own = peak_bytes(lambda probe=probe: probe(vlm, inputs), "cpu")
            extra = own - (generate if name in ("shares", "collect") else plain)
            lines[f"{name}_memory"] = Line.named(f"{name}_memory", [extra / MIB], unit="MiB")
        vlm = HookedVLM.wrap(*random_llava(tokens=1024, device="cpu", dtype=torch.float32, width=256, layers=2))
        worst = max(growth(vlm, probe, with_1100_tokens) for probe in PROBES.values())
    return lines | {"probes_growth": Line.named("probes_growth", [worst / MIB], unit="MiB")}


def forward_and_backward(model: Any, inputs: VLMInputs) -> torch.Tensor:
    """The gradient of the answer's log-probability with respect to the image tokens, weights frozen, without us."""
    leaves: list[torch.Tensor] = []

    def mark(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    note = model.model.multi_modal_projector.register_forward_hook(mark)
    try:
        with torch.enable_grad():
            logits = model(**inputs.tensors, use_cache=False, logits_to_keep=1).logits[:, -1].float()
            return torch.autograd.grad(logits.log_softmax(-1).amax(), leaves)[0]
    finally:
        note.remove()


def growth(vlm: HookedVLM, probe: Probe, prepare: Callable[[HookedVLM, int], VLMInputs]) -> int:
    """Bytes by which 8 samples, asked one after the other with their results kept, need more than 2.

    Counted are the peak of live tensors, and the arrays of the results.
    """
    probe(vlm, prepare(vlm, 0))  # what a first run makes, or frees of an earlier one, is of neither
    needed = []
    for samples in (2, 8):
        results: list[Any] = []

        def ask(samples: int = samples, results: list[Any] = results) -> list[Any]:
            results.extend(probe(vlm, prepare(vlm, place)) for place in range(samples))
            return results

        needed.append(peak_bytes(ask, "cpu") + held(results))
    return needed[1] - needed[0]


def held(results: Iterable[Any]) -> int:
    """Bytes of the arrays that results hold, in tuples too."""
    own = 0
    for result in results:
        if isinstance(result, tuple):
            own += held(result)
        elif isinstance(result, np.ndarray):
            own += result.nbytes if result.base is None else held([result.base])
        elif hasattr(result, "__dataclass_fields__"):
            own += held(vars(result).values())
    return own


def _balance(vlm: HookedVLM, inputs: VLMInputs) -> object:
    _, cache = vlm.run_with_cache(inputs, names_filter=PATTERNS)
    rows = np.stack([cache["pattern", layer][0, :, 0].numpy() for layer in range(vlm.cfg.n_layers)])
    return cross_modality_balance(rows, inputs.layouts[0])


def _order(vlm: HookedVLM, inputs: VLMInputs) -> object:
    features = ImageFeatures.capture(vlm, inputs)
    output = features.forward(intervention=permute_image_tokens(inputs.grids, 0), use_cache=False)
    return output.logits[:, -1].argmax(-1).numpy()


PROBES: dict[str, Probe] = {
    "rope": lambda vlm, inputs: rope_sensitivity(vlm, inputs),
    "norms": lambda vlm, inputs: residual_norms(vlm, inputs),
    "balance": _balance,
    "shares": lambda vlm, inputs: measure_attention(vlm, inputs, 10),
    "order": _order,
    "collect": answered,
}
"""What is asked of one sample, by the name of its line."""
