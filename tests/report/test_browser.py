"""The pages in a real browser: on a desk and on a phone, in light and in dark."""

import pytest

from voltaspin.report.demo_page import write_page
from voltaspin.report.page import picture, render

pytestmark = pytest.mark.slow

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
#: What reaches beyond the right edge, outside of a part that scrolls by itself.
WIDE = """() => [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest(".scroll, .wide, .designs, pre, .unseen")).map(e => e.tagName + "." + e.className)"""


@pytest.fixture(scope="module")
def demo_html(results, pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(results, pictures, path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_demo_page(demo_html, browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(demo_html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(WIDE) == []
    assert page.evaluate(FAINT) == []
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    shown = page.locator("picture img").first.evaluate("i => i.currentSrc.length")
    assert (shown == page.locator("picture source").first.evaluate("s => s.srcset.length")) is (width == 390)
    page.locator(".contents a", has_text="Quality").click()
    assert abs(page.locator("h2", has_text="Quality").first.evaluate("e => e.getBoundingClientRect().top")) < 60


def test_scopes_captions_and_contents(demo_html, browser):
    page = browser.new_page()
    page.goto(demo_html.as_uri())
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator(".contents a").count() == page.locator("main h2").count()


def test_a_page_without_headings_has_no_contents():
    html = render("study", title="x", paragraphs=["p"], figure="", axes=[], head=(), rows=[], parts=[], command="c",
                  effort="e")  # fmt: skip
    assert "<nav" not in html
    assert "contents -->" not in html


def test_a_picture_for_a_phone_stands_beside_the_wide_one(pictures):
    png = pictures["switching"]
    assert picture(png, "a < b").count("&lt;") == 1
    assert "<picture>" in picture(png, "x", png)
