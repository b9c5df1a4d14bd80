"""The documentation: links resolve, commands parse, figures have a command, the site builds."""

from __future__ import annotations

import ast
import dataclasses
import html.parser
import importlib.util
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from printed import FENCE, INLINE, PAGES, REPO, leaves, pages_in_order, printed_on, read_page
from traces import record, write

import yolo_stability
import yolo_stability.compat.cfg
from yolo_stability.benchmarks.request import checked_suite
from yolo_stability.benchmarks.suite import load_suite
from yolo_stability.cli import main as cli
from yolo_stability.cli.commands import VERBS
from yolo_stability.cli.main import main
from yolo_stability.config import StabilitySettings
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.interventions.switches import Switches
from yolo_stability.studies.frontier.request import make_request

sys.path.insert(0, str(REPO / "tests" / "install"))

from expected import to_run, why_left_out

DOCS = REPO / "docs"
WRITTEN = sorted(path for path in PAGES.rglob("*.md") if path.parent.name != "generated")
NAMES = [path.relative_to(PAGES).as_posix() for path in WRITTEN]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MEASURED = re.compile(
    r"(?<![\w.])\d+\.\d+(?! or newer)|\d+e-?\d|\d[\d,]* (?:ms|s|MB|GB|kB|bytes|minutes|hours|runs)\b|\d ?%"
)
COMMAND = re.compile(
    r"`(?:yolo-stability|make|pytest|python) |^(?:yolo-stability|make|pytest|python) ", re.MULTILINE
)
TARGETS = re.compile(r"^([\w-]+):.*## ", re.MULTILINE)
FROM_RUNS = {"frontier", "probe", "remedies", "report-light"}
"""Pictures that the command beside them writes; all others are drawn by a script of `docs/`."""
REPORT_BYTES = 6_000_000


def load(name: str) -> ModuleType:
    """Import a script of `docs/`, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def site_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the pages and write the generated ones beside them."""
    folder = tmp_path_factory.mktemp("docs") / "docs"
    shutil.copytree(
        DOCS, folder, ignore=shutil.ignore_patterns("generated", "site", ".cache", "__pycache__")
    )
    load("generate").main(folder / "pages" / "generated")
    return folder


# --- links ----------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return the anchors of a page: of a heading its words in lower case, joined by dashes."""
    plain = FENCE.sub("", text)
    titles = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles
    }


def broken_links(page: Path, root: Path) -> list[str]:
    """Return the links of a page that lead nowhere, or out of the site."""
    bad = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, anchor = urldefrag(target)
        file = (page.parent / unquote(path)).resolve() if path else page
        inside = file.is_file() and file.is_relative_to(root)
        if not inside or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            bad.append(target)
    return bad


def test_every_link_leads_somewhere(site_sources: Path) -> None:
    root = (site_sources / "pages").resolve()
    pages = sorted(root.rglob("*.md"))
    assert len(pages) > len(WRITTEN)
    assert {
        page.relative_to(root).as_posix(): bad
        for page in pages
        if (bad := broken_links(page, root))
    } == {}


@pytest.mark.parametrize(
    "text", ["[a](b.md)", "[a](#there)", "[a](../../README.md)", "![a](img/b.png)"]
)
def test_a_broken_link_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "pages").mkdir()
    page = tmp_path / "pages" / "page.md"
    page.write_text(f"# Here\n\n{text} [good](#here) [good](page.md#here)\n")
    assert len(broken_links(page, tmp_path / "pages")) == 1


def test_every_page_is_in_the_navigation_and_every_picture_is_small_and_shown(
    site_sources: Path,
) -> None:
    nav = tomllib.loads((DOCS / "zensical.toml").read_text())["project"]["nav"]
    listed = {value for entry in nav for value in leaves(entry)}
    pages = {
        path.relative_to(site_sources / "pages").as_posix()
        for path in (site_sources / "pages").rglob("*.md")
    }
    assert listed == pages
    text = "".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    for picture in sorted((PAGES / "img").iterdir()):
        assert picture.stat().st_size < 150_000, picture.name
        assert f"img/{picture.name}" in text
    drawn = {*load("gallery").SIGNATURES, *load("pictures").DRAWN}
    assert {path.stem for path in (PAGES / "img").iterdir()} - drawn == FROM_RUNS


