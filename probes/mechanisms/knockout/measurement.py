"""Knock-outs of one batch: what an answer's probability is when edges between named parts of the prompt are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.numeric import listed
from interp.stats.draws import own_draws
from probes.mechanisms.knockout.arms import ARMS, CONTROLS, OBJECT, RANDOM_IMAGE, RANDOM_TEXT
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.intervene.base import Intervention
    from interp.intervene.knockout import Knockout
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

NO_WINDOW = "none"
"""The window of the model with no edge cut."""

TOGETHER = 8
"""Cuts of the last row that share a step: their logits over the whole vocabulary are held at once."""


@dataclass(frozen=True)
class KnockoutMeasurement:
    """What is measured of one batch: the probability of the right answer, whole and under each cut.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each arm, with arrays over windows.

    Example:
        >>> work = KnockoutMeasurement.of(vlm, arms=("image->last",))
        >>> work(samples)[0][0]["cut"]  # the probability of its answer, window by window
    """

    vlm: HookedVLM
    arms: tuple[str, ...]
    windows: Mapping[str, tuple[int, ...]]
    prompt: str
    seed: int

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        windows: Mapping[str, Iterable[int]] | int | None = None,
        *,
        arms: Iterable[str] = ARMS,
        prompt: str = "chat",
        seed: int = 0,
    ) -> KnockoutMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
        """
        from interp.stats.draws import check_seed

        check_model(vlm)
        check_seed(seed)
        asked = listed(arms, "arms")
        if not asked or len(set(asked)) < len(asked) or set(asked) - set(ARMS):
            raise InputError(f"arms={asked}: name each once, of {', '.join(ARMS)}")
        own = [[arm, *CONTROLS.get(arm, ())] for arm in asked]
        return cls(vlm, tuple(sum(own, [])), read_windows(vlm.cfg.n_layers, windows), prompt, int(seed))

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        windows = {name: list(own) for name, own in self.windows.items()}
        return {"arms": list(self.arms), "windows": windows, "prompt": self.prompt, "control_seed": self.seed}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be measured, before the first pass.

        Raises:
            InputError: a sample that can not be asked, an answer that is no single token, objects without boxes where
                they are cut, or a prompt without text behind the image.
        """
        from interp.study.prompter import prepare_samples

        check_asked(self.vlm, samples, self.prompt, progress=progress)
        for sample in samples:
            try:
                self._answer_ids(sample)
            except InputError as error:
                raise InputError(f"sample {sample.id!r}: {error}") from error
            self.check_objects(sample)
        inputs = prepare_samples(self.vlm, samples[:1], self.prompt)
        for edits in self._cuts(inputs, samples[:1]).values():
            for edit in edits:
                edit.hooks(self.vlm.cfg, inputs.layouts)

    def check_objects(self, sample: Sample) -> None:
        """Refuse a sample whose objects' tokens can not be cut off, where an arm does that.

        Raises:
            InputError: no boxes, none that holds an image token, or one that holds all.
        """
        if OBJECT not in self.arms:
            return
        try:
            _drawn(sample, self.vlm.grid_of(sample.image), self.seed)
        except InputError as error:
            raise InputError(f"sample {sample.id!r}: {error}") from error

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch: `arm`, `tokens`, `probability`, `right`, and arrays over windows."""
        from interp.study.prompter import prepare_samples

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        ids = [self._answer_ids(sample) for sample in samples]
        cuts = self._cuts(inputs, samples)
        found: dict[str, list[list[tuple[float, bool]]]] = {}
        photos: list[ImageFeatures] = []  # what the passes leave of the batch's photos, for the prefill
        for runs, chosen in ((self._passes, _earlier), (self._steps, _last_alone)):
            own = [arm for arm in cuts if chosen(arm)]
            if own:
                told = [
                    _tell(logits, ids) for logits in runs(inputs, [edit for arm in own for edit in cuts[arm]], photos)
                ]
                for place, arm in enumerate(own):
                    start = 1 + place * len(self.windows)
                    found[arm] = [told[0], *told[start : start + len(self.windows)]]
        counts = {arm: self._counts(inputs, samples, arm) for arm in cuts}
        return [
            [_row(arm, counts[arm][place], [told[place] for told in found[arm]]) for arm in cuts]
            for place in range(len(samples))
        ]

    def _answer_ids(self, sample: Sample) -> tuple[int, ...]:
        from probes.mechanisms.scenes.vocabulary import spelled_ids

        return spelled_ids(self.vlm, sample.answer)

    def _cuts(self, inputs: VLMInputs, samples: Sequence[Sample]) -> dict[str, list[Intervention]]:
        """For each arm, the cut in each window."""
        from interp.intervene.base import PerSample

        found: dict[str, list[Intervention]] = {}
        for arm in self.arms:
            each = zip(samples, inputs.grids, inputs.layouts, strict=True)
            keys = [_keys(arm, sample, grid, layout, self.seed) for sample, grid, layout in each]
            found[arm] = [PerSample(tuple(_cut(arm, own, layers) for own in keys)) for layers in self.windows.values()]
        return found

    def _counts(self, inputs: VLMInputs, samples: Sequence[Sample], arm: str) -> list[int]:
        """How many keys are cut of each sample."""
        each = zip(samples, inputs.grids, inputs.layouts, strict=True)
        chosen = [(_keys(arm, sample, grid, layout, self.seed), layout) for sample, grid, layout in each]
        kinds = {"image": lambda layout: len(layout.image_positions), "text": lambda layout: len(_text(layout))}
        return [len(keys) if not isinstance(keys, str) else kinds[keys](layout) for keys, layout in chosen]

    def _passes(
        self, inputs: VLMInputs, edits: Sequence[Intervention], photos: list[ImageFeatures]
    ) -> Iterator[Tensor]:
        """Logits of the last row [batch vocab], untouched and under each edit: a pass each, the tower run once.

        With DeepStack it runs each time, as the model is given more of the photo than is kept.
        """
        import torch

        from interp.model.features import ImageFeatures

        def run(**under: Any) -> Any:
            return self.vlm.run_with_hooks(inputs, logits_to_keep=1, **under)

        with torch.no_grad():
            if self.vlm.cfg.n_deepstack:
                every: Iterator[Any] = (run(intervention=edit) for edit in (None, *edits))
            else:
                output, features = ImageFeatures.captured(self.vlm, inputs, run)
                photos.append(features)
                under = (features.forward(intervention=edit, logits_to_keep=1) for edit in edits)
                every = chain([output], under)
            for each in every:
                yield each.logits[:, -1].float()

    def _steps(self, inputs: VLMInputs, edits: Sequence[Intervention], photos: list[ImageFeatures]) -> Iterator[Tensor]:
        """The same under edits of the last row alone, from one prefill."""
        from interp.intervene.base import Untouched
        from interp.model.prefix import Prefix, share_prefill

        if photos and "prefix" not in self.vlm.family.refusals:
            shared: Any = Prefix(self.vlm, inputs, features=photos[0])
        else:
            shared = share_prefill(self.vlm, inputs)
        every = [Untouched(), *edits]
        for start in range(0, len(every), TOGETHER):
            yield from shared.step(every[start : start + TOGETHER]).logits


