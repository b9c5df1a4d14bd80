"""README and CONTRIBUTING keep to what is promised of them: length, links, figures, examples, plain words."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import yaml
from printed import FENCE, PAGES, REPO, printed_on
from test_docs import WRITTEN, broken_links, load

from yolo_stability.cli.commands import VERBS
from yolo_stability.core.types import CauseName

README = (REPO / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOT_PAGES = [
    REPO / f"{name}.md"
    for name in ("README", "CONTRIBUTING", "CODE_OF_CONDUCT", "SECURITY", "CHANGELOG")
]
MAX_LINES, MAX_WORDS, MAX_PARAGRAPH = 200, 1300, 60
FIRST_SCREEN = 20
"""Lines of the README in which the installation and one command must be."""
DIALECT = re.compile(
    r"\b(told|said|says|goes on|goes back|sent back|mend(?:s|ed)?|sittings?|kin|left out|leave out|leaves? \w+ out"
    r"|at hand|lies in|stands in|normalis\w+|initialis\w+|colours?|labelled|neighbours?|behaviours?)\b"
)
"""Words that STYLE replaces, and British spellings; cause names of the package are code."""


# --- the README's budget ----------------------------------------------------------------------------------------------


def paragraphs(text: str) -> list[str]:
    """Return what is read as prose: paragraphs and list items outside of code and tables."""
    plain = FENCE.sub("\n", text)
    lines = [line for line in plain.splitlines() if not line.startswith(("|", "#", "!["))]
    return [part for part in re.split(r"\n\s*\n|\n(?=- )", "\n".join(lines)) if part.strip()]


def over_budget(text: str) -> list[str]:
    """Return what of a README is too long."""
    found = [f"{len(text.splitlines())} lines"] if len(text.splitlines()) > MAX_LINES else []
    found += [f"{len(text.split())} words"] if len(text.split()) > MAX_WORDS else []
    long = [part for part in paragraphs(text) if len(part.split()) > MAX_PARAGRAPH]
    return [*found, *(f"a paragraph of {len(part.split())} words: {part[:40]}" for part in long)]


def test_the_readme_is_one_page() -> None:
    assert over_budget(README) == []


@pytest.mark.parametrize(
    "text",
    ["a\n\n" * (MAX_LINES // 2 + 1), "a b c\n\n- " * 433 + "a b", "a " * (MAX_PARAGRAPH + 1)],
)
def test_a_readme_that_is_too_long_is_found(text: str) -> None:
    assert over_budget(text) != []


def test_installation_and_one_command_are_on_the_first_screen() -> None:
    first = "\n".join(README.splitlines()[:FIRST_SCREEN])
    words = [line.text.split()[:2] for line in printed_on("README.md", first)]
    assert ["pip", "install"] in words
    assert ["yolo-stability", "train"] in words
    assert len(re.findall(r"!\[", README)) == 2


def test_options_of_the_readme_are_checked_against_the_package() -> None:
    """`test_options.py` compares each row's default; a table in another form would go unseen."""
    assert len(re.findall(r"^\| `\w+=` \|.*\*\*", README, re.MULTILINE)) >= 5


# --- links and figures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ROOT_PAGES, ids=lambda page: page.name)
def test_every_link_of_the_root_pages_leads_somewhere(page: Path) -> None:
    outside = {"docs/pages/generated/"}
    assert [bad for bad in broken_links(page, REPO) if not bad.startswith(tuple(outside))] == []


def evidence(text: str) -> list[tuple[str, str]]:
    """Return each bold figure of the evidence with the page to which its line links."""
    section = text.partition("## Evidence\n")[2].partition("\n## ")[0]
    found = []
    for item in re.split(r"\n(?=- )", section):
        page = re.search(r"\(docs/pages/(measured/[\w-]+\.md)\)", item)
        found += [
            (figure, page[1] if page else "") for figure in re.findall(r"\*\*([^*]+)\*\*", item)
        ]
    return found


def wrong_evidence(text: str) -> list[str]:
    """Return the figures that the page they link to does not have."""
    return [
        figure
        for figure, page in evidence(text)
        if not page
        or not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]*\d)", _text(PAGES / page))
    ]


