"""The request of an evaluation: which policies are reported, what is swept, and how the samples are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from adaptvis.contrastive.decoding import VCD, DoLa
from adaptvis.evaluation.settings import Settings
from adaptvis.policy.policies import AdaptVis, Policy, ScalingVis
from adaptvis.sweep.plan import PAPER_ALPHAS, Decoder, Plan, grid
from interp.errors import InputError
from interp.study.requests import Request, refuse_nothing_to_resume

if TYPE_CHECKING:
    from interp.intervene.image_logits import ScaleImageLogits
    from interp.objects.sample import Sample

SHIFTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
"""Constants (nats) that the additive control is tried at."""


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(Request):
    """Which policies to report, what to sweep, and how to ask: what `adaptvis.evaluate` takes.

    Attributes:
        validation: the samples to choose alphas, shift and threshold on; `settings` holds where there are none.
        policies: names out of `POLICIES`; the baseline is always reported.
        settings: numbers that are not chosen, and layers and heads.
        alphas: strengths that are swept, and tried on `validation`.
        shifts: strengths of the additive control (nats), likewise.
        windows: windows of layers in which ScalingVis is also asked, to see which layers carry the gain: with its own
            alpha, or that of `settings` where none does better than 1.
        sweeps: also ask the reported samples under all `alphas` and `shifts`; without, only under what the policies
            need.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: length of an answer at most.
        batch: samples that share one pass.
        seed: the seed of the bootstrap.
        out: a folder that keeps what was asked, so that it can be resumed.
        resume: go on with what lies in `out`.
        record: what else the manifests in `out` have to say.
        progress: show progress bars.

    Example:
        >>> evaluate(vlm, test, request=EvaluateRequest(policies=("scaling",), settings=Settings(alpha=0.8)))

    Raises:
        InputError: a policy that is not known, a number that means nothing, no sample to a batch, or nothing to resume.
    """

    validation: Sequence[Sample] | None = None
    policies: Sequence[str] = ("baseline", "scaling", "adaptvis")
    settings: Settings = Settings()
    alphas: Sequence[float] = PAPER_ALPHAS
    shifts: Sequence[float] = SHIFTS
    windows: Sequence[tuple[int, ...]] = ()
    sweeps: bool = True
    prompt: str = "paper"
    max_new_tokens: int = 10
    batch: int = 16
    seed: int = 0
    out: str | Path | None = None
    resume: bool = False
    record: dict[str, Any] | None = None
    progress: bool = True

    UNRECORDED: ClassVar[frozenset[str]] = frozenset({"validation", "out", "batch", "resume", "record", "progress"})

    def __post_init__(self) -> None:
        """Refuse what neither a model nor samples are needed to refuse."""
        self._keep_tuples("validation", "policies", "alphas", "shifts", "windows")
        self._keep_whole(batch=1, seed=0, max_new_tokens=1)
        self._check_prompt()
        refuse_no_settings(self.settings)
        refuse_nothing_to_resume(self.out, resume=self.resume)
        self.plan(self.chosen())

    def chosen(self) -> dict[str, Policy | Decoder]:
        """The policies by name, the baseline first, with the numbers of `settings`.

        Raises:
            InputError: there is no such policy, or a number means nothing.
        """
        return {name: self.settings.policy(name) for name in dict.fromkeys(("baseline", *self.policies))}

    def tuning_plan(self) -> Plan:
        """What the validation part is asked: the grids of the policies' modes.

        Raises:
            InputError: a strength that is not a finite number.
        """
        return Plan(tuple(self._grids(self.chosen())), prompt=self.prompt, max_new_tokens=self.max_new_tokens)

    def plan(self, policies: dict[str, Policy | Decoder]) -> Plan:
        """What the reported part is asked: the grids, the policies' own settings, and the windows.

        Raises:
            InputError: a strength that is not a finite number, or a window that means nothing.
        """
        scalings = self._grids(policies) if self.sweeps else []
        for policy in policies.values():
            if isinstance(policy, AdaptVis):
                scalings += [policy.choose(0.0), policy.choose(float("inf"))]
            elif isinstance(policy, ScalingVis):
                scalings.append(policy.choose(1.0))
                if policy.mode == "mul":
                    scalings += grid([self._window_alpha(policy)], windows=self.windows, heads=policy.heads)
        decoders = tuple(policy for policy in policies.values() if isinstance(policy, (VCD, DoLa)))
        return Plan(tuple(scalings), decoders, self.prompt, self.max_new_tokens)

    def _grids(self, policies: dict[str, Policy | Decoder]) -> list[ScaleImageLogits]:
        """Every strength of each mode that one of the policies has."""
        modes = {"scaling": ("mul", self.alphas), "adaptvis": ("mul", self.alphas)}
        modes |= {"temper": ("temper", self.alphas), "add": ("add", self.shifts)}
        return [
            each
            for name, (mode, strengths) in modes.items()
            if name in policies
            for each in grid(strengths, mode=mode, windows=(self.settings.layers,), heads=self.settings.heads)
        ]

    def _window_alpha(self, policy: ScalingVis) -> float:
        """The alpha of ScalingVis, or the given one where the best was to change nothing."""
        return self.settings.alpha if policy.choose(1.0).changes_nothing else policy.alpha


def refuse_no_settings(settings: Any) -> None:
    """Refuse what is no `Settings`.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(settings, Settings):
        raise InputError(f"settings are a {type(settings).__name__}: give adaptvis.Settings(alpha=..., ...)")
