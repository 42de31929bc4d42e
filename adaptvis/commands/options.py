"""What the commands of ScalingVis and AdaptVis share: the options of their policies."""

from __future__ import annotations

from typing import Any

NUMBERS = {
    "alpha": "ScalingVis: the factor (default: 0.5)",
    "alpha_unsure": "AdaptVis: the factor when unsure, below 1 to smooth (default: 0.5)",
    "alpha_sure": "AdaptVis: the factor when sure, above 1 to sharpen (default: 1.5)",
    "threshold": "AdaptVis: sure from this confidence on (default: 0.4)",
    "shift": "the additive control's constant, nats (default: 1)",
    "temper": "the factor of temper (default: 0.5)",
}
"""The numbers that policies take, and what they are."""


TAKES: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "scaling": ("alpha",),
    "adaptvis": ("alpha_unsure", "alpha_sure", "threshold", "confidence"),
    "add": ("shift",),
    "temper": ("temper",),
}
"""Which of them the policies that scale attention take."""


def add_policy_numbers(parser: Any) -> None:
    """Add the options for the policies' numbers."""
    for name, told in NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=told)
    parser.add_argument(
        "--confidence",
        help="AdaptVis: probability, options, entropy, margin, or as the authors' code has it, probability-rounded or "
        "raw-logit (default: probability)",
    )
