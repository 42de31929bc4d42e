"""Text steps: their answers follow from the text, no kind of answer or place tells a function, and files hold them."""

import json
import re
from collections import Counter

import pytest

from interp.errors import InputError
from probes import check_steps, read_steps, split_by_question, step_queries, step_samples, text_steps, write_steps
from probes.heads.data.names import function_of, title_of
from probes.heads.data.text import KINDS, TEXT_FUNCTIONS
from probes.heads.data.text_wording import KNOWN, MEANT, PEOPLE, THINGS, WORDS
from probes.heads.functions import TITLES

N = 80
MEMBERS = {thing: group for group, things in THINGS.items() for thing in things}
SORTS = {name: sort for sort, names in PEOPLE.items() for name in names}


@pytest.fixture(scope="module")
def made():
    return text_steps(N, form="cogvsr")


def told(one):
    """Who bought what and how many of it, read from the text again: name -> (number, thing)."""
    names, things = "|".join(SORTS), "|".join(MEMBERS)
    people = re.findall(rf"\b({names})\b", one.question)[:2]
    bought = re.findall(rf"(\d) ({things})", one.question)
    return {name: (int(number), thing) for name, (number, thing) in zip(people, bought, strict=True)}


def solved(text, bought):
    """The answer of a main question or of a step, by rules of its own; None where no rule knows it."""
    (p, (a, x)), (q, (b, y)) = sorted(bought.items(), key=lambda own: -own[1][0])
    owner = {thing: name for name, (_, thing) in bought.items()}
    count = {thing: number for number, thing in bought.values()}
    rules = {
        r"Who bought more things, .*\?|Who has more, .*\?": lambda: p,
        r"Of which are there more, .*\?|Are there more \w+ or more \w+\?": lambda: x,
        r"How many things are there in all\?|How many did both buy together\?": lambda: str(a + b),
        r"Did (\w+) buy more things than \w+\?": lambda who: said(who == p),
        r"Are there more (\w+) than \w+\?": lambda what: said(what == x),
        r"By the text, who bought (\w+)\?|Which of the two has (\w+), by the text\?": lambda *what: owner[one_of(what)],
        r"By the text, what did (\w+) buy\?|What does the text say that (\w+) has\?": (
            lambda *who: bought[one_of(who)][1]
        ),
        r"By the text, how many (\w+) are there\?|What number of (\w+) does the text name\?": (
            lambda *what: str(count[one_of(what)])
        ),
        r"Is it (\w+) who bought (\w+), by the text\?": lambda who, what: said(owner[what] == who),
        r"Does the text say that there are (\d) (\w+)\?": lambda number, what: said(count[what] == int(number)),
        r"Of the names \w+ and \w+, which one do (\w+)s have\?|Which of the two names .* of a (\w+)\?": (
            lambda *sort: next(name for name in bought if SORTS[name] == one_of(sort))
        ),
        r"Which of these belong to the (\w+)\?|As anyone knows, which of these are (\w+)\?": (
            lambda *group: next(thing for thing in count if MEMBERS[thing] == one_of(group))
        ),
        r"Do (\w+) belong to the (\w+)\?": lambda what, group: said(MEMBERS[what] == group),
        r"Is (\w+) a usual name of a (\w+)\?": lambda who, sort: said(SORTS[who] == sort),
        r"(?:As anyone knows, how|How) many (.*)\?": lambda known: in_table(KNOWN, known),
        r'What number do the words "(.*)" mean\?|"(.*)" of things: how many\?': lambda *w: in_table(MEANT, one_of(w)),
        r'(?:Does the word|Are) "(\w+)" (?:mean the same as|and) "(\w+)".*\?': (
            lambda first, second: said(any({first, second} == {word, alike} for word, alike, _ in WORDS))
        ),
        r'How many words are in "(.*)"\?|"(.*)" Count the words of it. What is the count\?': (
            lambda *sentence: str(len(one_of(sentence).split()))
        ),
        r'Is the noun "(\w+)" in the plural\?': lambda noun: said(noun.endswith("s")),
        r'Is "(\w+)" the subject in "(\w+) saw \w+"\?': lambda who, subject: said(who == subject),
        r"Suppose (\w+) loses everything. Who still has things\?": lambda who: other(bought, who),
        r"Someone needs (\w+). Who can help\?": lambda what: owner[what],
        r"Suppose all (\w+) get lost. What is left\?": lambda what: other(count, what),
        r"Suppose (\w+) goes away with .*": lambda who: bought[other(bought, who)][1],
        r"Each of the (\w+) is put .*|Every one of the (\w+) cost .*": lambda *what: str(count[one_of(what)]),
        r"Can (\w+) give away one of the (\w+)\?": lambda who, what: said(owner[what] == who),
        r"Suppose (\w+) loses everything. Does (\w+) still have \w+\?": lambda who, whose: said(who != whose),
        r"Either \w+ or \w+ paid. It was not (\w+). Who was it\?": lambda who: other(bought, who),
        r"In a box are .* There are no (\w+) in it. What is in it\?": lambda what: other(count, what),
        r"A secret number is (\d) or (\d). It is not (\d). What is it\?": lambda m, n, no: n if m == no else m,
        r"(\w+) (?:has|is) (\d) ([+-]) 1 .*(?: and|,) (\w+) (?:has|is) (\d) .*": (
            lambda one, m, _, two, n: one if m > n else two
        ),
        r"There are (\d) \+ 1 (\w+) and (\d) \+ 1 (\w+). .*": lambda m, one, n, two: one if m > n else two,
        r"Take 1 from (\d) (\w+) and 1 from (\d) (\w+). .*": lambda m, one, n, two: one if m > n else two,
        r"What is (\d) \+ (\d)\?": lambda m, n: str(int(m) + int(n)),
        r"What is (\d+) - (\d)\?": lambda m, n: str(int(m) - int(n)),
        r"Is (\d) \+ (\d) equal to (\d)\?": lambda m, n, k: said(int(m) + int(n) == int(k)),
        r"Is (\d) - 1 more than (\d) - 1\?": lambda m, n: said(m > n),
    }
    for pattern, rule in rules.items():
        if found := re.fullmatch(pattern, text):
            return rule(*found.groups())
    return None


