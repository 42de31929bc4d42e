"""Names of functions stand in one order everywhere, and one place tells where samples have them."""

import re
from pathlib import Path

import probes.heads
from probes.heads.functions import FUNCTIONS, LABELS, in_order

SOURCES = sorted(Path(probes.heads.__file__).parent.rglob("*.py"))


def test_the_eight_come_first_and_others_as_they_come_each_once():
    assert in_order(["logical", *FUNCTIONS[::-1], "inference", "logical"]) == (*FUNCTIONS, "logical", "inference")
    assert in_order(iter(["inference", "math", "logical"])) == ("math", "inference", "logical")
    assert in_order([]) == ()


def test_no_other_module_orders_functions_or_names_where_they_stand_by_itself():
    again = [
        path.name
        for path in SOURCES
        if path.name != "functions.py"
        and re.search(rf'in FUNCTIONS\)|not in FUNCTIONS|^\w+ = "{LABELS}"$', path.read_text(encoding="utf-8"), re.M)
    ]
    assert not again
