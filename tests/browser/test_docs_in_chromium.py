"""The documentation opened from its folder: search works without a server, and nothing is loaded from elsewhere."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

REPO = Path(__file__).resolve().parents[2]
WORD = "quarantine"
HITS = """word => {
  const walk = root => [...root.querySelectorAll('*')].flatMap(e => [
    ...(e.tagName === 'A' && e.textContent.toLowerCase().includes(word) ? [e.getAttribute('href')] : []),
    ...(e.shadowRoot ? walk(e.shadowRoot) : []),
  ]);
  return [...document.querySelectorAll('*')].filter(e => e.shadowRoot).flatMap(e => walk(e.shadowRoot));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build two pages with the configuration of the documentation."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed: the site is not built")
    folder = tmp_path_factory.mktemp("docs")
    pages = folder / "pages"
    (pages / "how-to").mkdir(parents=True)
    for name in ("iframe-worker.js", "style.css"):
        shutil.copy(REPO / "docs" / "pages" / name, pages)
    (pages / "index.md").write_text("# Start\n\nNothing here.\n")
    (pages / "how-to" / "bad-image.md").write_text(f"# Bad image\n\n## Exclude it\n\nA {WORD}.\n")
    text = (REPO / "docs" / "zensical.toml").read_text(encoding="utf-8")
    nav, rest = text.index("nav = ["), text.index("[project.theme]")
    (folder / "zensical.toml").write_text(text[:nav] + text[rest:], encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "zensical", "build", "-f", str(folder / "zensical.toml")],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "site"


@pytest.mark.parametrize("start", ["index.html", "how-to/bad-image.html"])
def test_search_works_in_a_page_that_is_opened_as_a_file(
    site: Path, chromium: Any, start: str
) -> None:
    context = chromium.new_context()
    context.set_offline(True)
    page = context.new_page()
    noise: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / start).as_uri())
    page.click(".md-search__button")
    page.keyboard.type(WORD, delay=30)
    end = time.monotonic() + 15
    while not (found := page.evaluate(HITS, WORD)) and time.monotonic() < end:
        time.sleep(0.1)
    context.close()
    assert found
    assert all("how-to/bad-image.html" in target for target in found)
    assert noise == []
    assert [url for url in requests if not url.startswith("file:")] == []
