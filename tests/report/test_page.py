"""The page stands alone, escapes what it is given, and shows the numbers of the results."""

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, interval
from voltaspin.core.quantity import Estimate
from voltaspin.report.demo_page import required_pictures, summary_table, write_page
from voltaspin.report.demo_results import QualityPair
from voltaspin.report.page import symbols


class Loads(HTMLParser):
    """Everything that a browser would fetch, every id, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.other: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "source"):
            self.open.append(tag)
        for name, value in attrs:
            if tag == "img" and name == "src":
                self.images.append(value)
            elif tag == "source" and name == "srcset":
                assert value.startswith("data:image/png;base64,")
            elif tag == "a" and name == "href":
                assert value.startswith("#part-")
            elif name in ("src", "href", "srcset", "data", "action", "poster"):
                self.other.append((tag, value))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def parsed(html: str) -> Loads:
    loads = Loads()
    loads.feed(html)
    loads.close()
    return loads


@pytest.fixture(scope="module")
def html(results, pictures, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(results, pictures, path)
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]  # no temporary file is left
    return path.read_text(encoding="utf-8")


def test_page_stands_alone(html, pictures):
    page = parsed(html)
    assert len(page.images) == len(pictures)
    assert all(src.startswith("data:image/png;base64,") for src in page.images)
    assert page.other == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r'src(set)?="data:[^"]*"', "", html))
    assert page.open == []
    assert page.tags.count("section") == 7


def test_page_asks_the_browser_to_load_nothing(html):
    assert "default-src 'none'; img-src data:" in html


def test_page_shows_the_numbers_of_the_results(html, results):
    text = " ".join(parsed(html).text.split())
    live, study = results.quality.live, results.quality.study
    shown = [interval(row.kid) for q in (live, study) for row in (*q.rows, q.floor, *q.yardsticks)]
    shown += [interval(row.fd) for row in study.rows]
    shown += [interval(d.kid) for d in live.differences]
    shown += [interval(b.bias) for b in (results.memory.raw, results.memory.conditioned)]
    shown += [f"{c.p01:.4f}" for c in results.device.corners]
    shown += [f"{n:,}" for n in results.cost.counts.values()]
    shown += [row.name for row in (*results.cost.rows, *results.cost.normals)]
    shown += list(results.cost.counterweights)
    shown += [c.name for c in results.reverse.conditions]
    shown += [results.command, f"seed {results.seed}", "torch 2.13.0", "together 96 s"]
    assert [s for s in shown if s not in text] == []


def test_the_claim_stands_with_its_ranges_and_verdicts(html, results):
    text = " ".join(parsed(html).text.split())
    claim, work = results.cost.figure_of_merit, results.cost.figure_of_merit.work
    shown = [energies(e) for e in work.networks.values()] + list(work.findings) + list(work.published)
    shown += [s.name for s in work.supplies] + [f"{j.normals:,}" for j in work.jobs] + ["no <counter> here"]
    shown += [x for line in claim.lines() for x in (line.needed, line.had, line.verdict)]
    shown += ["2 pulses, 0.04 resets, 2 reads and 1 xor."]
    assert [s for s in shown if s not in text] == []
    assert "Where the claim is met" in text


def test_without_a_figure_of_merit_its_section_is_left_out(results, pictures, tmp_path):
    bare = results.model_copy(update={"cost": results.cost.model_copy(update={"figure_of_merit": None})})
    write_page(bare, {k: v for k, v in pictures.items() if k not in ("claim", "image")}, tmp_path / "p.html")
    page = parsed((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert page.tags.count("section") == 6


def test_changed_results_change_the_page(html, results, pictures, tmp_path):
    device = results.device.model_copy(update={"lag1": Estimate(value=0.7654, low=0.7, high=0.8)})
    write_page(results.model_copy(update={"device": device}), pictures, tmp_path / "p.html")
    changed = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "0.765 (" in changed or "0.77 (" in changed
    assert "0.77 (" not in html


def test_page_says_what_is_simulated(html):
    text = " ".join(parsed(html).text.split())
    assert "pseudo-random generator. Statistics of the device, no physical randomness." in text
    assert "Bits measured on a device earlier and replayed; nothing is pseudo-random. Recorded bits." in text
    assert "no long-term memory" in text
    assert "only the abstract and the introduction could be read" in text
    assert "Bits of the operating system" not in text  # no such condition


def test_everything_is_escaped(results, pictures, tmp_path):
    evil = "<script>alert(1)</script>"
    first = results.reverse.conditions[0].model_copy(update={"name": evil, "noise": evil})
    reverse = results.reverse.model_copy(update={"conditions": (first, *results.reverse.conditions[1:])})
    chosen = results.device.chosen.model_copy(update={"verdict": evil + " V_c"})
    device = results.device.model_copy(update={"chosen": chosen, "junction": '"><img src=x>'})
    changed = results.model_copy(
        update={
            "reverse": reverse,
            "device": device,
            "title": evil,
            "command": evil,
            "configuration": {"a": "</pre>" + evil},
            "environment": {evil: evil},
        }
    )
    write_page(changed, pictures, tmp_path / "p.html")
    page = parsed((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(src.startswith("data:") for src in page.images)
    assert page.text.count(evil) >= 7
    assert page.open == []


def test_pictures_must_be_the_right_ones(results, pictures, tmp_path):
    path = tmp_path / "p.html"
    with pytest.raises(InputError, match="lacks cost, condition:raw"):
        write_page(results, {k: v for k, v in pictures.items() if k not in ("cost", "condition:raw")}, path)
    with pytest.raises(InputError, match="no place for holiday"):
        write_page(results, pictures | {"holiday": pictures["main"]}, path)
    with pytest.raises(InputError, match="no PNG"):
        write_page(results, pictures | {"main": b"GIF89a"}, path)
    assert not path.exists()


def test_optional_picture_and_missing_study(results, pictures, tmp_path):
    quality = QualityPair(live=results.quality.live, study_reason="not shipped")
    live_only = results.model_copy(update={"quality": quality})
    assert "quality_study" not in required_pictures(live_only)
    given = {k: v for k, v in pictures.items() if k != "quality_study"} | {"reverse": pictures["forward"]}
    write_page(live_only, given, tmp_path / "p.html")
    text = parsed((tmp_path / "p.html").read_text(encoding="utf-8")).text
    assert "No larger study beside it: not shipped." in text
    assert "sampler's state" in text


def test_an_undetected_control_is_called_out(results, pictures, tmp_path):
    live = results.quality.live
    blind = live.model_copy(update={"control": live.control.model_copy(update={"detected": False})})
    write_page(
        results.model_copy(update={"quality": results.quality.model_copy(update={"live": blind})}),
        pictures,
        tmp_path / "p.html",
    )
    assert "not detected: this comparison is too small" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_verdicts(results):
    live = results.quality.live
    assert live.verdict("xor") == "equivalent within ±0.001"
    assert live.verdict("raw") == "worse than software"
    assert live.verdict("software") == "–"
    wide = live.differences[0].model_copy(update={"equivalent": False})
    assert live.model_copy(update={"differences": (wide,)}).verdict("xor") == "not shown equivalent within ±0.001"
    bare = live.differences[0].model_copy(update={"equivalent": None, "margin": None})
    assert live.model_copy(update={"differences": (bare,)}).verdict("xor") == "no difference resolved"


def test_summary_shows_the_same_numbers(results):
    console = Console(width=220, file=io.StringIO())
    console.print(summary_table(results))
    text = console.file.getvalue()
    assert interval(results.memory.raw.bias) in text
    assert interval(results.quality.study.rows[0].fd) in text
    assert "2.9 (2.6 to 3.2) pJ" in text
    assert "misses ±0.01" in text


def test_symbols_escape_first():
    assert symbols("1.3 V_c <b>") == "1.3 <i>V</i><sub>c</sub> &lt;b&gt;"


def test_the_report_package_is_cheap_to_import():
    import subprocess
    import sys

    code = (
        "import sys, voltaspin.report as r; r.price; r.write_page; "
        "print([m for m in ('torch', 'diffusers', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