def read_windows(n_layers: int, windows: Mapping[str, Iterable[int]] | int | None) -> dict[str, tuple[int, ...]]:
    """Windows of layers by name: those given, all of a width, or the named ones; see `layer_windows`.

    Raises:
        InputError: there is none, or one has layers that the model does not have.
    """
    from interp.intervene.indices import check_indices, read_indices
    from interp.layers import layer_windows

    if not isinstance(windows, Mapping):
        return layer_windows(n_layers, windows)
    if not windows:
        raise InputError("windows is empty, so nothing would be cut: name some, or leave it out")
    found = {}
    for name, layers in windows.items():
        if not isinstance(name, str) or not name.strip() or name == NO_WINDOW:
            raise InputError(f"{name!r:.40} can not name a window: give a text other than {NO_WINDOW!r}")
        own = read_indices(layers, f"the layers of window {name!r}")
        found[name] = check_indices(own, n_layers, f"window {name!r}: layer")
    return found


def _last_alone(arm: str) -> bool:
    return arm.endswith("->last")


def _earlier(arm: str) -> bool:
    return not _last_alone(arm)


def _keys(arm: str, sample: Sample, grid: ImageGrid, layout: TokenLayout, seed: int) -> str | tuple[int, ...]:
    """What an arm cuts off: a word of `Knockout.keys`, numbers of image tokens, or positions in the text."""
    if arm in (OBJECT, RANDOM_IMAGE):
        return _drawn(sample, grid, seed)[arm == RANDOM_IMAGE]
    if arm == RANDOM_TEXT:
        several = _text(layout)
        count = min(len(_drawn(sample, grid, seed)[0]), len(several))
        behind = _rng(sample, seed, arm).choice(several, count, replace=False) - len(layout)
        return tuple(sorted(behind.tolist()))  # counted from the end, as padding moves the rest
    return arm.split("->")[0]


def _drawn(sample: Sample, grid: ImageGrid, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The image tokens of the objects, and as many others at random; fewer where there are not so many."""
    boxes = [thing.box for thing in sample.objects if thing.box is not None]
    if not boxes:
        raise InputError(f"no object has a box, and {OBJECT} needs one: give boxes, or leave this arm out")
    own = grid.tokens_in(boxes)
    others = np.setdiff1d(np.arange(len(grid)), own)
    if not len(others):
        raise InputError(f"its objects cover the whole photo, which leaves no other image token for {RANDOM_IMAGE}")
    count = min(len(own), len(others))
    return own, tuple(sorted(_rng(sample, seed, RANDOM_IMAGE).choice(others, count, replace=False).tolist()))


def _rng(sample: Sample, seed: int, what: str) -> np.random.Generator:
    """The draws of one control for one sample."""
    return own_draws(seed, f"{what}\0{sample.id}")


def _text(layout: TokenLayout) -> np.ndarray:
    return layout.after_image[:-1]


def _cut(arm: str, keys: str | tuple[int, ...], layers: tuple[int, ...]) -> Knockout:
    from interp.intervene.knockout import Knockout

    rows = arm.split("->")[1]
    if arm in (OBJECT, RANDOM_IMAGE):
        return Knockout("image", rows=rows, layers=layers, image_tokens=keys)  # type: ignore[arg-type]
    return Knockout(keys, rows=rows, layers=layers)


def _tell(logits: Tensor, ids: Sequence[tuple[int, ...]]) -> list[tuple[float, bool]]:
    """The probability of each sample's answer, its spellings summed, and whether one of them is the likeliest token."""
    chances = logits.double().softmax(-1)
    first = logits.argmax(-1).tolist()
    return [(float(own[list(words)].sum()), top in words) for own, words, top in zip(chances, ids, first, strict=True)]


def _row(arm: str, tokens: int, told: list[tuple[float, bool]]) -> dict[str, Any]:
    (probability, right), *under = told
    return {
        "arm": arm,
        "tokens": tokens,
        "probability": probability,
        "right": right,
        "cut": np.array([each for each, _ in under], dtype=np.float32),
        "right_cut": np.array([each for _, each in under], dtype=np.float32),
    }
