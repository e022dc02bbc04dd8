"""Bits of instruments: every format, and everything that an instrument does on a bad day."""

import os
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError, NoiseHealthError, NoiseStoppedError
from voltaspin.lab import Bits, InstrumentError, Profile
from voltaspin.noise import PseudoSource, RecordedSource, build, instrument_source

BITS = np.unpackbits(PseudoSource(seed=5).bits(4096))
RESISTANCE = np.where(BITS, 6.1e3, 4.9e3) + np.arange(BITS.size) % 97
FAST = {"timeout": 1.0, "retries": 0}


def ieee(data):
    size = str(len(data))
    return b"#" + str(len(size)).encode() + size.encode() + data + b"\n"


def parts(make, n=64):
    """Answers of n bits each, in turn."""
    return [make(slice(i, i + n)) for i in range(0, BITS.size, n)]


FORMATS = {
    "numbers": (lambda s: ",".join(f"{R:+.5E}" for R in RESISTANCE[s]), {"threshold": "5.4kohm"}),
    "numbers in kohm": (
        lambda s: " ".join(f"{R / 1e3}" for R in RESISTANCE[s]), {"threshold": "5.4kohm", "unit": "kohm"},
    ),
    "second of three": (
        lambda s: ";".join(f"1.2,{R:.4f},-7" for R in RESISTANCE[s]),
        {"threshold": 5400, "fields": 3, "field": 1, "values": 192},
    ),
    "text": (lambda s: "".join(map(str, BITS[s])), {"format": "text", "values": 64}),
    "text with commas": (lambda s: ", ".join(map(str, BITS[s])), {"format": "text"}),
    "packed": (lambda s: ieee(np.packbits(BITS[s]).tobytes()), {"format": "packed", "values": 64}),
    "packed, lowest first": (
        lambda s: ieee(np.packbits(BITS[s], bitorder="little").tobytes()), {"format": "packed", "bit_order": "lsb"},
    ),
    "packed, bare": (
        lambda s: np.packbits(BITS[s]).tobytes() + b"\n", {"format": "packed", "block": False, "values": 64},
    ),
    "bytes": (lambda s: ieee(BITS[s].tobytes()), {"format": "bytes"}),
    "int16": (
        lambda s: ieee((RESISTANCE[s] - 5400).astype(">i2").tobytes()),
        {"format": "samples", "sample_type": "int16", "byte_order": "big", "threshold": 0, "values": 64},
    ),
    "int24": (
        lambda s: ieee(RESISTANCE[s].astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()),
        {"format": "samples", "sample_type": "int24", "threshold": 5400},
    ),
    "float32": (
        lambda s: ieee(RESISTANCE[s].astype("<f4").tobytes()),
        {"format": "samples", "sample_type": "float32", "threshold": "5.4kohm"},
    ),
}  # fmt: skip


def taken(source, n):
    return np.unpackbits(source.bits(n), count=n)


