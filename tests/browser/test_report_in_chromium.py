"""`report.html` in a real browser: quiet, offline, accessible, and legible on a desk, at night and
on a phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sample_benchmark import BLOCKS, write_sample

from yolo_stability.report.write import write_report

pytestmark = pytest.mark.browser

ARMS = ("control", "huge-lr", "collapse", "skipping")
WIDTHS = (1440, 390)
SMALLEST_FONT = 10  # px
LOOK = """element => {
  const box = element.getBoundingClientRect();
  const texts = [...element.querySelectorAll('text')]
    .filter(t => t.textContent.trim() && t.getBoundingClientRect().width);
  return {
    width: box.width,
    drawn: element.querySelectorAll('.main-svg').length,
    marks: element.querySelectorAll(
      '.scatterlayer path.js-line, .scatterlayer path.point, .heatmaplayer image').length,
    fonts: texts.map(t => parseFloat(getComputedStyle(t).fontSize)).filter(size => size),
    outside: texts.filter(t => {
      const b = t.getBoundingClientRect();
      return b.left < box.left - 2 || b.right > box.right + 2
        || b.top < box.top - 2 || b.bottom > box.bottom + 2;
    }).map(t => t.textContent),
    rows: [...element.querySelectorAll('.ytick text, .y3tick text')]
      .map(t => t.getBoundingClientRect())
      .map(b => [b.top, b.bottom]).sort((a, b) => a[0] - b[0]),
    titles: [...element.querySelectorAll('.xtitle, .ytitle, .y2title')].map(t => t.textContent),
  };
}"""


@dataclass
class Visit:
    """A page that is open, and everything that it did beside being read."""

    page: Any
    noise: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def draw_all(self) -> list[Any]:
        """Scroll to every chart, as a reader would, and wait until it is drawn."""
        charts = self.page.query_selector_all("[data-chart]")
        for chart in charts:
            if chart.is_hidden():
                continue
            chart.scroll_into_view_if_needed()
            self.until("e => e.querySelector('.main-svg')", chart)
        return list(charts)

    def until(self, expression: str, argument: Any = None, seconds: float = 10) -> None:
        """Wait until something is so; the page forbids eval, on which playwright's own waiting
        rests."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(f"async x => Boolean(await ({expression})(x))", argument):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.05)


