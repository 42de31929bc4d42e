"""Settings: which policies an evaluation asks, with which strengths, layers and thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adaptvis.contrastive.decoding import VCD, DoLa
from adaptvis.policy.policies import AdaptVis, Baseline, Policy, ScalingVis
from adaptvis.sweep.plan import Decoder
from interp.errors import InputError

POLICIES = ("baseline", "scaling", "adaptvis", "add", "temper", "vcd", "dola")


@dataclass(frozen=True)
class Settings:
    """The numbers of the policies, where they are not chosen on a validation part.

    Attributes:
        alpha: the strength of ScalingVis; temper: that of its variant that keeps the image's total attention; shift:
            that of the additive control, in nats.
        alpha_unsure, alpha_sure, threshold, confidence: the settings of AdaptVis.
        vcd, dola: the decoders.
        layers, heads: that are scaled; all by default.
    """

    alpha: float = 0.5
    temper: float = 0.5
    shift: float = 1.0
    alpha_unsure: float = 0.5
    alpha_sure: float = 1.5
    threshold: float = 0.4
    confidence: str = "probability"
    vcd: VCD = VCD()
    dola: DoLa = DoLa()
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None

    def policy(self, name: str) -> Policy | Decoder:
        """The policy of a name.

        Raises:
            InputError: there is no such policy, or a number means nothing.
        """
        decoders: dict[str, Decoder] = {"vcd": self.vcd, "dola": self.dola}
        return decoders[name] if name in decoders else self.scaling_policy(name)

    def scaling_policy(self, name: str) -> Policy:
        """The policy of a name, out of those that scale attention.

        Raises:
            InputError: there is no such policy, or a number means nothing.
        """
        where: dict[str, Any] = {"layers": self.layers, "heads": self.heads}
        made: dict[str, Callable[[], Policy]] = {
            "baseline": Baseline,
            "scaling": lambda: ScalingVis(self.alpha, **where),
            "add": lambda: ScalingVis(self.shift, mode="add", **where),
            "temper": lambda: ScalingVis(self.temper, mode="temper", **where),
            "adaptvis": lambda: AdaptVis(
                self.alpha_unsure, self.alpha_sure, self.threshold, confidence=self.confidence, **where
            ),
        }
        if name not in made:
            raise InputError(f"policy {name!r} is not known: use some of {', '.join(POLICIES)}")
        return made[name]()
