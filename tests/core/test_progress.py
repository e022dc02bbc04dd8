"""Progress of long work: pace and time left, and the three places where it is shown."""

import io

import pytest
from rich.console import Console

import voltaspin
from voltaspin.core import progress as module
from voltaspin.core.context import progress_of_wait
from voltaspin.core.progress import Pace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "EVERY", 10.0)
    monkeypatch.setattr(module.time, "monotonic", made)
    return made


def test_a_pace_says_how_fast_it_goes_and_how_long_it_takes(clock):
    pace = Pace(per=10, unit="images", clock=clock)
    assert pace.at(1, 100) == ""
    clock.now = 10.0
    assert pace.at(11, 100) == "10 images a second, 89 s left"
    assert pace.at(11, None) == "10 images a second"
    clock.now = 99.0
    assert pace.at(100, 100) == "10 images a second, took 99 s"
    assert pace.at(0, 5) == ""  # the same work from the start
    clock.now = 109.0
    assert pace.at(0, 5) == "nothing new meanwhile"


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    with voltaspin.progress("train, loss {:.4f}", per=10, unit="images") as progress:
        for step in range(1, 101):
            progress(step, 100, 0.5)
            clock.now += 1.0
        progress(100, 100, 0.5)  # the end is said once
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "voltaspin: train, loss 0.5000: 11 of 100, 10 images a second, 89 s left"
    assert lines[-1] == "voltaspin: train, loss 0.5000: 100 of 100, 10 images a second, took 99 s"


def test_lines_of_a_long_run_become_fewer(clock, capsys):
    progress = voltaspin.progress("sample")
    for done in range(10_000):
        progress(done, 10_000)
        clock.now += 10.0
    lines = capsys.readouterr().err.splitlines()
    assert 50 < len(lines) < 400  # and not ten thousand: with one for every fiftieth of the time there are about 250


def test_short_work_leaves_a_log_empty(clock, capsys):
    with voltaspin.progress() as progress:
        for part in ("first", "second"):
            for done in range(4):
                progress(part, done, 3)
                clock.now += 1.0
    assert capsys.readouterr() == ("", "")


def test_a_block_shows_waits_inside_it(clock, capsys):
    with voltaspin.progress():
        told = progress_of_wait("solve {pulses}")
        told(0, 8)
        clock.now = 20.0
        told(2, 8)
    assert progress_of_wait("solve") is None
    assert capsys.readouterr().err == "voltaspin: solve {pulses}: 2 of 8, 0.1 a second, 60 s left\n"


def test_every_form_of_the_numbers_is_understood(clock, capsys):
    progress = voltaspin.progress("fit")
    progress(0, None, 2.0)
    clock.now = 40.0
    progress(3, None, 0.25)  # steps of unknown number, and a distance
    clock.now = 60.0
    progress(1, 4, "a {name}")  # conditions of a study
    clock.now = 80.0
    progress("2 memory: bits", 1, 4)  # parts
    said = [line.removeprefix("voltaspin: ") for line in capsys.readouterr().err.splitlines()]
    assert said[0] == "fit, 0.25: step 3, 0.075 a second"
    assert said[1].startswith("fit, a {name}: 1 of 4")
    assert said[2] == "2 memory: bits: 1 of 4"


def test_nothing_is_shown_where_it_is_to_be_quiet(clock, capsys):
    with voltaspin.progress(quiet=True) as progress:
        progress(0, 2)
        clock.now = 100.0
        progress(1, 2)
        progress.say("a remark")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_for_each_part_and_prints_each_once(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(module, "_view", lambda: module._Bars(screen))
    progress = voltaspin.progress("without a block")
    for done in range(3):
        progress(done, 2)
    for done in range(3):
        progress("[bold]second", done, 2)
    with voltaspin.progress("in a block") as inside:
        inside(1, 2)
    said = screen.file.getvalue()
    first, second, third = (said.rindex(title) for title in ("without a block", "[bold]second", "in a block"))
    assert first < said.index("[bold]second") <= second < said.index("in a block")  # what ended is not printed again
    assert [said[place:].splitlines()[0].count("2/2") for place in (first, second, third)] == [1, 1, 0]
    assert "1/2" in said[third:]


NOTEBOOK = """
import voltaspin
with voltaspin.progress("draw <images>") as progress:
    for done in range(5):
        progress(done, 4)
    progress("fit", 3, None, 0.5)
"""


def test_a_notebook_has_a_bar_that_moves_and_stays():
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (shown,) = notebook.cells[0].outputs  # one table, which was replaced
    table = shown["data"]["text/html"]
    assert '<progress value="4" max="4" aria-label="draw &lt;images&gt;">' in table
    assert "4 of 4" in table
    assert '<progress aria-label="fit, 0.5">' in table
    assert "step 3" in table
    assert not module._in_notebook()  # here
