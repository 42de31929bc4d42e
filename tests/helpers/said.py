"""What sentences say: their numbers read back, and the form that every sentence of a report has."""

import re

import numpy as np
import pytest

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
INTERVAL = re.compile(rf"([<>]?)({NUMBER})(?: %| points)? \[({NUMBER}) % CI ({NUMBER}), ({NUMBER})\]")
P = re.compile(rf"p ([=<≤]) ({NUMBER})(, (?=[A-Za-z]))?")
BAD = {
    "an interval without its level": rf"\[(?!{NUMBER} % CI ){NUMBER}",
    "p of no test": rf"p [=<≤] {NUMBER}(?!\d|\.\d)(?!, [A-Za-z])",
    "p that equals below": r"= ?<|≤ ?<",
    "a claim of no difference": r"\b(does|do|is|are) not differ|differs? from chance|\bno layer differs|not different",
    "nothing where a number should be": r"\bnan\b|\bNone\b|\binf\b|\{|\}",
    "broken punctuation": r"\.\.|,,|;;|: :|  | [.,;:](?!\d)|[,;:]\.|\(\s|\s\)",
}


def check_form(sentence):
    """Every interval names its level and every p its test; nothing is claimed not to be, and nothing is broken."""
    for what, pattern in BAD.items():
        found = re.search(pattern, sentence)
        assert not found, f"{what}, {found and found[0]!r}: {sentence}"
    assert sentence.count("(") == sentence.count(")") and sentence.count("[") == sentence.count("]"), sentence


def intervals_in(sentence):
    """Every estimate with its interval: value, low, high, level, as floats; and the last place of the value.

    Of one that is told to be below or above a number, half of the last place beyond it.
    """
    found = []
    for sign, value, level, low, high in INTERVAL.findall(sentence):
        digits, _, power = value.partition("e")
        place = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
        beyond = {"": 0, "<": -place / 2, ">": place / 2}[sign]
        found.append((float(value) + beyond, float(low), float(high), float(level) / 100, place))
    return found


def p_values_in(sentence):
    """Every p, as its sign and number."""
    return [(sign, float(number)) for sign, number, _ in P.findall(sentence)]


def check_intervals(sentence, known, *, level=0.95, all_of=False):
    """Every interval in a sentence is one of those that are known, as fractions or in percent, to its last digit.

    Args:
        sentence: what was said.
        known: value, low, high of each.
        level: of all of them.
        all_of: every one that is known has to be there.
    """
    told = intervals_in(sentence)
    assert sentence.count("% CI") == len(told), f"an interval of another form: {sentence}"
    seen = set()
    for *ends, own, place in told:
        assert own == pytest.approx(level), sentence
        same = [
            at
            for at, row in enumerate(known)
            if any(
                np.allclose(ends, factor * np.asarray(row, float), rtol=0, atol=0.51 * place + 1e-6 * (place > 1e-5))
                for factor in (1, 100)
            )
        ]
        assert same, f"{ends} is none of {known}: {sentence}"
        seen |= set(same)
    if all_of:
        assert len(seen) == len(known), f"not all of {known} are told: {sentence}"


def check_p(sentence, known):
    """Every p in a sentence is one of those that are known."""
    for sign, number in p_values_in(sentence):
        assert any(
            (sign == "<" and number == 1e-4 and p < 1e-4) or (sign != "<" and number == pytest.approx(p, rel=0.051))
            for p in known
        ), f"p {sign} {number} is none of {known}: {sentence}"


def layers_in(text):
    """The layers that a text like `layers 0-2, 5` names."""
    found = set()
    for part in re.split(r", ", text):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def named_layers(sentence, before):
    """The layers that stand behind some words; none where these do not."""
    found = re.search(rf"{before} layers? (\d+(?:-\d+)?(?:, \d+(?:-\d+)?)*)", sentence)
    return layers_in(found[1]) if found else set()


def made_up_ends(rng, *, around=0.0, spread=1.0):
    """An estimate with an interval that lies above, on, or below a number; sometimes it has no width, or ends on it."""
    kind = rng.choice(["above", "below", "holds", "touches", "width 0"])
    low, value, high = around + spread * np.sort(rng.uniform(0.02, 1, 3))
    if kind == "below":
        low, value, high = 2 * around - high, 2 * around - value, 2 * around - low
    elif kind == "holds":
        low = around - spread * rng.uniform(0.02, 1)
        value = rng.uniform(low, high)
    elif kind == "touches":
        low = around
    elif kind == "width 0":
        low = high = value
    return float(value), float(low), float(high)


def made_up_p(rng):
    """A p-value: none that can be told, small, near the level on both sides, large, or one that is not known."""
    return float(rng.choice([0.00002, 0.003, 0.049, 0.051, 0.74, 1.0]))
