"""Wording of text: what steps of questions without an image ask, and what follows as the answer, by function and kind.

In the templates `p` bought `a` of the things `x`, and `q` bought `b` of the things `y`; `first`, `second`, `one` and
`two` are the same people and things in the order in which the text names them, so that no place there tells an answer.
`n` and `m` are two digits, `first_n` and `second_n` the same in the text's order, where `p` has the larger.
"""

from __future__ import annotations

from collections.abc import Mapping

PEOPLE = {"girl": ("Anna", "Mary", "Emma", "Lucy"), "boy": ("Ben", "Tom", "Jack", "Paul")}
"""Who buys, by what each is; one of either kind in a text."""

PRONOUN = {"girl": "she", "boy": "he"}

THINGS = {
    "fruit": {"apples": "apple", "pears": "pear", "lemons": "lemon"},
    "vegetables": {"carrots": "carrot", "onions": "onion", "potatoes": "potato"},
    "tools": {"hammers": "hammer", "saws": "saw", "shovels": "shovel"},
    "clothes": {"shirts": "shirt", "hats": "hat", "coats": "coat"},
}
"""What is bought, by what it is, and one of it."""

DIGITS = tuple("23456789")
"""Numbers that are answers."""

STORY = (
    "{first} bought {many} {one}. {second} bought {more} {two}.",
    "{first} came home with {many} {one}, and {second} with {more} {two}.",
    "In the morning {first} bought {many} {one}. Later {second} bought {more} {two}.",
)
"""What the text says."""

MAIN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "name": (("Who bought more things, {first} or {second}?", "{p}"), ("Who has more, {first} or {second}?", "{p}")),
    "thing": (("Of which are there more, {one} or {two}?", "{x}"), ("Are there more {one} or more {two}?", "{x}")),
    "number": (("How many things are there in all?", "{sum}"), ("How many did both buy together?", "{sum}")),
    "yes": (("Did {p} buy more things than {q}?", "yes"), ("Are there more {x} than {y}?", "yes")),
    "no": (("Did {q} buy more things than {p}?", "no"), ("Are there more {y} than {x}?", "no")),
}
"""Main questions and their answers, by kind; here `p` bought more than `q`."""