# --- commands -------------------------------------------------------------------------------------


def ours(text: str) -> list[list[str]]:
    """Return the words of each line of our program, without its name."""
    lines = [shlex.split(line.text) for line in printed_on("", text) if not line.python]
    return [words[1:] for words in lines if words[0] == "yolo-stability"]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder with the files that commands name, and an API that only validates."""
    ended = SimpleNamespace(
        lines=list, to_json=dict, lost=(), open=(), identical=True, checks=(), environment=()
    )
    module = ModuleType("yolo_stability.api")

    def benchmark(suite: str, **changes: Any) -> Any:
        run = {"out", "jobs", "executor", "address"}
        asked = {key: changes.pop(key, None) for key in ("seeds", "arms", "model", "data", "task")}
        overrides = {key: value for key, value in changes.items() if key not in run}
        if not suite.endswith(".yaml"):
            checked_suite(load_suite(suite), **asked, overrides=overrides)
        return ended

    def frontier(axis: str, **asked: Any) -> Any:
        make_request(
            axis,
            **{
                key: value for key, value in asked.items() if key not in {"out", "jobs", "executor"}
            },
        )
        return ended

    def train(task: str | None, *, settings: StabilitySettings, **_: Any) -> Any:
        Switches(settings)
        return SimpleNamespace(stopped=None)

    for name, fake in {
        "benchmark": benchmark,
        "bundle": lambda run, out: ended,
        "frontier": frontier,
        "train_checked": train,
        "compare": lambda *_, **__: ended,
        "verify": lambda *_, **__: ended,
        "examine": lambda _, log: SimpleNamespace(
            diagnosis=SimpleNamespace(verdict="stable"), reproduced=None, to_json=dict
        ),
        "mechanics": lambda *_, **__: SimpleNamespace(studies=(), out=Path("runs")),
        "probe_checked": lambda request: (),
        "draw_probes": lambda *_: Path("probe.png"),
    }.items():
        setattr(module, name, fake)
    monkeypatch.setitem(sys.modules, "yolo_stability.api", module)
    for name in ("show_examined", "show_probes"):
        monkeypatch.setattr(f"yolo_stability.cli.show.{name}", lambda *_: None)
    monkeypatch.setattr(
        "yolo_stability.data.check.check.check_data",
        lambda *_, **__: SimpleNamespace(lines=list, damaged=False),
    )
    monkeypatch.setattr(
        "yolo_stability.data.resolve.resolve_data", lambda *_: SimpleNamespace(data="", notes=())
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint_of(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a line against the fake API; return its errors, empty if it is well-formed."""
    for word in words:
        path = word.partition("=")[2]
        if re.fullmatch(r"[\w./-]+/[\w.-]+\.(pt|yaml)", path):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
    code = main(words)
    errors = capsys.readouterr().err
    return "" if code == 0 else f"{shlex.join(words)}: {code}: {errors}"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_parses(name: str, stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ours((PAGES / name).read_text(encoding="utf-8"))
    assert [errors for words in found if (errors := complaint_of(words, stage, capsys))] == []


def test_every_command_parses_as_it_is_run_from_the_wheel(
    stage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shortened, and those of the README, too."""
    lines = [
        line
        for page in pages_in_order()
        for line in printed_on(page, read_page(page))
        if not line.python
    ]
    run = dict.fromkeys(to_run(line) for line in lines if not why_left_out(line))
    assert len(run) > 60
    errors = [
        complaint_of(shlex.split(text)[1:], stage, capsys)
        for text in run
        if text.startswith("yolo-stability ")
    ]
    assert [text for text in errors if text] == []


@pytest.mark.parametrize(
    "line",
    [
        "trian data=shapes",
        "train data=shapes model=yolo26n.yaml resuce=auto",
        "train data=shapes model=yolo26n.yaml norm=bacth",
        "train data=shapes model=yolo26n.yaml lr0=5",
        "benchmark suite=quikc",
        "benchmark suite=quick arms=contrl",
        "benchmark suite=quick epoch=3",
        "frontier axis=lr_mlt",
        "compare runs/a runs/b output=c",
        "list rulse",
        "data chekc shapes",
        "probe data=shapes inti=lsuv",
    ],
)
def test_a_wrong_command_is_found(
    line: str, stage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint_of(line.split(), stage, capsys)


def test_the_pages_show_every_verb_and_only_targets_of_make_that_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    verbs = {word for words in ours(text) for word in words if word in VERBS}
    assert verbs == set(VERBS)
    targets = set(TARGETS.findall((REPO / "Makefile").read_text()))
    named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.MULTILINE))
    assert named
    assert named <= targets


def test_scripts_and_tests_that_are_named_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in WRITTEN)
    named = set(re.findall(r"\b(?:docs|notebooks|tests)/[\w/.-]+\.(?:py|ipynb)", text))
    assert named
    assert [name for name in sorted(named) if not (REPO / name).is_file()] == []


@pytest.mark.parametrize("name", NAMES)
def test_python_blocks_are_python_and_import_what_exists(name: str) -> None:
    for language, body in FENCE.findall((PAGES / name).read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and node.module == "yolo_stability":
                assert {alias.name for alias in node.names} <= set(yolo_stability.__all__)


# --- figures --------------------------------------------------------------------------------------


def bare_figures(text: str, *, whole: bool = False) -> list[str]:
    """Return measured figures whose section, or whose whole page, shows no command that makes them."""
    found = []
    for section in [text] if whole else re.split(r"^(?=#+ )", text, flags=re.MULTILINE):
        prose = INLINE.sub("", re.sub(r"`[^`\n]+`", "", FENCE.sub("", section)))
        prose = LINK.sub("", prose)
        console = "".join(
            body for language, body in FENCE.findall(section) if language == "console"
        )
        if not COMMAND.search(f"{FENCE.sub('', section)}\n{console}"):
            found += MEASURED.findall(prose)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_figure_without_a_command(name: str) -> None:
    text = (PAGES / name).read_text(encoding="utf-8")
    assert bare_figures(text, whole=name.startswith("measured/")) == []


@pytest.mark.parametrize(
    "text", ["It takes 3 ms.", "A share of 0.96.", "It fell to 2e-6.", "In 12 runs.", "By 4 %."]
)
def test_a_bare_figure_is_found(text: str) -> None:
    assert bare_figures(f"# Title\n\n{text}\n")
    assert bare_figures(f"# Title\n\n{text} `make bench`\n") == []
    later = f"# Title\n\n{text}\n\n## Next\n\n```console\nmake bench\n```\n"
    assert bare_figures(later)
    assert bare_figures(later, whole=True) == []
    assert bare_figures(f"# Title\n\n{text}\n", whole=True)


# --- what is read off the code --------------------------------------------------------------------


def test_every_public_name_is_on_the_page_of_the_python_api() -> None:
    text = (PAGES / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: yolo_stability\.(\w+)$", text, re.MULTILINE)) == sorted(
        yolo_stability.__all__
    )


def test_generated_pages_hold_every_key_and_column(site_sources: Path, tmp_path: Path) -> None:
    pages = {
        path.stem: path.read_text(encoding="utf-8")
        for path in (site_sources / "pages/generated").glob("*.md")
    }
    given = inspect.signature(yolo_stability.StabilityMonitor).parameters
    assert sorted(re.findall(r"^\| `(\w+)=`", pages["keys"], re.MULTILINE)) == sorted(
        {*given} - {"requested"}
    )
    trace = yolo_stability.load_trace(write(tmp_path, [record(0)]))
    assert trace.epochs is not None
    for table, columns in (
        ("trace.steps", trace.steps.columns),
        ("trace.blocks", trace.blocks.columns),
        ("trace.events", trace.events.columns),
        ("trace.epochs", [*trace.epochs.columns, "val/<name>", "metrics/<name>"]),
    ):
        section = pages["trace"].split(f"## {table}\n")[1].split("\n## ")[0]
        shown = {
            name.partition("/")[0]
            for name in re.findall(r"^\| `([\w/<>]+)`", section, re.MULTILINE)
        }
        assert shown == {column.partition("/")[0] for column in columns}
    assert set(re.findall(r"^## (\w+)$", pages["commands"], re.MULTILINE)) == set(VERBS)
    for example in (REPO / "notebooks" / "examples").glob("*.py"):
        assert example.read_text(encoding="utf-8") in pages["examples"]
    assert {f"`{word}`" for word in cli.ELSEWHERE} <= set(re.findall(r"`\w+`", pages["commands"]))


def test_the_pages_of_rules_and_causes_are_complete(site_sources: Path) -> None:
    folder = site_sources / "pages/generated"
    rules, causes = ((folder / f"{n}.md").read_text(encoding="utf-8") for n in ("rules", "causes"))
    assert re.findall(r"^## (\w+)$", rules, re.MULTILINE) == list(RULES)
    assert re.findall(r"^## (\w+)$", causes, re.MULTILINE) == list(CAUSE_DESCRIPTIONS)
    for name in RULES:
        section = rules.split(f"## {name}\n")[1].split("\n## ")[0]
        shown = re.findall(r"^\| `(\w+)` \| [\d.e-]+ \| \S", section, re.MULTILINE)
        assert shown == [f.name for f in dataclasses.fields(RULES[name])]
        assert "What to try:" in section
        pictures = re.findall(r"\((rules/\w+\.png)\)", section)
        assert len(pictures) == RULES[name].unsettles or name == "stall"
        assert all((folder / picture).stat().st_size < 100_000 for picture in pictures)
    for name, cause in CAUSE_DESCRIPTIONS.items():
        section = causes.split(f"## {name}\n")[1].split("\n## ")[0]
        assert cause.meaning in section
        assert all(f"- {text}" in section for text in (*cause.points_to, *cause.remedies))


# --- the site -------------------------------------------------------------------------------------


class References(html.parser.HTMLParser):
    """What a built page points to, what it loads, and its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {str(given["id"])} if given.get("id") else set()
        loads = (
            given.get("src")
            if tag in {"img", "script"}
            else given.get("href")
            if tag == "link"
            else None
        )
        self.loads += [loads] if loads else []
        self.links += [str(given["href"])] if tag == "a" and given.get("href") else []


def test_the_site_builds_and_every_link_in_it_resolves(site_sources: Path) -> None:
    missing = [
        name for name in ("zensical", "mkdocstrings") if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: the site is not built")
    config = site_sources / "zensical.toml"
    text = config.read_text().replace(
        '[".."]', f'["{REPO.as_posix()}"]'
    )  # snippets and docstrings are in the repository
    config.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(config)],
        cwd=site_sources,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    site = site_sources / "site"
    report = site / "generated" / "report.html"
    pages = {
        path: References(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.stem != "404" and path != report
    }
    assert len(pages) == len(list((site_sources / "pages").rglob("*.md")))
    bad = []
    for path, page in pages.items():
        for target in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:|//", target):
                bad += [(path.name, target)] if target in page.loads else []
                continue
            name, anchor = urldefrag(target)
            file = (path.parent / unquote(name)).resolve() if name else path
            found = file.is_file() and (
                not anchor or file not in pages or anchor in pages[file].ids
            )
            bad += [] if found else [(path.name, target)]
    assert bad == []
    api = pages[site / "reference" / "api.html"].ids
    assert {f"yolo_stability.{name}" for name in yolo_stability.__all__} <= api
    assert report.stat().st_size < REPORT_BYTES
    assert all(f">{name}<" in report.read_text(encoding="utf-8") for name in ("hot", "rescued"))
    assert (site / "search.js").read_text(encoding="utf-8").startswith("var __index = ")
    assert all("iframe-worker.js" in " ".join(page.loads) for page in pages.values())
