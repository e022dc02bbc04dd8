"""In CI every property is tried on the same inputs each time, so that a run can be repeated; elsewhere on new ones.

``pytest -m installed`` reads only the files with tests of that mark, so that it runs where no extra is installed.
"""

import os
import shutil

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def no_lines_of_a_busy_machine(monkeypatch):
    """Many tests say what standard error holds, so that no line of progress may come because the machine is slow."""
    monkeypatch.setattr("voltaspin.core.progress.EVERY", 1e9)


#: Texts whose contrast with the ground below them is under 4.5, or under 3 where they are large (WCAG 2.1, AA).
FAINT = """() => {
  const channel = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 };
  const parse = t => { const n = t.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n[3] ?? 1 } };
  const light = rgb => .2126 * channel(rgb[0]) + .7152 * channel(rgb[1]) + .0722 * channel(rgb[2]);
  const ground = e => {
    for (let x = e; x; x = x.parentElement) {
      const b = parse(getComputedStyle(x).backgroundColor);
      if (b.a > .5) return b.rgb;
    }
    return getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18] : [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.closest(".unseen, details:not([open])")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const [a, b] = [light(parse(style.color).rgb), light(ground(e))].sort((x, y) => y - x);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const ratio = (a + .05) / (b + .05);
    if (ratio < needed) faint.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(faint)];
}"""


@pytest.fixture
def faint():
    """A function of a page in a browser: its texts that are too faint to read."""
    return lambda page: page.evaluate(FAINT)


@pytest.fixture
def browser():
    """Debian's Chromium, without a screen."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if (chromium := shutil.which("chromium")) is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("chromium is missing: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )  # fmt: skip
        yield made
        made.close()


def pytest_ignore_collect(collection_path, config):
    if config.option.markexpr != "installed":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return not any("pytest.mark.installed" in file.read_text(encoding="utf-8") for file in files) or None
