"""The tutorial of docs/tutorial-lab.md: its commands run as they stand, and what it says of their results holds."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voltaspin.device import Junction

pytest.importorskip("pyvisa")
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial-lab.md").read_text(encoding="utf-8")
#: What the page puts into the instrument, in SI.
TRUTH = Junction.of(re.search(r'--junction "(.*?)"', PAGE).group(1))
PUT_IN = {"xi": TRUTH.xi, "K_eff": TRUTH.K_eff(), "B_x": TRUTH.B_bias[0], "B_z": TRUTH.B_bias[2]}
BEGAN_AT = {"xi": 1e-13, "K_eff": Junction.of("generator").K_eff(), "B_x": 0.03, "B_z": 0.0}
UNITS = {"xi": 1e-15, "K_eff": 1e3, "B_x": 1e-3, "B_z": 1e-3}


def script():
    spec = importlib.util.spec_from_file_location("round_trip", ROOT / "examples" / "round_trip.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_commands_are_read_with_their_status():
    page = "```console\n$ one \\\n    --two\nput $ 5\n$ echo $?\n2\n```\n```python\n$ no\n```\n"
    page += "```console\n$ three\n```\n"
    assert script().commands(page) == [("one \\\n    --two", 2), ("three", 0)]


def test_the_page_has_commands_of_every_part_of_the_round_trip():
    text = "\n".join(command for command, _ in script().commands(PAGE))
    for part in (
        "device measure",
        "--resume",
        "device fit",
        "device characterise",
        "voltaspin bits",
        "randomness",
        "--conditioning",
        "sample",
    ):
        assert part in text


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The folder that all commands of the page leave, and what they print."""
    folder = tmp_path_factory.mktemp("tutorial") / "lab"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "examples" / "round_trip.py"), str(folder), "--port", str(port)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder, ended.stdout, ended.stderr


@pytest.mark.slow
def test_the_sweep_went_on_after_the_power_failure(lab):
    folder, out, err = lab
    assert "the power failed" in err
    assert "15 of 42 points are in sweep.csv; go on with --resume" in err
    assert "42 points in sweep.csv, 15 of them from before" in out
    rows = np.genfromtxt(folder / "sweep.csv", delimiter=",", skip_header=3, usecols=(0, 1, 4))
    assert (len(rows), len(np.unique(rows, axis=0))) == (42, 21)  # two directions each
    assert (rows[:, 2] == 200).all()


@pytest.mark.slow
def test_the_fit_finds_what_was_put_in_and_not_what_it_began_with(lab):
    fit = json.loads((lab[0] / "fitted" / "fit.json").read_text())
    assert fit["p_value"] > 1e-4  # where device fit begins to complain
    for name, found in fit["parameters"].items():
        assert found["low"] <= PUT_IN[name] <= found["high"], name
        assert not found["low"] <= BEGAN_AT[name] <= found["high"], name
        # The page's table, which has one decimal of an error or better.
        row = re.search(rf"^\| {name} .*?\| ([\d.]+) \| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \| ([\d.]+) \|$", PAGE, re.M)
        began, *came, truth = (float(number) * UNITS[name] for number in row.groups())
        assert [began, truth] == pytest.approx([BEGAN_AT[name], PUT_IN[name]], rel=1e-3)
        assert came == pytest.approx([found["value"], found["low"], found["high"]], abs=0.1 * found["error"])


@pytest.mark.slow
def test_the_fitted_junction_predicts_the_bits_of_a_pulse_that_was_not_swept(lab):
    folder, out, _ = lab
    predicted, error = map(float, re.search(r"p01 = ([\d.]+) \+- ([\d.]+)", out).groups())
    bits = np.unpackbits(np.fromfile(folder / "raw.bin", np.uint8))[:4_000_000]
    # 20,000 trajectories, 4,000,000 bits, and the fit, which knows this probability about as well.
    assert abs(bits.mean() - predicted) < 4 * np.hypot(np.sqrt(2) * error, 0.5 / np.sqrt(bits.size))


@pytest.mark.slow
def test_raw_bits_fail_conditioned_ones_pass_and_images_are_there(lab):
    folder, out, _ = lab
    verdicts = re.findall(r"^verdict +(.*)", out, re.M)
    assert verdicts[0].startswith("These bits are not ideal: bias shows")
    assert verdicts[1].startswith("No test distinguishes these")
    for images in ("images", "again"):
        assert len(list((folder / images).glob("image-*.png"))) == 16
    assert all((folder / name).is_file() for name in ("junction/index.html", "fitted/fit.png", "raw.png", "clean.png"))
    assert (folder / "raw.bin").stat().st_size == 500_000


NUMBER = r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
#: Numbers whose uncertainty stands beside them, and which share of it may come from another machine.
STATED = (
    (rf"({NUMBER}) ({NUMBER}) ({NUMBER}) to ({NUMBER})", lambda value, error, low, high: 0.2 * error),
    (rf"({NUMBER}) \(({NUMBER}) to ({NUMBER})\)", lambda value, low, high: 0.1 * (high - low)),
    (rf"({NUMBER}) \+- ({NUMBER})", lambda value, error: 0.5 * error),
)