STEPS: Mapping[str, Mapping[str, tuple[tuple[str, str], ...]]] = {
    "retrieval": {
        "name": (("By the text, who bought {x}?", "{p}"), ("Which of the two has {x}, by the text?", "{p}")),
        "thing": (("By the text, what did {p} buy?", "{x}"), ("What does the text say that {p} has?", "{x}")),
        "number": (("By the text, how many {x} are there?", "{a}"), ("What number of {x} does the text name?", "{a}")),
        "yes": (
            ("Is it {p} who bought {x}, by the text?", "yes"),
            ("Does the text say that there are {a} {x}?", "yes"),
        ),
        "no": (("Is it {q} who bought {x}, by the text?", "no"), ("Does the text say that there are {b} {x}?", "no")),
    },
    "recall": {
        "name": (
            ("Of the names {first} and {second}, which one do {sort}s have?", "{p}"),
            ("Which of the two names is a usual one of a {sort}?", "{p}"),
        ),
        "thing": (
            ("Which of these belong to the {group}?", "{x}"),
            ("As anyone knows, which of these are {group}?", "{x}"),
        ),
        "number": (("How many {known}?", "{n}"), ("As anyone knows, how many {known}?", "{n}")),
        "yes": (("Do {x} belong to the {group}?", "yes"), ("Is {p} a usual name of a {sort}?", "yes")),
        "no": (("Do {y} belong to the {group}?", "no"), ("Is {q} a usual name of a {sort}?", "no")),
    },
    "semantic": {
        "name": (
            ('"{first} met {second}, and {she} was glad." Who was glad?', "{p}"),
            ('Whom does "{she}" mean in "{first} met {second}, and {she} was glad"?', "{p}"),
        ),
        "thing": (
            ('"Someone purchased {x} and sold {y}." Of which are there now more at home?', "{x}"),
            ('"Someone got rid of the {y} and kept the {x}." What is still there?', "{x}"),
        ),
        "number": (('What number do the words "{meant}" mean?', "{n}"), ('"{meant}" of things: how many?', "{n}")),
        "yes": (
            ('Does the word "{word}" mean the same as "{alike}"?', "yes"),
            ('Are "{word}" and "{alike}" words of one meaning?', "yes"),
        ),
        "no": (
            ('Does the word "{word}" mean the same as "{unlike}"?', "no"),
            ('Are "{word}" and "{unlike}" words of one meaning?', "no"),
        ),
    },
    "syntactic": {
        "name": (
            ('What is the subject of "{p} saw {q}"?', "{p}"),
            ('"{q} was seen by {p}." Which name comes after "by"?', "{p}"),
        ),
        "thing": (
            ('Which noun is the object of the verb in "{p} bought {x}"?', "{x}"),
            ('"{p} has {x}." What noun comes after the verb?', "{x}"),
        ),
        "number": (
            ('How many words are in "{sentence}"?', "{n}"),
            ('"{sentence}" Count the words of it. What is the count?', "{n}"),
        ),
        "yes": (('Is the noun "{x}" in the plural?', "yes"), ('Is "{p}" the subject in "{p} saw {q}"?', "yes")),
        "no": (('Is the noun "{x_one}" in the plural?', "no"), ('Is "{p}" the subject in "{q} saw {p}"?', "no")),
    },
    "inference": {
        "name": (
            ("Suppose {q} loses everything. Who still has things?", "{p}"),
            ("Someone needs {x}. Who can help?", "{p}"),
        ),
        "thing": (
            ("Suppose all {y} get lost. What is left?", "{x}"),
            ("Suppose {q} goes away with everything that {q} has. What stays?", "{x}"),
        ),
        "number": (
            ("Each of the {x} is put into a bag of its own. How many bags does that take?", "{a}"),
            ("Every one of the {x} cost one coin. How many coins did {p} pay?", "{a}"),
        ),
        "yes": (
            ("Can {p} give away one of the {x}?", "yes"),
            ("Suppose {q} loses everything. Does {p} still have {x}?", "yes"),
        ),
        "no": (
            ("Can {q} give away one of the {x}?", "no"),
            ("Suppose {p} loses everything. Does {p} still have {x}?", "no"),
        ),
    },
    "logical": {
        "name": (
            ("Either {first} or {second} paid. It was not {q}. Who was it?", "{p}"),
            ("If {q} did not sing, {p} did. {q} did not sing. Who did?", "{p}"),
        ),
        "thing": (
            ("In a box are {one} or {two}. There are no {y} in it. What is in it?", "{x}"),
            ("If the box holds no {y}, it holds {x}. It holds no {y}. What does it hold?", "{x}"),
        ),
        "number": (
            ("A secret number is {low} or {high}. It is not {m}. What is it?", "{n}"),
            ("If the number is not {m}, it is {n}. It is not {m}. What is it?", "{n}"),
        ),
        "yes": (
            ("All who have {x} get a prize. {p} has {x}. Does {p} get a prize?", "yes"),
            ("If {p} sings, {q} sings. {p} sings. Does {q} sing?", "yes"),
        ),
        "no": (
            ("None of those who have {x} gets a prize. {p} has {x}. Does {p} get a prize?", "no"),
            ("If {p} sings, {q} does not sing. {p} sings. Does {q} sing?", "no"),
        ),
    },
    "math": {
        "name": (
            ("{first} has {first_n} + 1 points and {second} has {second_n} + 1. Who has more points?", "{p}"),
            ("{first} is {first_n} - 1 years old, {second} is {second_n} - 1. Who is older?", "{p}"),
        ),
        "thing": (
            ("There are {first_n} + 1 {one} and {second_n} + 1 {two}. Which are more?", "{x}"),
            ("Take 1 from {first_n} {one} and 1 from {second_n} {two}. Of which are more left?", "{x}"),
        ),
        "number": (("What is {less} + {rest}?", "{n}"), ("What is {n_more} - {rest}?", "{n}")),
        "yes": (("Is {less} + {rest} equal to {n}?", "yes"), ("Is {high} - 1 more than {low} - 1?", "yes")),
        "no": (("Is {less} + {rest} equal to {m}?", "no"), ("Is {low} - 1 more than {high} - 1?", "no")),
    },
    "decision": {
        kind: tuple((asked, "{answer}") for asked in ("What is the answer in the end? {main}", "Decide. {main}"))
        for kind in MAIN
    },
}
"""What a step asks, and its answer, by function and kind."""

ASKED_FOR = {
    "name": "Answer with {first} or {second}.",
    "thing": "Answer with {one} or {two}.",
    "number": "Answer with one digit.",
    "yes": "Answer with yes or no.",
    "no": "Answer with yes or no.",
}
"""How a step ends, by kind; small models answer with whole sentences else."""

KNOWN = {
    "2": ("wheels does a bicycle have", "legs does a hen have"),
    "3": ("sides does a triangle have", "wheels does a tricycle have"),
    "4": ("legs does a dog have", "sides does a square have"),
    "5": ("fingers are on one hand", "sides does a pentagon have"),
    "6": ("legs does an insect have", "faces does a die have"),
    "7": ("days does a week have", "colors does a rainbow have"),
    "8": ("legs does a spider have", "arms does an octopus have"),
    "9": ("squares does the board of tic-tac-toe have", "players of one baseball team are on the field"),
}
"""What anyone knows of numbers."""

MEANT = {
    "2": ("a pair", "a couple"),
    "3": ("a trio", "a triple"),
    "4": ("a quartet", "two pairs"),
    "5": ("a quintet", "a pentad"),
    "6": ("half a dozen", "a sextet"),
    "7": ("a septet", "a heptad"),
    "8": ("an octet", "two quartets"),
    "9": ("a nonet", "three trios"),
}
"""Words that mean a number."""

SENTENCES = {
    "2": "{p} slept",
    "3": "{p} bought {x}",
    "4": "{p} bought some {x}",
    "5": "{p} bought some {x} today",
    "6": "{p} bought some new {x} today",
    "7": "Today {p} and {q} bought some {x}",
    "8": "Today {p} and {q} bought some new {x}",
    "9": "Today {p} and {q} bought some {x} at home",
}
"""Sentences of so many words."""

WORDS = (
    ("bought", "purchased", "sold"),
    ("big", "large", "small"),
    ("begin", "start", "end"),
    ("quick", "fast", "slow"),
    ("glad", "happy", "sad"),
    ("shut", "closed", "open"),
    ("ill", "sick", "healthy"),
    ("rich", "wealthy", "poor"),
)
"""A word, one that means the same, and one that means the reverse."""
