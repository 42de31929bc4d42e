"""Write into the table of proved versions what just passed here: `make floor` and `make newest` end with this.

python tests/helpers/record_versions.py NAME JUNIT.xml
"""

import json
import platform
import sys
from datetime import date
from importlib.metadata import version
from xml.etree import ElementTree

from interp.model.versions import LIBRARIES, TABLE, proved_versions, public

ORDER = ("floor", "newest")


def entry_of(name, report):
    """This installation's row, from the tests' report in JUnit's format."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    counted = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    if counted["failures"] or counted["errors"]:
        raise SystemExit(f"{report} has failures: nothing is recorded")
    return {
        "name": name,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "versions": {library: public(version(library)) for library in LIBRARIES},
        "passed": counted["tests"] - counted["skipped"],
        "skipped": counted["skipped"],
    }


def main(name, report):
    """Put the row in the place of the one of the same name and Python."""
    row = entry_of(name, report)
    minor = row["python"].rpartition(".")[0]
    others = [
        entry for entry in proved_versions() if (entry["name"], entry["python"].rpartition(".")[0]) != (name, minor)
    ]
    rows = sorted([*others, row], key=lambda entry: (ORDER.index(entry["name"]), entry["python"]))
    TABLE.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"recorded in {TABLE}: {row}")


if __name__ == "__main__":
    main(*sys.argv[1:])