def _text(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def test_five_figures_are_on_the_pages_that_measure_them() -> None:
    assert len({page for _, page in evidence(README)}) == 5
    assert wrong_evidence(README) == []


@pytest.mark.parametrize(
    "item",
    [
        "- **0.97** of them ([a](docs/pages/measured/rescue-restraint.md)).",
        "- **24 of 24** of them.",
        "- **72,7** files ([a](docs/pages/measured/hostile-files.md)).",
    ],
)
def test_a_figure_that_its_page_does_not_have_is_found(item: str) -> None:
    assert len(wrong_evidence(f"## Evidence\n\n{item}\n\n## Next\n")) == 1


def test_each_page_is_linked_from_the_readme_or_the_index() -> None:
    linked = set()
    for start in (REPO / "README.md", PAGES / "index.md", PAGES / "measured" / "index.md"):
        for target in re.findall(r"\]\(([^)#\s]+\.md)", start.read_text(encoding="utf-8")):
            linked.add((start.parent / target).resolve())
    assert [page.name for page in WRITTEN if page not in linked and page.name != "index.md"] == []


# --- what is printed is what the package prints -----------------------------------------------------------------------


def test_printed_diagnoses_are_those_of_today() -> None:
    """If not: `python docs/sample.py`."""
    sample = load("sample")
    assert [page.name for page in sample.stale_pages()] == []
    for page in sample.PAGES:
        text = page.read_text(encoding="utf-8")
        assert sample._PRINTED.search(text)
        broken = text.replace("unstable: ", "unsteady: ")
        assert sample.fresh(broken) == text


def test_the_terminal_shows_the_recorded_session(tmp_path: Path) -> None:
    """If not: `python docs/pictures.py`."""
    pictures = load("pictures")
    pictures.DRAWN["terminal"](tmp_path / "terminal.svg")
    drawn = (tmp_path / "terminal.svg").read_text(encoding="utf-8")
    assert drawn == (PAGES / "img" / "terminal.svg").read_text(encoding="utf-8")
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    session = (REPO / "docs" / "sample" / "terminal.txt").read_text(encoding="utf-8")
    commands = [line.removeprefix("$ ") for line in session.splitlines() if line.startswith("$ ")]
    assert len(commands) == 3
    assert all(command in README for command in commands)


def test_the_callouts_point_into_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    pictures = load("pictures")
    pictures.DRAWN["callouts"](tmp_path / "callouts.png")
    drawn, kept = Image.open(tmp_path / "callouts.png"), Image.open(PAGES / "img" / "callouts.png")
    assert drawn.size == kept.size
    assert len(pictures.CALLOUTS) == 3


# --- words ------------------------------------------------------------------------------------------------------------


def dialect(text: str) -> list[str]:
    """Return the words of a page that plain English would not have, outside of code."""
    prose = re.sub(r"`[^`]*`", "", FENCE.sub("", text))
    return DIALECT.findall(prose.replace("\n", " "))


@pytest.mark.parametrize("page", [*ROOT_PAGES, *WRITTEN], ids=lambda page: page.name)
def test_pages_are_written_in_plain_english(page: Path) -> None:
    assert dialect(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", ["It is told.", "it goes\non", "Adam's kin", "No normalisation."])
def test_a_word_of_the_dialect_is_found(text: str) -> None:
    assert len(dialect(text)) == 1
    assert dialect(f"`{text}`\n\n```text\n{text}\n```\n") == []


def test_the_page_on_nan_explains_every_cause() -> None:
    table = (PAGES / "how-to" / "nan.md").read_text(encoding="utf-8").split("## Read the cause")[1]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(get_args(CauseName))


# --- joining in -------------------------------------------------------------------------------------------------------


@pytest.mark.installs
def test_the_examples_of_contributing_pass_the_contract_tests(tmp_path: Path) -> None:
    """A copy of the package with the new files, as a contributor would have it."""
    found = re.findall(
        r"`(yolo_stability/[\w/]+\.py)`:\n\n```python\n(.*?)^```", CONTRIBUTING, re.M | re.S
    )
    assert len(found) == 2
    for folder in ("yolo_stability", "tests/contract", "tests/golden", "configs", "datasets"):
        skipped = shutil.ignore_patterns("__pycache__", "earlier")
        shutil.copytree(REPO / folder, tmp_path / folder, ignore=skipped)
    for module in (REPO / "tests").glob("*.py"):
        shutil.copy(module, tmp_path / "tests")
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    names = [tmp_path / name for name, _ in found]
    for path, (_, body) in zip(names, found, strict=True):
        assert not path.exists()
        path.write_text(body, encoding="utf-8")
    commands = [
        [*line.text.split()[1:], "-p", "no:cacheprovider"]
        for line in printed_on("", CONTRIBUTING)
        if line.text.startswith("pytest ") and " -k " in line.text
    ]
    assert len(commands) == 2
    for command in commands:
        done = run_in(tmp_path, "pytest", *command)
        assert done.returncode == 0, done.stdout
        assert re.search(r"[1-9]\d* passed", done.stdout)
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = run_in(tmp_path, *tool, *map(str, names))
        assert done.returncode == 0, done.stdout


def run_in(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in a folder that holds a copy of the package."""
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1));"
        f"sys.argv[0] = '{module}'; runpy.run_module('{module}', run_name='__main__', alter_sys=True)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_citation_names_the_version_of_the_package() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert f"## [{project['version']}] - " in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


def test_entries_of_the_changelog_are_short() -> None:
    text = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
    assert len(entries) > 20
    assert [entry[:40] for entry in entries if len(entry.split()) > 35] == []


def test_a_failed_run_is_reported_with_what_the_program_can_give() -> None:
    folder = REPO / ".github" / "ISSUE_TEMPLATE"
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml")}
    assert set(forms) == {"run-failed", "bug", "idea", "config"}
    for name, form in forms.items():
        if name != "config":
            assert {"name", "description", "body"} <= set(form)
            assert all(field["attributes"]["label"] for field in form["body"])
    text = (folder / "run-failed.yml").read_text()
    assert "diagnose RUN --json" in text
    assert ("bundle RUN" in text) == ("bundle" in VERBS)


def test_the_template_of_pull_requests_names_targets_that_exist() -> None:
    text = (REPO / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(
        encoding="utf-8"
    ) + CONTRIBUTING
    targets = re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.MULTILINE)
    assert len(named) > 5
    assert set(named) <= set(targets)


def test_modules_of_the_documentation_load() -> None:
    assert all(isinstance(load(name), ModuleType) for name in ("sample", "pictures", "generate"))