@pytest.mark.parametrize("name", FORMATS)
def test_the_bits_of_every_format_are_those_that_were_sent_and_replayed(serve, tmp_path, name):
    make, bits = FORMATS[name]
    server = serve({"Q?": parts(make), "*IDN?": "Maker,model,1,2"})
    profile = Profile(address=server.address, identity="*IDN?", bits=Bits(query="Q?", **bits))
    source = instrument_source(profile, record=tmp_path / "rec")
    assert server.heard == ["*IDN?"]  # nothing is asked before it is needed
    got = np.concatenate([taken(source, n) for n in (1, 7, 56, 1936)])
    assert server.heard.count("Q?") == -(-2000 // 64)
    assert np.array_equal(got, BITS[:2000])
    assert source.provenance.kind == "instrument"
    assert source.provenance.details["instrument"]["identity"] == "Maker,model,1,2"
    source.close()
    replay = RecordedSource(tmp_path / "rec")
    assert replay.bits_left == 2000
    assert np.array_equal(taken(replay, 2000), got)


SIMULATED = """
spec: "1.1"
devices:
  meter:
    eom:
      TCPIP SOCKET: {q: "\\n", r: "\\n"}
      GPIB INSTR: {q: "\\n", r: "\\n"}
    error:
      error_queue:
        - {q: "SYST:ERR?", default: '0,"No error"', command_error: '-113,"Undefined header"'}
    dialogues:
      - {q: "*IDN?", r: "Maker,model,1,2"}
      - {q: "*RST"}
      - {q: "READ?", r: "+5.1E+03,+6.0E+03,+4.9E+03,+5.9E+03"}
      - {q: "FAST?", r: "#14ABCD"}
      - {q: "OPEN?", r: "+5.1E+03,+9.9E+37"}
resources:
  TCPIP0::lab::5025::SOCKET: {device: meter}
  GPIB0::5::INSTR: {device: meter}
"""


@pytest.fixture
def simulated(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(SIMULATED)
    return {"backend": f"{path}@sim", "errors": "SYST:ERR?", "identity": "*IDN?", "timeout": 1.0, "retries": 0}


@pytest.mark.parametrize("address", ["TCPIP0::lab::5025::SOCKET", "GPIB0::5::INSTR"])
def test_numbers_and_blocks_of_pyvisa_sim(simulated, address):
    profile = Profile(address=address, initial=("*RST",), **simulated)
    source = instrument_source(profile, query="READ?", threshold="5.5kohm")
    assert taken(source, 10).tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    source.close()
    source = instrument_source(profile, query="FAST?", format="packed")
    assert source.bits(64).tobytes() == b"ABCDABCD"
    source.close()


def test_errors_of_pyvisa_sim(simulated):
    address = "GPIB0::5::INSTR"
    with pytest.raises(InstrumentError, match=r"reports -113,.Undefined header. after its initial commands"):
        instrument_source(Profile(address=address, initial=("*RTS",), **simulated), query="READ?", threshold=1)
    source = instrument_source(Profile(address=address, **simulated), query="OPEN?", threshold=1)
    with pytest.raises(NoiseStoppedError, match=r"value 1 of 2 .*9.9e\+37, by which SCPI means infinity"):
        source.bits(1)
    source.close()
    source = instrument_source(Profile(address=address, **{**simulated, "retries": 1}), query="WHAT?", threshold=1)
    with pytest.raises(NoiseStoppedError, match=r"has not answered 'WHAT\?' within 1 s.*error queue says -113"):
        source.bits(1)
    source.close()


def stopped(server, said, n=64, **bits):
    """The bits before a fault, whose message says it."""
    profile = Profile(address=server.address, bits=Bits(query="Q?", **bits), **FAST)
    source = instrument_source(profile)
    with pytest.raises(NoiseStoppedError, match=said) as error:
        source.bits(n)
    assert "nothing was handed out" in str(error.value)
    packed, left = source.rest()
    source.close()
    return np.unpackbits(packed, count=left).tolist()


NUMBERS = {"threshold": "5.4kohm"}


@pytest.mark.parametrize(("answer", "said", "bits"), [
    (None, r"has not answered 'Q\?' within 1 s", NUMBERS),
    ("", "is empty", NUMBERS), ("hello", "is 'hello', no number", NUMBERS), ("1,2,1_000", "value 2 of 3", NUMBERS),
    ("6000,nan", "'nan', no number", NUMBERS), ("6E3OHM", "'6E3OHM', no number", NUMBERS),
    ("6,,7", "no number", NUMBERS),
    ("5000,9.91E37", "value 1 of 2 .* means not a number", NUMBERS), ("-9.9E+37", "means infinity", NUMBERS),
    ("1e999", r"is inf \(infinity", NUMBERS), ("\xff\x00\x01", "no number", NUMBERS),
    ("5000,6000", "has 2 values where values=3 are expected", {**NUMBERS, "values": 3}),
    ("1,2,3", "3 values, no multiple of fields=2", {**NUMBERS, "fields": 2}),
    ("0102", "character 3 of .* is '2', neither 0 nor 1", {"format": "text"}), (" ", "is empty", {"format": "text"}),
    ("A2", "with b'A2', and a block begins with #", {"format": "packed"}),
    ("#0abc", "indefinite", {"format": "packed"}),
    ("#9999999999", "whose length is b'999999999'", {"format": "packed"}),
    ("#2x1", "length is b'x1'", {"format": "packed"}),
    ("#10", "is empty", {"format": "packed"}), ("#18abc", "has not answered", {"format": "packed"}),
    ("#12abcd", "2 bytes and b'c' behind them", {"format": "packed"}),
    ("#12\x01\x02", "byte 1 .* is 2", {"format": "bytes"}),
    ("#13abc", "3 bytes, no whole number of int16", {"format": "samples", "sample_type": "int16", "threshold": 0}),
    (ieee(np.array([1, np.nan], "<f4").tobytes()), r"value 1 of 2 .* nan \(not a number",
     {"format": "samples", "sample_type": "float32", "threshold": 0}),
    (ieee(np.array([9.9e37], "<f4").tobytes()), "SCPI means infinity",
     {"format": "samples", "sample_type": "float32", "threshold": 0}),
])  # fmt: skip
def test_an_answer_that_is_none_stops_the_source_and_is_named(serve, answer, said, bits):
    assert stopped(serve({"Q?": answer}), said, **bits) == []


def test_the_remedy_for_an_xor_of_one_cell_works_as_it_is_written(serve, tmp_path, capfdbinary):
    server = serve({"Q?": parts(lambda s: "".join(map(str, BITS[s])))})
    profile = tmp_path / "lab.toml"
    profile.write_text(f'address = "{server.address}"\n[bits]\nquery = "Q?"\nformat = "text"\n')
    command = ["bits", "--profile", str(profile), "--count", "400", "--out", str(tmp_path / "x.bin"), "--conditioning"]

    def ends(status, *more):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more])
        assert ended.value.code == status

    ends(2, "xor:2")
    said = capfdbinary.readouterr().err.decode()
    remedy = re.search(r"in a description (\S+)\)", " ".join(said.split())).group(1)
    ends(0, remedy)
    assert np.array_equal(np.unpackbits(np.fromfile(tmp_path / "x.bin", np.uint8)), BITS[:800:2] ^ BITS[1:800:2])
    other = re.search(r"--n-cells[= ](\d+)", said).group(1)
    ends(0, "xor:2", "--n-cells", other, "--force")


