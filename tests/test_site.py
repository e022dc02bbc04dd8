"""The site is built without a warning, its pages run, its links lead somewhere, and every public name is in it."""

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("myst_nb", reason="needs the extra docs: pip install 'voltaspin[docs]'")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
#: The thirteen questions of users that the how-to pages answer, by the page of each.
QUESTIONS = {
    "install", "gpu", "columns", "find-a-name", "own-pictures", "array-and-study-files", "why-pulses-differ",
    "exit-codes-and-json", "what-out-overwrites", "curves-in-my-figure", "versions", "time-and-memory",
    "live-instruments",
}  # fmt: skip
TUTORIALS = ("tutorials/device.html", "tutorials/hardware.html", "tutorials/images.html", "tutorial-lab.html")


class Page(HTMLParser):
    """Anchors, links, what a browser fetches by itself, and pictures of a page."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.fetched, self.pictures = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[k] for k in ("id", "name") if found.get(k)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.fetched.append(found["src"])
        if tag == "link" and found.get("rel") not in ("canonical",) and found.get("href"):
            self.fetched.append(found["href"])
        if tag == "img":
            self.pictures.append(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the site, built from a copy of nothing: the sources are those of the checkout."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-E",
        "-W",
        "--keep-going",
        "-q",
        "docs",
        str(out / "html"),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [*command, "-d", str(out / "trees")], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr[-8000:]
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {p.relative_to(site).as_posix(): Page(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}


def test_every_link_inside_the_site_leads_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = target.resolve()
            if not target.is_file():
                broken.append((name, link))
            elif parts.fragment and target.suffix == ".html":
                anchors = pages[target.relative_to(site.resolve()).as_posix()].anchors
                if unquote(parts.fragment) not in anchors:
                    broken.append((name, link))
    assert broken == []


def test_no_page_asks_another_host(site, pages):
    asked = [(name, url) for name, page in pages.items() for url in page.fetched if urlsplit(url).netloc]
    assert asked == []
    styles = {
        p.name: re.findall(r"url\([\"']?(https?:)?//", p.read_text(encoding="utf-8")) for p in site.rglob("*.css")
    }
    assert not [name for name, urls in styles.items() if urls]


def test_every_picture_has_a_text(pages):
    assert [(name, p.get("src")) for name, page in pages.items() for p in page.pictures if not p.get("alt")] == []


def test_every_public_name_is_documented(pages):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        listed = import_module("generated").packages()
    finally:
        sys.path.remove(str(ROOT / "docs"))
    missing, everywhere = [], set().union(*(page.anchors for page in pages.values()))
    for package in listed:
        page = pages[f"reference/generated/{package.replace('.', '-')}.html"]
        for name in import_module(package).__all__:
            thing = getattr(import_module(package), name)
            a_module = inspect.ismodule(thing) and f"module-{thing.__name__}" in everywhere
            if not a_module and f"{package}.{name}" not in page.anchors:
                missing.append(f"{package}.{name}")
    assert missing == []


def test_every_command_and_kind_is_documented(site):
    text = (site / "reference/generated/commands.html").read_text(encoding="utf-8")
    for command in (
        "demo",
        "device fit",
        "device measure",
        "bits",
        "randomness",
        "memory export",
        "schema",
        "template",
    ):
        assert f"voltaspin {command}<" in text, command
    from voltaspin.core.result import kinds

    page = (site / "reference/generated/schemas.html").read_text(encoding="utf-8")
    assert not [
        kind for kind, c in kinds().items() if c.__module__.startswith("voltaspin.") and f">{kind}<" not in page
    ]


def test_the_questions_and_tutorials_are_there_and_two_clicks_away(pages):
    assert QUESTIONS <= {Path(name).stem for name in pages if name.startswith("howto/")}
    assert set(TUTORIALS) <= set(pages["index.html"].links)
    assert {f"{q}.html" for q in QUESTIONS} <= set(pages["howto/index.html"].links)
    assert "howto/index.html" in pages["index.html"].links
    assert "reference/index.html" in pages["index.html"].links


#: The clicks of each kind of user from the start page, and a text of the page that they reach.
DOORS = {
    "device physicist": (["From a table to a junction and its bits"], "vcma.csv"),
    "hardware architect": (["From a model folder to arrays, their cost and a Pareto front"], "front"),
    "machine-learning researcher": (["From your own pictures to a scored model"], "voltaspin train"),
    "experimenter": (["From the bench to images"], "instrument"),
    "who looks for a class": (["Reference", "Python names"], "voltaspin"),
    "who asks what to install": (["how-to pages", "What do I install for junctions or bits only?"], "diffusion"),
}


@pytest.mark.parametrize("who", DOORS)
def test_every_user_gets_there_in_three_clicks(site, browser, who):
    clicks, reached = DOORS[who]
    assert len(clicks) <= 3
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "index.html").as_uri())
    for text in clicks:
        page.locator("#main-content a, .navbar-header-items a", has_text=text).locator("visible=true").first.click()
    assert reached in page.locator("#main-content").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_can_be_read(site, browser, faint, tmp_path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for name in ("index.html", "start.html", "inplace.html", "howto/index.html", "reference/index.html", *TUTORIALS):
        page.goto((site / name).as_uri())
        page.wait_for_load_state()
        assert page.evaluate("document.documentElement.scrollWidth") == width, name
        assert faint(page) == [], name
        assert page.locator("#main-content img:not([alt]), #main-content img[alt='']").count() == 0, name
        page.screenshot(path=tmp_path / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