Open = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Any) -> Iterator[Open]:
    """Open a report in a context of its own; close it when the test ends."""
    contexts = []

    def opened(file: Path, width: int = 1440, scheme: str = "light", **more: Any) -> Visit:
        size = {"width": width, "height": 900 if width > 500 else 844}
        contexts.append(
            chromium.new_context(
                viewport=size, color_scheme=scheme, reduced_motion="reduce", **more
            )
        )
        page = contexts[-1].new_page()
        seen = Visit(page)
        page.on("console", lambda message: seen.noise.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.noise.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (seen.noise.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(file.as_uri())
        return seen

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with all that can happen to an arm, on one task."""
    folder = tmp_path_factory.mktemp("report")
    write_sample(folder, arms=ARMS, tasks=("detect",))
    return write_report(folder)[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report with every kind of element, on two tasks, that is quick to look through."""
    folder = tmp_path_factory.mktemp("small")
    write_sample(folder, arms=("control", "skipping"), blocks=BLOCKS[:6])
    return write_report(folder)[0]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report whose every name is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    write_sample(folder, arms=("control", "huge-lr", "skipping"), tasks=("detect",), hostile=True)
    return write_report(folder)[0]


@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_offline_without_a_sound_and_every_chart_is_legible(
    report: Path, visit: Open, width: int
) -> None:
    seen = visit(report, width, offline=True)
    charts = seen.draw_all()
    # curves; heat maps, one of the control; depth profiles, two of the control, which had no onset
    assert len(charts) == 4 + 7 + 11
    for chart in charts:
        look = seen.page.evaluate(LOOK, chart)
        name = chart.get_attribute("id")
        assert look["drawn"], name
        assert look["marks"] > 0, name
        assert 250 <= look["width"] <= width, name
        assert look["fonts"], name
        assert min(look["fonts"]) >= SMALLEST_FONT, name
        assert look["outside"] == [], name
        assert look["titles"], name
        gaps = [
            below[0] - above[0]
            for above, below in zip(look["rows"], look["rows"][1:], strict=False)
        ]
        assert all(gap >= SMALLEST_FONT for gap in gaps), name
    assert seen.noise == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_holds_the_answer(report: Path, visit: Open, width: int) -> None:
    page = visit(report, width).page
    height = page.viewport_size["height"]
    lead, first = page.locator(".lead").bounding_box(), page.locator(".comparisons li").first
    assert lead["y"] + lead["height"] < height / 2
    assert "2 of 3 arms failed: huge-lr and collapse." in page.locator(".lead").inner_text()
    box = first.bounding_box()
    assert box["y"] + box["height"] < height
    assert "first sign at step 5 in model.0 Conv" in first.inner_text()


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")]
)
def test_axe_finds_nothing(small: Path, visit: Open, width: int, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    seen = visit(small, width, scheme)
    seen.draw_all()
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(seen.page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_stand_out_from_the_page(report: Path, visit: Open, scheme: str) -> None:
    seen = visit(report, scheme=scheme)
    seen.draw_all()
    page = seen.page
    paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.05) if scheme == "dark" else (paper > 0.9)
    fills = page.evaluate(
        "[...document.querySelectorAll('[data-chart] text')].map(t => getComputedStyle(t).fill)"
    )
    lines = page.evaluate(
        "[...document.querySelectorAll('path.js-line')].map(t => getComputedStyle(t).stroke)"
    )
    assert len(fills) > 100
    assert len(lines) > 20
    assert min(contrast(luminance(fill), paper) for fill in set(fills)) >= 4.5
    assert min(contrast(luminance(line), paper) for line in set(lines)) >= 3


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)` as WCAG defines it."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Return the contrast of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_charts_follow_when_night_falls(report: Path, visit: Open) -> None:
    seen = visit(report)
    page = seen.page
    chart = page.locator("#g1-a1-curves")
    chart.scroll_into_view_if_needed()
    seen.until("() => document.querySelector('#g1-a1-curves .main-svg')")
    colour = "getComputedStyle(document.querySelector('#g1-a1-curves .xtitle')).fill"
    before = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    seen.until(f"() => {colour} !== '{before}'")
    assert luminance(page.evaluate(colour)) > 0.6 > luminance(before)


def test_the_keyboard_reaches_verdicts_seeds_and_tables(report: Path, visit: Open) -> None:
    seen = visit(report)
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdicts"
    page.keyboard.press("Enter")
    assert page.url.endswith("#matrix")
    seen.until("() => Math.abs(document.getElementById('matrix').getBoundingClientRect().top) < 60")
    page.locator("#g1-a3-heat-arm").scroll_into_view_if_needed()
    seen.until("() => document.querySelector('#g1-a3-heat-arm .main-svg')")
    shown = "JSON.stringify(document.getElementById('g1-a3-heat-arm').data[0].z)"
    before = page.evaluate(shown)
    page.locator("input[name=seed-g1-a3]").first.focus()
    page.keyboard.press("ArrowRight")
    seen.until(f"() => {shown} !== {before!r}")
    page.locator("section:has(> #g1-a3) summary").last.focus()
    page.keyboard.press("Enter")
    assert page.locator("section:has(> #g1-a3) details[open] table").count() == 1
    assert seen.noise == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_keyboard_unfolds_what_the_diagnosis_says(
    report: Path, visit: Open, width: int
) -> None:
    seen = visit(report, width)
    page = seen.page
    assert "likely cause: learning rate" in page.locator(".matrix").inner_text()
    finding = page.locator("section:has(> #g1-a2) details.diagnosed li").first
    assert not finding.is_visible()
    page.locator("section:has(> #g1-a2) details.diagnosed summary").first.focus()
    page.keyboard.press("Enter")
    assert finding.is_visible()
    assert "To try: lr_mult=0.1" in finding.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.noise == []


def test_a_verdict_leads_to_its_curves(report: Path, visit: Open) -> None:
    seen = visit(report)
    page = seen.page
    page.get_by_role("link", name="huge-lr, Detection: failed").click()
    seen.until("() => document.querySelector('#g1-a2-curves .main-svg')")
    assert abs(page.locator("#g1-a2").bounding_box()["y"]) < 60


@pytest.mark.smoke
def test_hostile_names_are_shown_not_run(hostile: Path, visit: Open) -> None:
    seen = visit(hostile, offline=True)
    seen.draw_all()
    assert seen.noise == []
    assert "huge-lr<script>alert(1)</script>" in seen.page.locator("#g1-a2").inner_text()
    legend = seen.page.locator("#g1-a2-curves .legendtext").all_text_contents()
    assert any(text.startswith("huge-lr<script>alert(1)") for text in legend)
    assert seen.page.evaluate("document.scripts.length") == 3
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 1440


def test_without_scripts_everything_is_there_in_words(report: Path, visit: Open) -> None:
    page = visit(report, java_script_enabled=False).page
    text = page.locator("body").inner_text()
    assert "The charts need JavaScript; the tables and text contain the same data." in text
    assert "total gradient norm" in text
    table = page.locator("section:has(> #g1-a2) details table").first
    assert "model.0 Conv" in (table.text_content() or "")


def test_paper_shows_all_charts_light_and_unfolded(
    report: Path, visit: Open, tmp_path: Path
) -> None:
    seen = visit(report, scheme="dark")
    page = seen.page
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen.until(
        "() => [...document.querySelectorAll('[data-chart]')].every(e => "
        "e.querySelector('.main-svg'))"
    )
    assert page.locator("details:not([open])").count() == 0
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    widths = page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map(e => e.getBoundingClientRect().width)"
    )
    assert max(widths) <= 44 * 16  # an A4 page between its margins
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 100_000
    assert seen.noise == []