def test_what_arrived_before_a_fault_is_kept(serve):
    assert stopped(serve({"Q?": ["0110", "1", "garbage"]}), "'g', neither", format="text") == [0, 1, 1, 0, 1]


def test_the_same_answer_for_ever_is_a_health_alarm_or_a_reading_that_is_old(serve):
    address = serve(
        {"STUCK?": ",".join(["6.0E3"] * 600), "OLD?": ",".join(f"{R:.3f}" for R in RESISTANCE[:600])}
    ).address
    profile = Profile(address=address, **FAST)
    source = build("instrument | health:0.9", profile=profile, query="STUCK?", threshold="5.4kohm")
    with pytest.raises(NoiseHealthError, match="alarm"):
        source.bits(1000)
    source.close()
    source = instrument_source(profile, query="OLD?", threshold="5.4kohm")
    assert taken(source, 600).tolist() == BITS[:600].tolist()
    with pytest.raises(NoiseStoppedError, match=r"two answers to 'OLD\?' hold the same 600 values"):
        source.bits(1)
    source.close()


def test_a_connection_that_dies_is_opened_again_and_the_answer_asked_again(serve):
    texts = ["".join(map(str, BITS[i : i + 64])) for i in range(0, 640, 64)]
    server = serve({"Q?": [texts[0], texts[1], 0.0, texts[2], None, *texts[3:]], "INIT": None})
    bits = Bits(query="Q?", format="text")
    source = instrument_source(Profile(address=server.address, timeout=1.0, initial=("INIT",), bits=bits))
    assert np.array_equal(taken(source, 640), BITS[:640])
    assert server.heard.count("INIT") == 3
    assert "2 answers were lost and asked for again" in str(source.understood)
    source.close()


def test_an_instrument_that_dies_for_good_is_said_to_be_lost_and_keeps_the_recording(serve, tmp_path):
    server = serve({"Q?": "".join(map(str, BITS[:64]))})
    bits = Bits(query="Q?", format="text")
    source = instrument_source(
        Profile(address=server.address, timeout=1.0, retries=1, bits=bits), record=tmp_path / "r"
    )
    source.bits(64)
    server.answers["Q?"] = 0.0
    with pytest.raises(NoiseStoppedError, match=r"; 2 attempts failed: 64 bits were taken.*what arrived is in"):
        source.bits(64)
    source.close()
    assert RecordedSource(tmp_path / "r").bits_left == 64


