"""Doses: one batch asked with its image tokens made longer and shorter, in order and permuted, the tower run once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from interp.errors import InputError
from interp.reprs import fits_a_cell
from probes.position.order_answers import ORIGINAL, OrderMeasurement
from probes.study.finite import refuse_unsaid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.intervene.base import Intervention
    from interp.intervene.image_tokens import ScaleImageNorms
    from interp.model.features import ImageFeatures
    from interp.model.generation import Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from probes.position.order_answers import OrderAnswers

KINDS = ("scale", "clip", "target")
"""Kinds of doses, as `ScaleImageNorms` has them."""

STATES = ("median_norm", "image_mass", "abs_delta_g_v", "delta_alpha_v")
"""What a dose does to the image tokens and to the attention on them; see `DoseAnswers`."""


@dataclass(frozen=True, order=True)
class Dose:
    """How long image tokens are made: a setting of `ScaleImageNorms`.

    Attributes:
        kind: one of `KINDS`.
        value: the factor, or the length.

    Raises:
        InputError: a value that is no finite number above 0, which has no place on a logarithmic axis.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        """Refuse what is no dose."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise InputError(f"a dose of {self.kind} is {value!r}: give a finite number above 0, such as 0.5")
        object.__setattr__(self, "value", float(value))

    @property
    def edit(self) -> ScaleImageNorms:
        """What makes image tokens so long."""
        from interp.intervene.image_tokens import ScaleImageNorms

        return ScaleImageNorms(**{self.kind: self.value})

    def __str__(self) -> str:
        """Name it, for records and messages."""
        return f"{self.kind} {self.value:g}"


UNTOUCHED = Dose("scale", 1.0)
"""The dose that changes nothing, which all others are compared with."""


def read_doses(scales: Iterable[float], clips: Iterable[float], target_norms: Iterable[float]) -> tuple[Dose, ...]:
    """All doses, by kind and in order, and among them scale 1, the untouched model, whether it is given or not.

    Raises:
        InputError: there is none besides it, one means nothing, or one is given twice.
    """
    given: list[Dose] = []
    for kind, name, values in zip(
        KINDS, ("scales", "clips", "target_norms"), (scales, clips, target_norms), strict=True
    ):
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InputError(f"{name}={values!r:.60} is no list: give several numbers, such as (0.5, 2)")
        given += [Dose(kind, value) for value in values]
    twice = sorted({dose for dose in given if given.count(dose) > 1})
    if twice:
        raise InputError(f"{', '.join(map(str, twice))} is given twice: give each dose once")
    if not set(given) - {UNTOUCHED}:
        raise InputError("no dose is given besides the untouched model: give scales, such as (0.5, 1, 2)")
    return tuple(sorted({UNTOUCHED, *given}, key=lambda dose: (KINDS.index(dose.kind), dose.value)))


@fits_a_cell("sample_id doses texts confidence")
@dataclass(frozen=True, eq=False)
class DoseAnswers:
    """What one sample is answered with its image tokens of several lengths, without training: no method of the paper.

    Attributes:
        sample_id: which sample.
        doses: how long the tokens are made; scale 1 is the untouched model.
        orders: at each dose, the answers with the tokens in order and permuted, and how sure they are.
        median_norm: float32 [dose], median length of its image tokens where the language model receives them.
        image_mass: float32 [dose], attention of the last prompt row on the image, mean over layers and heads.
        abs_delta_g_v: float32 [dose], |delta g_V| of `rope_sensitivity`, absolute for each head, mean over all.
        delta_alpha_v: float32 [dose], its delta alpha_V, with its sign, mean over layers and heads.
        out_of_range: the doses that were asked for and are not among `doses`, as numbers of the model's type are too
            small for tokens so long, or for what the model makes of them.
    """

    sample_id: str
    doses: tuple[Dose, ...]
    orders: tuple[OrderAnswers, ...]
    median_norm: Float32[np.ndarray, " dose"]
    image_mass: Float32[np.ndarray, " dose"]
    abs_delta_g_v: Float32[np.ndarray, " dose"]
    delta_alpha_v: Float32[np.ndarray, " dose"]
    out_of_range: tuple[Dose, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The answer at each dose, tokens in order."""
        return tuple(own.texts[0] for own in self.orders)

    @property
    def confidence(self) -> Float32[np.ndarray, " dose"]:
        """Largest probability of the first token of each of these."""
        return np.array([own.confidence[0] for own in self.orders], dtype=np.float32)

    @property
    def changed(self) -> tuple[Dose, ...]:
        """The doses at which the answer is another than that of the untouched model."""
        plain = self.texts[self.doses.index(UNTOUCHED)]
        return tuple(dose for dose, text in zip(self.doses, self.texts, strict=True) if text != plain)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per dose: `sample`, `kind`, `dose`, `text`, `agreeing` (of permutations), `confidence`, `STATES`."""
        import pandas as pd

        return pd.DataFrame(
            {
                "sample": self.sample_id,
                "kind": [dose.kind for dose in self.doses],
                "dose": [dose.value for dose in self.doses],
                "text": self.texts,
                "agreeing": np.array([own.agreeing for own in self.orders], dtype=np.float32),
                "confidence": self.confidence,
            }
            | {name: getattr(self, name) for name in STATES}
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row per dose and order, as a study keeps them; `STATES` are of the tokens in order.

        A dose that is out of range has none.
        """
        return [
            {"kind": dose.kind, "dose": dose.value}
            | row
            | {name: float(getattr(self, name)[place]) if row["order"] == ORIGINAL else None for name in STATES}
            for place, (dose, own) in enumerate(zip(self.doses, self.orders, strict=True))
            for row in own.to_dataframe().drop(columns="sample").to_dict("records")
        ]

    def plot(self, ax: Axes | None = None, *, measure: str = "confidence", kind: str | None = None) -> Axes:
        """Draw the confidence, or one of `STATES`, against the doses of one kind."""
        from probes.position.figures.dose import plot_dose

        return plot_dose(self._curve(measure), kind or first_kind(self.doses), ax, measures=(measure,))

    def draw(self, *, kind: str | None = None) -> np.ndarray:
        """Draw confidence, with the answers, attention on the image and RoPE sensitivity; returns the four axes."""
        from probes.position.figures.dose import draw_photo

        names = ("confidence", "image_mass", "abs_delta_g_v", "delta_alpha_v")
        own = kind or first_kind(self.doses)
        return draw_photo([self._curve(name) for name in names], self.to_dataframe(), own)

    def _curve(self, measure: str) -> pd.DataFrame:
        if measure not in ("confidence", *STATES):
            raise InputError(f"measure={measure!r} is not known: use one of confidence, {', '.join(STATES)}")
        own = self.to_dataframe()[["kind", "dose", measure]].rename(columns={measure: "value"})
        return own.assign(measure=measure, low=own["value"], high=own["value"])


