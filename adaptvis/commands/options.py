"""What the commands of ScalingVis and AdaptVis share: the options of their policies."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from interp.cli import numbers

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


def given_numbers(options: argparse.Namespace) -> dict[str, Any]:
    """The policies' numbers, and the confidence, that were given."""
    return {name: value for name in (*NUMBERS, "confidence") if (value := getattr(options, name)) is not None}


def given_places(options: argparse.Namespace) -> dict[str, Any]:
    """The layers and heads that were given."""
    return {name: numbers(text) for name in ("layers", "heads") if (text := getattr(options, name)) is not None}


def note_caveats(*policies: object) -> None:
    """Say on the screen, before anything runs, what a policy does not do although its name says so."""
    for policy in policies:
        for line in getattr(policy, "caveats", ()):
            print(f"note: {line}", file=sys.stderr)