@pytest.mark.parametrize(("address", "said"), [
    ("TCPIP0::127.0.0.1::1::SOCKET", "lost .*[Cc]onnection refused"), ("rubbish", "cannot be opened"),
    ("TCPIP0::127.0.0.1::5025::SOKET", "cannot be opened"), ("ASRL77::INSTR", "cannot be opened"),
])  # fmt: skip
def test_an_address_that_leads_nowhere(address, said):
    with pytest.raises(InputError, match=said):
        instrument_source(Profile(address=address, identity="*IDN?", **FAST), query="Q?", threshold=1)


def test_the_final_commands_are_sent_also_after_a_failure(serve):
    server = serve({"Q?": "garbage"})
    source = instrument_source(Profile(address=server.address, final=("OUTP OFF",), **FAST), query="Q?", threshold=1)
    with pytest.raises(NoiseStoppedError):
        source.bits(1)
    source.close()
    end = time.monotonic() + 5
    while "OUTP OFF" not in server.heard and time.monotonic() < end:
        time.sleep(0.01)
    assert server.heard == ["Q?", "OUTP OFF"]
    source.close()
    with pytest.raises(NoiseStoppedError):
        source.bits(1)


def test_the_final_commands_are_sent_also_where_the_beginning_fails(serve):
    server = serve({"E?": ['0,"No error"', '-222,"Data out of range"', "0"]})
    profile = Profile(address=server.address, initial=("ON 99",), final=("OFF",), errors="E?", **FAST)
    with pytest.raises(InstrumentError, match="reports -222"):
        instrument_source(profile, query="Q?", format="text")
    end = time.monotonic() + 5
    while "OFF" not in server.heard and time.monotonic() < end:
        time.sleep(0.01)
    assert server.heard == ["E?", "ON 99", "E?", "E?", "OFF"]


def test_commands_settle(serve):
    server = serve({"Q?": "01"})
    begun = time.monotonic()
    profile = Profile(address=server.address, settling=0.2, initial=("A", "B"))
    source = instrument_source(profile, query="Q?", format="text")
    assert time.monotonic() - begun >= 0.4
    assert taken(source, 2).tolist() == [0, 1]
    source.close()


def test_what_is_missing_is_asked_for_by_name(tmp_path):
    with pytest.raises(InputError, match="has no query for bits; give query="):
        instrument_source(Profile(address="A"))
    with pytest.raises(InputError, match="instrument needs a value of profile"):
        build("instrument")
    with pytest.raises(InputError, match=r"p\.toml does not exist"):
        build(f"instrument:{tmp_path / 'p.toml'}")
    with pytest.raises(InputError, match=r"'querry' is no parameter of it; .* did you mean 'query'\?"):
        build("instrument:p.toml,querry=X?")


def test_an_interrupt_ends_a_wait_at_once_and_keeps_what_arrived(serve, tmp_path, capsys):
    server = serve({"Q?": ["01" * 300, None]})
    profile = tmp_path / "p.toml"
    profile.write_text(
        f'address = "{server.address}"\ntimeout = "60s"\nfinal = ["OFF"]\n[bits]\nquery = "Q?"\nformat = "text"\n'
    )
    timer = threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    with pytest.raises(SystemExit) as done:
        main(["bits", "--profile", str(profile), "--count", "1M", "--out", str(tmp_path / "o.bin")])
    timer.join()
    assert (done.value.code, time.monotonic() - begun < 20) == (130, True)
    assert server.heard[-1] == "OFF"
    assert "the 600 bits that arrived before are in" in capsys.readouterr().err
    assert RecordedSource(tmp_path / "o.bin").bits(600).tobytes() == b"U" * 75


def test_without_pyvisa_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvisa", None)
    with pytest.raises(InstrumentError, match=r"pip install 'voltaspin\[lab\]'"):
        instrument_source(Profile(address="A"), query="Q?", format="text")
