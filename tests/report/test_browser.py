"""The pages in a real browser: on a desk and on a phone, in light and in dark."""

import pytest

from voltaspin.report.demo_page import write_page
from voltaspin.report.page import picture, render

pytestmark = pytest.mark.slow

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
def test_the_demo_page(demo_html, browser, faint, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(demo_html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(WIDE) == []
    assert faint(page) == []
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