def first_kind(doses: Sequence[Dose]) -> str:
    """The kind that is drawn where none is asked for: scales, if there are others than 1 or nothing else is there."""
    return next((dose.kind for dose in doses if dose != UNTOUCHED), UNTOUCHED.kind)


@dataclass(frozen=True)
class DoseMeasurement:
    """What is measured of one batch at each dose; it is what `run_study` calls, as `OrderMeasurement` is.

    Example:
        >>> work = DoseMeasurement.of(vlm, read_doses((0.5, 2), (), ()))
        >>> work.ask(vlm.prepare(photo, "Where is the mug in the photo?"))[0].texts
        ('left', 'left', 'right')
    """

    doses: tuple[Dose, ...]
    order: OrderMeasurement

    @classmethod
    def of(
        cls, vlm: HookedVLM, doses: tuple[Dose, ...], seeds: Iterable[int] = range(5), **asked: Any
    ) -> DoseMeasurement:
        """Read what is asked for, and refuse what means nothing; `asked` is as in `OrderMeasurement.of`.

        Raises:
            InputError: something does.
            RefusedError: a decoder without RoPE in all of its layers.
        """
        from probes.position.rotary import Rotary

        order = OrderMeasurement.of(vlm, seeds, **asked)
        Rotary.of(vlm)
        return cls(doses, order)

    @property
    def vlm(self) -> HookedVLM:
        """The model."""
        return self.order.vlm

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        order = {name: value for name, value in self.order.recorded().items() if name != "sides"}
        return {"doses": [str(dose.edit) for dose in self.doses], "training": "none: no method of the paper", **order}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass; see `OrderMeasurement.check`."""
        self.order.check(samples, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch."""
        from interp.study.prompter import prepare_samples

        return [own.rows() for own in self.ask(prepare_samples(self.vlm, samples, self.order.prompt), samples)]

    def ask(self, inputs: VLMInputs, samples: Sequence[Sample] = ()) -> list[DoseAnswers]:
        """What each sample of a prepared batch is answered at each dose; `samples` tell boxes, where asked for.

        Raises:
            ModelError: what the untouched model says is not finite.
        """
        from interp.model.features import ImageFeatures

        plain, features = ImageFeatures.with_answers(self.vlm, inputs, self.order.max_new_tokens)
        refuse_unsaid(plain, [sample.id for sample in samples])
        found = {dose: self._at(dose, features, plain, samples) for dose in self.doses}
        return [_of_sample(place, found) for place in range(len(inputs))]

    def _at(
        self, dose: Dose, features: ImageFeatures, plain: Generation, samples: Sequence[Sample]
    ) -> dict[int, tuple[OrderAnswers, dict[str, float]]]:
        """The answers and `STATES` at one dose, by place in the batch; a sample that leaves the range has none.

        It is run untouched beside the others, which see nothing of it, and is dropped.
        """
        from interp.intervene.image_hooks import image_tokens_of

        length = self.order.max_new_tokens
        inside = [dose.edit.fits(own) for own in image_tokens_of(features.values, features.inputs.layouts)]
        if not any(inside):
            return {}
        answer = plain
        if dose != UNTOUCHED:
            answer = features.generate(length, intervention=_edit_where(inside, dose))
            inside = [own and math.isfinite(sure) for own, sure in zip(inside, answer.confidence, strict=True)]
        edit = _edit_where(inside, dose)
        orders = self.order.ask_again(features, answer, samples, edit=edit)
        states = states_at(features, edit)
        return {
            place: (own, {name: values[place] for name, values in states.items()})
            for place, own in enumerate(orders)
            if inside[place] and np.isfinite(own.confidence).all()
        }


