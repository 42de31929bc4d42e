"""What is measured for position probes: of training photos their object tokens, of held-out ones what probes say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int

from interp.errors import InputError
from interp.stats.linear_probe import LinearProbe
from probes.mechanisms.probe.sites import Site, choose_sites, read_sites
from probes.mechanisms.tokens.object_tokens import ObjectTokens, check_labels, object_tokens, strip_weights
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from PIL import Image

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


@dataclass(frozen=True)
class ProbeTask:
    """What is probed: at which sites, and what the classes of the objects are.

    Attributes:
        vlm: the model.
        sites: where its image tokens are read.
        axis: along which objects are told apart, `horizontal` or `vertical`.
        labels: what their classes are, see `probes.mechanisms.tokens.object_tokens.LABELS`.
        at_least: share of a token's area that has to lie in a box.
        prompt: prompt style, see `HookedVLM.prepare`.
    """

    vlm: HookedVLM = field(repr=False)
    sites: tuple[Site, ...]
    axis: str
    labels: str
    at_least: float
    prompt: str

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        *,
        sites: str | Iterable[str] = "all",
        axis: str = "horizontal",
        labels: str = "slot",
        at_least: float = 0.5,
        prompt: str = "chat",
    ) -> ProbeTask:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
            RefusedError: a vision tower that the family can not show.
        """
        check_model(vlm)
        check_labels(axis, labels, at_least)
        return cls(vlm, choose_sites(vlm, sites), axis, labels, at_least, prompt)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sites."""
        return tuple(site.name for site in self.sites)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        own = {name: getattr(self, name) for name in ("axis", "labels", "at_least", "prompt")}
        return own | {"sites": list(self.names)}

    def tokens_of(self, samples: Sequence[Sample]) -> dict[str, ObjectTokens]:
        """The object tokens of every sample, by id, before the first pass.

        Raises:
            InputError: a sample's objects have no classes, or photos differ in grid or in number of classes.
        """
        found: dict[str, ObjectTokens] = {}
        for sample in samples:
            grid = self.vlm.grid_of(sample.image)
            found[sample.id] = object_tokens(sample, grid, axis=self.axis, labels=self.labels, at_least=self.at_least)
            _refuse_unlike(samples[0].id, found[samples[0].id], sample.id, found[sample.id])
        return found


def _refuse_unlike(first: str, known: ObjectTokens, name: str, own: ObjectTokens) -> None:
    if own.shape != known.shape:
        raise InputError(
            f"the photos of {first!r} and {name!r} have {known.shape} and {own.shape} rows and columns of tokens, so "
            "that they make no one map: crop or resize them to one size"
        )
    if own.n_classes != known.n_classes:
        raise InputError(
            f"the objects of {first!r} have {known.n_classes} places along the axis, and those of {name!r} "
            f"{own.n_classes}: give photos with as many"
        )


@dataclass(frozen=True, eq=False)
class TrainingTokens:
    """What is kept of a training photo: a row for each object token, with its features at every site.

    It is what `run_study` calls. Columns: `token`, its number in the view of the whole photo, `unit`, the object,
    `label`, and by the name of each site the features there, float32 [feature].
    """

    task: ProbeTask
    tokens: Mapping[str, ObjectTokens] = field(repr=False)

    @property
    def vlm(self) -> HookedVLM:
        """The model."""
        return self.task.vlm

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return self.task.recorded()

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass."""
        check_asked(self.vlm, samples, self.task.prompt, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch."""
        known = [self.tokens[sample.id] for sample in samples]
        seen = features_of(self.task, samples, [own.places[own.inside] for own in known])
        return [
            [
                {"token": int(token), "unit": int(own.units[token]), "label": int(own.labels[token])}
                | {site: parts[photo][place] for site, parts in seen.items()}
                for place, token in enumerate(own.inside)
            ]
            for photo, own in enumerate(known)
        ]


def features_of(
    task: ProbeTask, samples: Sequence[Sample], places: Sequence[Int[np.ndarray, " token"]]
) -> dict[str, list[Float32[np.ndarray, "token feature"]]]:
    """Some image tokens of each sample at every site, [token feature] by sample, in one run."""
    from interp.study.prompter import prepare_samples

    kept: dict[str, list[np.ndarray]] = {}
    read_sites(task.vlm, prepare_samples(task.vlm, samples, task.prompt), task.sites, places, kept.__setitem__)
    return kept


def features_of_blank(
    task: ProbeTask, sample: Sample, known: ObjectTokens, image: Image.Image
) -> dict[str, Float32[np.ndarray, "token feature"]]:
    """All image tokens of a photo of nothing at every site, asked what the sample asks."""
    from dataclasses import replace

    seen = features_of(task, [replace(sample, image=image)], [known.places])
    return {name: parts[0] for name, parts in seen.items()}


@dataclass(frozen=True, eq=False)
class Readout:
    """What is kept of a held-out photo: a row for each site, with what the probes there say.

    It is what `run_study` calls. Columns: `site`; `right`, how many object tokens the probe is right about; `control`,
    of each probe of shuffled labels, how many it is right about, by its own labels, float32 [shuffle]; `strip`, the
    strip score, and `control_strip`, float32 [shuffle]; `probabilities`, float32 [token*class].

    Attributes:
        task: what is probed.
        tokens: the geometry of every sample, by id.
        probes: of each site, the probe and those of shuffled labels.
        shuffled: of every sample, the labels of its object tokens, then those in each shuffle, [row object_token].
        trained: what the probes were trained on and how, for the record.
    """

    task: ProbeTask
    tokens: Mapping[str, ObjectTokens] = field(repr=False)
    probes: Mapping[str, tuple[LinearProbe, ...]] = field(repr=False)
    shuffled: Mapping[str, Int[np.ndarray, "row object_token"]] = field(repr=False)
    trained: Mapping[str, Any]

    @property
    def vlm(self) -> HookedVLM:
        """The model."""
        return self.task.vlm

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return self.task.recorded() | dict(self.trained)

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass."""
        check_asked(self.vlm, samples, self.task.prompt, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch; features are read as they pass, and not kept."""
        from interp.study.prompter import prepare_samples

        known = [self.tokens[sample.id] for sample in samples]
        rows: list[list[dict[str, Any]]] = [[] for _ in samples]

        def use(site: str, parts: list[np.ndarray]) -> None:
            for place, (sample, own, part) in enumerate(zip(samples, known, parts, strict=True)):
                rows[place].append({"site": site, **self._read(site, sample.id, own, part)})

        inputs = prepare_samples(self.vlm, samples, self.task.prompt)
        read_sites(self.vlm, inputs, self.task.sites, [own.places for own in known], use)
        return rows

    def _read(self, site: str, name: str, own: ObjectTokens, features: np.ndarray) -> dict[str, Any]:
        found = [read_probe(probe, own, features) for probe in self.probes[site]]
        said = np.stack([chances[own.inside].argmax(axis=-1) for chances, _ in found])
        strips = [strip for _, strip in found]
        told = strips[0] is not None
        return {
            "right": int((said[0] == own.labels[own.inside]).sum()),
            "control": (said[1:] == self.shuffled[name][1:]).sum(axis=1).astype(np.float32),
            "strip": strips[0],
            "control_strip": np.array(strips[1:], dtype=np.float32) if told else None,
            "probabilities": found[0][0].astype(np.float32).ravel(),
        }


def read_probe(
    probe: LinearProbe, own: ObjectTokens, features: Float32[np.ndarray, "token feature"]
) -> tuple[Float[np.ndarray, "token class"], float | None]:
    """What a probe says of all tokens of a photo, and its strip score; None where that can not be told."""
    chances, weights = probe.probabilities(features), strip_weights(own)
    return chances, None if weights is None else float((chances * weights).sum())