def said(holds):
    return "yes" if holds else "no"


def one_of(groups):
    return next(own for own in groups if own)


def other(two, one):
    return next(name for name in two if name != one)


def in_table(table, words):
    return next((number for number, own in table.items() if words in own), None)


def test_that_every_question_has_one_step_of_each_function_and_no_image(made):
    for one in made:
        steps = {step.primary: step for step in one.steps}
        assert set(steps) == set(TEXT_FUNCTIONS) and len(one.steps) == 8 and not one.images
        assert one.answer == steps["decision"].answer and one.answer in one.options and one.group == one.id
        assert all(step.answer in step.options and step.meta["kind"] for step in one.steps)
        places = [step.primary for step in one.steps]
        assert places.index("retrieval") < places.index("decision")
    assert len({one.question for one in made}) == len({one.id for one in made}) == N


def test_that_answers_are_those_of_rules_that_read_the_text_again(made):
    known = Counter()
    for one in made:
        bought, asked = told(one), one.question.split(". ")[-1]
        assert solved(asked, bought) == one.answer, one.question
        for step in one.steps:
            text, end = re.fullmatch(r"(.*) Answer with (.*)\.", step.subquestion).groups()
            text = re.sub(r"^(What is the answer in the end\?|Decide\.) ", "", text)
            assert end in (" or ".join(step.options), "one digit")
            found = solved(text, bought)
            assert found in (None, step.answer), (one.question, step.subquestion)
            known[step.primary] += found is not None
    assert all(known[name] == N for name in ("retrieval", "recall", "inference", "math", "decision"))
    assert all(known[name] > N // 3 for name in TEXT_FUNCTIONS)


def test_that_each_function_has_each_kind_of_answer_equally_often(made):
    for function in TEXT_FUNCTIONS:
        own = [step for one in made for step in one.steps if step.primary == function]
        kinds = Counter({"yes": "yes_no", "no": "yes_no"}.get(step.meta["kind"], step.meta["kind"]) for step in own)
        assert kinds == dict.fromkeys(KINDS, N // 4), function
        assert Counter(step.answer for step in own)["yes"] == N // 8, function


def test_that_who_the_text_names_first_is_right_no_more_often(made):
    for kind in ("name", "thing"):
        places = [step.options.index(step.answer) for one in made for step in one.steps if step.meta["kind"] == kind]
        assert abs(sum(places) / len(places) - 0.5) < 0.1, kind
    places = [
        one.options.index(one.answer) for one in made if len(one.options) == 2 and one.answer not in ("yes", "no")
    ]
    assert abs(sum(places) / len(places) - 0.5) < 0.2


def test_that_a_seed_makes_the_same_questions_and_another_one_others():
    assert text_steps(20, seed=3) == text_steps(20, seed=3)
    assert text_steps(20, seed=3)[:5] == text_steps(5, seed=3)
    assert not {one.question for one in text_steps(20)} >= {one.question for one in text_steps(20, seed=1)}
    train, test = split_by_question(text_steps(20))
    assert (len(train), len(test)) == (16, 4)


@pytest.mark.parametrize("name", ["text.json", "text.jsonl"])
def test_that_cogqas_form_holds_them_and_reads_them_back(tmp_path, name):
    made = text_steps(12)
    path = write_steps(made, tmp_path / name, form="cogqa")
    assert check_steps(path) == []
    again = read_steps(path)
    assert again.functions == dict.fromkeys(TEXT_FUNCTIONS, 12) and not again.dropped and not again.repaired
    for one, read in zip(made, again, strict=True):
        assert (one.question, one.answer) == (read.question, read.answer)
        assert [(s.subquestion, s.answer, s.functions) for s in one.steps] == [
            (s.subquestion, s.answer, s.functions) for s in read.steps
        ]
    if name == "text.json":
        labels = {step["cognitive_skill"] for item in json.loads(path.read_text()) for step in item["generated"]}
        assert {"Retrieval", "Knowledge Recall", "Math Calculation", "Semantic Understanding"} <= labels


def test_that_options_are_of_the_other_form_which_reads_them_back_whole(tmp_path):
    made = text_steps(4, form="cogvsr")
    with pytest.raises(InputError, match="options, which CogQA's form does not hold"):
        write_steps(made, tmp_path / "text.json", form="cogqa")
    path = write_steps(made, tmp_path / "text.json")
    assert list(read_steps(path, names="cogqa")) == made


def test_that_they_are_asked_under_a_placeholder_image_or_refused():
    made = text_steps(2)
    with pytest.raises(InputError, match="16 of 16 steps can not be shown"):
        step_samples(made)
    assert step_queries(made)[0].text.startswith(f"Main question: {made[0].question}")


@pytest.mark.parametrize(
    ("given", "message"),
    [({"n": 0}, "n"), ({"n": 501}, "up to 500"), ({"seed": -1}, "seed"), ({"form": "vsr"}, "no form 'vsr'")],
)
def test_that_what_makes_no_questions_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        text_steps(**{"n": 2, **given})


def test_that_pages_and_figures_call_the_functions_of_text_by_their_names():
    assert all(TITLES[name][0].isupper() for name in TEXT_FUNCTIONS)
    assert {function_of(TITLES[name], "cogqa") for name in TEXT_FUNCTIONS} == set(TEXT_FUNCTIONS)
    assert title_of("semantic") == "semantic"  # a file of CogVSR's vocabulary would read the title as `information`
    assert function_of("Semantic Understanding", "cogvision") == "information"