def tolerances(piece):
    """(start, end, tolerance) of each number: of its stated error, else one of its last digit; whole numbers: none."""
    found = {}
    for match in re.finditer(rf"(?<![\w.]){NUMBER}(?![\w.]*\w)", piece):
        whole = re.fullmatch(r"[+-]?\d+", match[0])
        mantissa, _, power = match[0].partition("e")
        digit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
        found[match.span()] = 0.0 if whole else 1.001 * digit
    for pattern, of in STATED:
        for match in re.finditer(pattern, piece):
            for k in range(1, 1 + match.re.groups):
                if match.span(k) in found:
                    found[match.span(k)] = max(found[match.span(k)], of(*map(float, match.groups())))
    for match in re.finditer(r"(\d+) min (\d+) s", piece):  # a life follows from a fit, and depends exponentially
        found[match.span(1)], found[match.span(2)] = 1.0, 60.0
    return sorted((*span, tolerance) for span, tolerance in found.items())


def was_printed(piece, printed):
    """Whether a piece of the page was printed, with numbers as near as their own uncertainty says."""
    piece, pattern, at = " ".join(piece.split()), "", 0
    numbers = tolerances(piece)
    for start, end, _ in numbers:
        pattern += re.escape(piece[at:start]) + rf"({NUMBER})"
        at = end
    pattern += re.escape(piece[at:])
    shown = [(float(piece[start:end]), tolerance) for start, end, tolerance in numbers]
    return any(
        all(
            abs(float(there) - here) <= tolerance
            for there, (here, tolerance) in zip(match.groups(), shown, strict=True)
        )
        for match in re.finditer(rf"(?=(?<![\w.]){pattern})" if numbers else pattern, printed)
    )


def pieces():
    """What the page shows of the output of its commands."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.replace("$ echo $?\n2\n", ""), re.DOTALL)
    return [piece for block in blocks for piece in re.split(r"^\$ (?:.*\\\n)*.*$|\.\.\.", block, flags=re.M)]


def test_what_the_page_shows_is_found_where_it_was_printed_as_it_stands():
    printed = " ".join(" ".join(pieces()).split())
    assert len(pieces()) > 20
    assert all(was_printed(piece, printed) for piece in pieces())
    assert sum(len(tolerances(piece)) for piece in pieces()) > 100


@pytest.mark.parametrize(
    ("printed", "real"),
    [
        ("xi 85.7 2.4 80.9 to 90.5 fJ/(V m)", True),
        ("xi 85.4 2.5 80.6 to 90.2 fJ/(V m)", True),  # an eighth of the error
        ("xi 84.5 2.4 80.9 to 90.5 fJ/(V m)", False),  # half of it
        ("xi 85.7 4.8 76.1 to 95.3 fJ/(V m)", False),
        ("K_eff 85.7 2.4 80.9 to 90.5 fJ/(V m)", False),
        ("xi 85.7 2.4 80.9 to 90.5 kJ/m^3", False),
    ],
)
def test_an_output_may_differ_by_a_share_of_its_error_and_no_more(printed, real):
    page = "xi          85.7    2.4    80.9 to 90.5  fJ/(V m)"
    assert was_printed(page, f"parameter value error {printed} 42 points") is real


def test_numbers_without_an_error_may_differ_in_their_last_digit_and_whole_ones_not_at_all():
    page = "42 points; chi2 22.38 for 38 degrees of freedom, probability 0.92"
    assert was_printed(page, page.replace("22.38", "22.39"))
    for old, new in (
        ("42", "43"),
        ("22.38", "22.41"),
        ("0.92", "0.94"),
        ("freedom", "free"),
        ("38 degrees", "37 degrees"),
    ):
        assert not was_printed(page, page.replace(old, new))
    assert was_printed("p01 = 0.4872 +- 0.0035 at 1.600 V", "p01 = 0.4861 +- 0.0035 at 1.600 V")
    assert not was_printed("p01 = 0.4872 +- 0.0035 at 1.600 V", "p01 = 0.4902 +- 0.0035 at 1.600 V")
    assert not was_printed("p01 = 0.4872 +- 0.0035 at 1.600 V", "p01 = 0.4872 +- 0.0035 at 1.650 V")
    assert was_printed("an error rate of 1.6e-08.", "an error rate of 1.7e-08.")
    assert not was_printed("an error rate of 1.6e-08.", "an error rate of 1.6e-07.")
    assert was_printed("a bit lives 16 min 37 s on average", "a bit lives 16 min 31 s on average")
    assert not was_printed("a bit lives 16 min 37 s on average", "a bit lives 26 min 37 s on average")
    assert not was_printed("15 of 42 points", "115 of 42 points")


@pytest.mark.slow
def test_the_output_of_the_page_is_real(lab):
    """All that the page shows was printed, but for ports, line breaks, what is left out at '...', and last digits."""
    printed = re.sub(r"^voltaspin: pulses of the sweep.*\n", "", lab[1] + lab[2], flags=re.M)
    printed = re.sub(r"::\d+::", "::5025::", re.sub(r"is lost \(.*?\)", "is lost (Broken pipe)", printed))
    printed = " ".join(printed.split())
    for piece in pieces():
        assert was_printed(piece, printed), piece
