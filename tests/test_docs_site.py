"""The docs site: its pages are there, its links and names resolve, its code runs, and nothing on it phones home."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from entry_points import declared

from interp.commands.spatial_lens import build_parser

DOCS = Path(__file__).resolve().parent.parent / "docs"
PACKAGES = ("interp", "adaptvis", "probes")
PAGES = sorted(DOCS.glob("**/*.md"))
OUTSIDE = {
    "embedded/shapes-vlm.md": "interp/zoo/vlm/weights/README.md",
    "embedded/shapes-detector.md": "interp/zoo/yolo/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "citing.md": "CITATION.cff",
}
"""Pages that are made of files outside of docs."""
WITH_CODE = [path for path in PAGES if "```python" in path.read_text() and path.stem != "adaptvis"]


@pytest.fixture(scope="module")
def config(repo):
    return yaml.safe_load((repo / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def helper():
    """Import one of the scripts of the docs."""
    sys.path.insert(0, str(DOCS / "scripts"))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(DOCS / "scripts"))


def nav_pages(entry):
    """The pages that a part of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in nav_pages(value)]


def anchors(path):
    """The anchors of a page's headings, as GitHub and the site both make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", head.replace("`", "")).strip().lower()) for head in heads}


NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def words(said):
    """What has to be the same on another machine."""
    return [word for word in re.findall(r"\S+", said) if word.isalpha()]


def far_numbers(fresh, stored):
    """Numbers that differ by more than another machine's arithmetic: two in the last digit, and one part in fifty."""
    pairs = list(zip(NUMBER.findall(fresh), NUMBER.findall(stored), strict=True))
    return [
        (new, old) for new, old in pairs if abs(float(new) - float(old)) > max(2.1 * last(old), abs(float(old)) / 50)
    ]


def last(number):
    """One in the last printed digit; of a whole number, nothing: a count is a count."""
    digits, _, power = number.partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2])) if "." in digits or power else 0.0


# pages ----------------------------------------------------------------------------------------------------------


def test_the_navigation_names_every_page_and_every_notebook_once(config, repo):
    named = nav_pages(config["nav"])
    notebooks = {f"notebooks/{path.stem}.md" for path in (repo / "notebooks").glob("*.ipynb")}
    assert len(named) == len(set(named))
    assert set(named) == {path.relative_to(DOCS).as_posix() for path in PAGES} | notebooks | set(OUTSIDE)
    assert all((repo / source).is_file() for source in OUTSIDE.values())


def test_the_site_has_a_page_of_each_file_outside_of_docs(helper):
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]' brings it")
    assert helper("site_hooks").CARDS == OUTSIDE


def test_the_site_and_the_readme_lead_to_changelog_citation_and_contributing(repo):
    for path in (repo / "README.md", DOCS / "index.md"):
        linked = re.findall(r"\]\(([^()#\s]*)\)", path.read_text(encoding="utf-8"))
        found = {(path.parent / target).resolve() for target in linked}
        assert {repo / name for name in ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")} <= found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^()#\s]*)(#[^()\s]*)?\)", text):
        if target.startswith(("http://", "https://")):
            continue
        place = (path.parent / target).resolve() if target else path
        assert place.is_file(), f"{target} is not there"
        assert not anchor or anchor[1:] in anchors(place), f"{place.name} has no heading {anchor}"


def test_every_command_on_the_pages_is_one_that_its_parser_takes():
    found = set()
    for path in PAGES:
        joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
        found |= set(re.findall(r"python -m (adaptvis|interp|probes) ([^`\n#]+?)\s*(?:#[^\n]*)?(?=`|\n)", joined))
    assert len(found) > 20
    for module, arguments in sorted(found):
        parser = importlib.import_module(f"{module}.__main__").build_parser()
        assert callable(parser.parse_args(shlex.split(arguments)).command), arguments


def test_every_line_of_the_one_command_is_one_that_it_takes(repo, capsys):
    door, found = build_parser(declared()), set()
    for path in (*PAGES, repo / "README.md"):
        joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
        found |= set(re.findall(r"(?<![\w/-])spatial-lens ([a-z][^`\n#|>)\"]*?)\s*(?=[`\n#|>)\"])", joined))
    assert {"doctor", "completion bash", "completion zsh", "completion fish", "probes balance"} <= found
    for line in sorted(found):
        words = shlex.split(line)
        if len(words) > 2 or words[0] in ("doctor", "completion"):
            assert callable(door.parse_args(words).command), line
        else:  # a command by its name alone
            with pytest.raises(SystemExit) as left:
                door.parse_args([*words, "--help"])
            assert left.value.code == 0, line
    capsys.readouterr()


def test_the_generated_pages_are_what_their_scripts_write(helper, repo):
    bare = helper("page_code").bare
    pages = {"datasets.md": helper("site_pages").render_datasets()}
    for name, fresh in pages.items():
        assert bare((DOCS / name).read_text(encoding="utf-8")) == bare(fresh), f"{name}: run `make docs`"


def test_the_numbers_on_limits_are_of_the_embedded_weights(helper):
    text = (DOCS / "limits.md").read_text(encoding="utf-8")
    weights = helper("adaptvis_page").weights()
    assert f"weights `{weights}`" in text, "the embedded model has changed since: run `make docs`"
    assert (DOCS / "images" / "limits" / "looking_and_losing.png").is_file()


# names ----------------------------------------------------------------------------------------------------------


def documented():
    """The modules that the API pages are made of."""
    return {name for path in (DOCS / "api").glob("*.md") for name in re.findall(r"^::: (\S+)$", path.read_text(), re.M)}