def _edit_where(inside: Sequence[bool], dose: Dose) -> Intervention:
    """What makes the image tokens of these samples of a batch so long, and leaves those of the others."""
    from interp.intervene.base import PerSample, Untouched

    return dose.edit if all(inside) else PerSample(tuple(dose.edit if own else Untouched() for own in inside))


def _of_sample(place: int, found: Mapping[Dose, Mapping[int, tuple[OrderAnswers, dict[str, float]]]]) -> DoseAnswers:
    """The answers of one sample of a batch, at the doses that it has."""
    own = {dose: at[place] for dose, at in found.items() if place in at}
    orders, states = zip(*own.values(), strict=True)
    return DoseAnswers(
        orders[0].sample_id,
        tuple(own),
        orders,
        **{name: np.array([state[name] for state in states], dtype=np.float32) for name in STATES},
        out_of_range=tuple(dose for dose in found if dose not in own),
    )


def states_at(features: ImageFeatures, edit: Intervention) -> dict[str, list[float]]:
    """`STATES` of each sample of a batch under an edit, from one run of the language model."""
    from interp.intervene.image_hooks import IMAGE_POINT, image_tokens_of
    from probes.position.rope import rope_sensitivity
    from probes.position.stream_norms import KeepNorms

    kept: dict[str, Any] = {}
    with features.under(edit) as inputs, features.vlm.hooks([(IMAGE_POINT, KeepNorms(kept))]):
        found = rope_sensitivity(features.vlm, inputs)
    norms = image_tokens_of(kept[IMAGE_POINT].cpu(), inputs.layouts)
    return {
        "median_norm": [float(np.median(lengths.numpy())) for lengths in norms],
        "image_mass": [float(one.alpha_v.mean()) for one in found],
        "abs_delta_g_v": [float(np.abs(one.delta_g_v).mean()) for one in found],
        "delta_alpha_v": [float(one.delta_alpha_v.mean()) for one in found],
    }