def test_every_name_on_the_api_pages_is_a_module_of_ours():
    for name in documented():
        assert name.split(".")[0] in PACKAGES and find_spec(name) is not None, name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_an_api_page(package, repo):
    stub = ast.parse((repo / package / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {str(statement.module) for statement in stub.body if isinstance(statement, ast.ImportFrom)}
    assert homes and homes <= documented()


def test_docstrings_give_each_name_an_entry_and_examples_a_section(helper):
    pytest.importorskip("griffe", reason="pip install -e '.[docs]' brings it")
    item = "0-based;\n        all by default."
    told = f"What.\n\nAttributes:\n    layers, heads: {item}\n    alpha: one.\n\nExample:\n    >>> 1"
    wanted = f"What.\n\nAttributes:\n    layers: {item}\n    heads: {item}\n    alpha: one.\n\nExamples:\n    >>> 1"
    assert helper("site_griffe").plain(told) == wanted


# code -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.stem)
def test_the_code_of_a_page_runs_and_prints_what_stands_below_it(path, helper, tmp_path):
    if "shapes-detector" in path.read_text(encoding="utf-8"):
        pytest.importorskip("ultralytics", reason="the page uses a YOLO detector, and ultralytics is not installed")
    code = helper("page_code")
    stored = path.read_text(encoding="utf-8")
    fresh = code.run_page(path, tmp_path)
    assert code.bare(fresh) == code.bare(stored)
    assert words(fresh) == words(stored), "run `make docs`"
    assert not far_numbers(fresh, stored), "run `make docs`"
    assert all((DOCS / "images" / path.stem / name).is_file() for name in code.pictures(path, stored))


def test_a_page_with_a_stale_number_is_found():
    assert far_numbers("AUROC 0.64 of 128, 1e-05", "AUROC 0.65 of 128, 2e-05") == []
    assert far_numbers("AUROC 0.64 of 128", "AUROC 0.74 of 108") == [("0.64", "0.74"), ("128", "108")]
    with pytest.raises(ValueError, match="longer"):
        far_numbers("1 2", "1 2 3")


def test_every_output_on_a_page_stands_below_a_block_that_prints(helper):
    code = helper("page_code")
    for path in WITH_CODE:
        text = path.read_text(encoding="utf-8")
        assert f'title="{code.TITLE}"' not in code.bare(text), f"{path.name} has an output that no code made"


def test_output_is_written_below_its_block_and_replaced_there(helper, tmp_path):
    code = helper("page_code")
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 2\nprint(x, '  ')\n```\n\nText.\n\n```python\ny = x\n```\n")
    once = code.run_page(page, tmp_path)
    block = f'```\n\n```text title="{code.TITLE}"\n2\n```\n\nText.'
    assert block in once and once.count(code.TITLE) == 1
    page.write_text(once.replace("\n2\n", "\n3\n"))
    assert code.run_page(page, tmp_path) == once
    page.write_text(once + "\n![A picture](images/page/none.png)\n")
    with pytest.raises(FileNotFoundError, match="none.png"):
        code.run_page(page, tmp_path)


# the built site -------------------------------------------------------------------------------------------------


class Loads(HTMLParser):
    """Collects the addresses from which a page loads something by itself, and its anchors."""

    LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}

    def __init__(self):
        super().__init__()
        self.found, self.ids = [], set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        if tag in self.LOADING and given.get("rel") != "canonical":
            self.found.append(given.get(self.LOADING[tag]) or "")


@pytest.fixture(scope="module")
def site(repo, tmp_path_factory):
    """The site as mkdocs builds it strictly: any warning of a link, a name or a docstring ends the build."""
    for package in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install -e '.[docs]' brings it")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return out


@pytest.mark.slow
def test_the_site_builds_strictly_and_has_every_page(site, config):
    for page in nav_pages(config["nav"]):
        name = page.removesuffix(".md")
        assert (site / f"{name}.html").is_file(), page
    assert not list(site.glob("**/*.py")) and not list(site.glob("**/*.jinja"))


@pytest.mark.slow
def test_no_page_loads_anything_from_the_network(site):
    pages = sorted(site.glob("**/*.html"))
    assert len(pages) > 20
    for path in pages:
        loads = Loads()
        loads.feed(path.read_text(encoding="utf-8"))
        assert loads.found
        assert not [address for address in loads.found if re.match(r"(https?:)?//", address)], path.name
    for path in site.glob("**/*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//|@import\s+['\"]?(https?:)?//", text), path.name


@pytest.mark.slow
def test_equations_are_drawn_without_a_script_and_none_is_left_as_text(site):
    text = (site / "adaptvis.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20
    for path in site.glob("**/*.html"):
        text = path.read_text(encoding="utf-8").replace("<code>$`</code>", "")
        assert "$`" not in re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL), path.name


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_its_place_in_the_built_api(site, package):
    module, ids = importlib.import_module(package), set()
    for path in (site / "api").glob("*.html"):
        loads = Loads()
        loads.feed(path.read_text(encoding="utf-8"))
        ids |= loads.ids
    assert module.__all__
    for name in module.__all__:
        home = getattr(getattr(module, name), "__module__", None)
        here = (
            {f"{home}.{name}"} if home in documented() else {place for place in ids if str(place).endswith(f".{name}")}
        )
        assert here & ids, name


@pytest.mark.slow
def test_notebooks_are_pages_with_their_figures(site, repo):
    for path in (repo / "notebooks").glob("*.ipynb"):
        text = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert text.count("<img") >= 6
