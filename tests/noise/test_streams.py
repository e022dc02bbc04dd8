"""Bits that arrive: the same readers as of files, nothing short, nothing lost, and bounded memory and time."""

import json
import os
import pickle
import pty
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest

from voltaspin.core.context import waits_told_to
from voltaspin.core.errors import (
    InputError,
    NoiseExhaustedError,
    NoiseHealthError,
    NoiseStoppedError,
    NoReplayError,
)
from voltaspin.noise import PseudoSource, RecordedSource, StreamSource, build, record
from voltaspin.noise.importer.following import complete
from voltaspin.noise.recorded import Recording

BITS = np.unpackbits(PseudoSource(seed=5).bits(80_000))
PACKED = np.packbits(BITS).tobytes()


@pytest.fixture
def fifo(tmp_path):
    """Factory: a FIFO into which a thread writes parts, pausing between them; an int is a pause in seconds."""
    made = []

    def build_it(*parts, name="lab", pause=0.0, stays=False):
        path = tmp_path / name
        os.mkfifo(path)
        done = threading.Event()

        def write():
            with open(path, "wb", buffering=0) as out:  # noqa: PTH123
                for part in parts:
                    time.sleep(pause if isinstance(part, bytes) else part)
                    if isinstance(part, bytes):
                        try:
                            out.write(part)
                        except BrokenPipeError:
                            return
                if stays:
                    done.wait(20)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        made.append((thread, done, path))
        return str(path)

    yield build_it
    for thread, done, path in made:
        done.set()
        if thread.is_alive():  # frees one that waits for a reader
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        thread.join(5)
        assert not thread.is_alive()


def taken(source, n):
    return np.unpackbits(source.bits(n), count=n)


def words(bits):
    return np.where(bits, 900, -900).astype(">i2").tobytes()


def volts(bits, line="{:.3f}\n"):
    return "".join(line.format(0.1 + 0.5 * b) for b in bits).encode()


LAYOUTS = {
    "packed": (PACKED, {}),
    "packed, said": (PACKED, {"format": "packed"}),
    "lsb": (np.packbits(BITS, bitorder="little").tobytes(), {"format": "packed", "bit_order": "lsb"}),
    "bytes": (BITS.tobytes(), {}),
    "text": ("".join(map(str, BITS)).encode(), {}),
    "text with CRLF and a mark": (b"\xef\xbb\xbf" + "".join(f"{b}\r\n" for b in BITS).encode(), {"format": "text"}),
    "hex": (PACKED.hex().encode(), {}),
    "hex, by lines": (
        b"\r\n".join(PACKED.hex(",")[i : i + 75].encode() for i in range(0, 15000, 75)),
        {"format": "hex"},
    ),
    "samples": (words(BITS), {"sample_type": "int16", "byte_order": "big", "threshold": 0}),
    "table": (b"t;U (V)\n" + volts(BITS[:20_000], "7;{:.3f}\r\n"), {"column": "U (V)", "threshold": "0.3V"}),
    "one column": (volts(BITS[:20_000]), {"format": "csv", "threshold": "0.3V"}),
}
LAYOUTS["UTF-16"] = (("\ufeff" + "".join(f"{b}\n" for b in BITS[:9000])).encode("utf-16-le"), {})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [10**6, 333])
def test_a_stream_is_read_as_the_file_of_the_same_bytes(fifo, tmp_path, layout, size):
    data, options = LAYOUTS[layout]
    data = data[: 100 * size]
    if layout in ("table", "one column"):
        data = data[: data.rindex(b"\n") + 1]
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    (tmp_path / "file").write_bytes(data)
    file = RecordedSource(tmp_path / "file", **options)
    n = min(9000, file.bits_left - 8)
    source = StreamSource(fifo(*parts), timeout=5, **options)
    assert source.understood.bits is None
    assert source.understood.text == file.understood.text
    for part in (1, 7, 800, n - 808):
        assert np.array_equal(source.bits(part), file.bits(part))
    source.close()


def test_bits_come_as_soon_as_their_bytes_do(fifo):
    source = StreamSource(fifo(b"1\n0\n", 0.1, b"1", stays=True), format="text", timeout=5)
    assert taken(source, 3).tolist() == [1, 0, 1]
    source.close()
    table = StreamSource(fifo(volts([0, 1] * 50), 0.1, volts([1, 1, 0]), name="t", stays=True), format="csv",
                         threshold="0.3V", timeout=5)  # fmt: skip
    assert taken(table, 103).tolist() == [0, 1] * 50 + [1, 1, 0]
    table.close()


def test_no_more_is_read_than_a_draw_needs():
    reader, writer = os.pipe()
    os.write(writer, PACKED[:100])
    source = StreamSource(f"/dev/fd/{reader}", format="packed", timeout=1)
    source.bits(77)
    source.bits(3)
    assert os.read(reader, 1000) == PACKED[10:100]
    source.close(), os.close(reader), os.close(writer)


def test_a_pipe_that_ends_hands_out_nothing_short_and_keeps_what_arrived():
    reader, writer = os.pipe()
    os.write(writer, PACKED[:5000]), os.close(writer)
    source = StreamSource(f"/dev/fd/{reader}", timeout=5)
    assert source.bits_left is None
    source.bits(8)
    with pytest.raises(NoiseExhaustedError, match=r"has ended: 8 bits were taken, 39992 are left and .* needs 40000"):
        source.bits(40_000)
    with pytest.raises(NoiseExhaustedError):
        source.normal(10_000)
    assert source.bits_left == source.bits_at_most == 39_992
    packed, n = source.rest()
    assert n == 39_992
    assert packed.tobytes() == PACKED[1:5000]
    source.close(), os.close(reader)


def test_a_fifo_whose_writer_comes_back_goes_on_and_one_that_does_not_is_given_up(tmp_path):
    path = tmp_path / "lab"
    os.mkfifo(path)

    def write():
        for part in (PACKED[:300], PACKED[300:900]):
            with path.open("wb") as out:
                out.write(part)
            time.sleep(0.2)

    thread = threading.Thread(target=write)
    thread.start()
    source = StreamSource(str(path), format="packed", timeout=1)
    assert source.bits(7200).tobytes() == PACKED[:900]
    thread.join()
    with pytest.raises(NoiseExhaustedError, match=r"lab has ended \(its writer is gone, and none came for 1 s\): 7200"):
        source.bits(1)
    source.close()


@pytest.mark.parametrize("kind", ["tcp", "unix", "path"])
def test_a_socket(tmp_path, kind):
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    with socket.socket(family) as server:
        server.bind(("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "s"))
        server.listen()

        def serve():
            connection, _ = server.accept()
            with connection:
                for i in range(0, 5000, 100):
                    connection.sendall(PACKED[i : i + 100])
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1] if kind == "tcp" else 0
        where = {"tcp": f"tcp://127.0.0.1:{port}", "unix": f"unix://{tmp_path}/s", "path": str(tmp_path / "s")}[kind]
        source = build(where, timeout=5)
        assert source.provenance.kind == "instrument"
        assert source.bits(36_000).tobytes() == PACKED[:4500]
        with socket.socket(fileno=os.dup(source._endpoint._handle)) as ours:
            ours.send(b"x")
        with pytest.raises(NoiseExhaustedError, match="has ended"):
            source.bits(9000)
        source.close()
        thread.join()


def test_a_serial_port_gets_every_byte_as_it_was_sent():
    master, slave = pty.openpty()
    port = os.ttyname(slave)
    source = StreamSource(f"serial://{port}?baud=115200", format="packed", timeout=5)
    data = bytes(range(256)) * 4  # XON, XOFF, Ctrl-C, CR, LF and NUL among them
    os.write(master, data)
    assert source.bits(8192).tobytes() == data
    import termios

    assert termios.tcgetattr(slave)[4] == termios.B115200
    source.close()
    for wrong, said in (("baud=7", "baud=7 is none"), ("speed=9600", "use baud"), ("parity=x", "none, even, odd")):
        with pytest.raises(InputError, match=said):
            StreamSource(f"serial://{port}?{wrong}")
    again = StreamSource(port, format="packed", timeout=5)
    os.write(master, b"\xa5")
    assert taken(again, 8).tolist() == [1, 0, 1, 0, 0, 1, 0, 1]
    os.close(slave), os.close(master)  # pulled out
    with pytest.raises(NoiseExhaustedError, match="has ended"):
        again.bits(8)
    again.close()


CONTROL = b"\x03\x04\x11\x13\x0d\x0a\x15\x16\x17\x1a\x1c\x7f\xff\x00\x0d\x0d\x0a\x0a"


def test_bytes_that_came_before_a_port_was_set_are_left_out_because_a_terminal_may_have_changed_them():
    master, slave = pty.openpty()
    os.write(master, CONTROL + b"old\n")  # the terminal turns CR into LF and takes Ctrl-C for a signal
    source = StreamSource(f"serial://{os.ttyname(slave)}", format="packed", timeout=5)
    os.write(master, CONTROL)
    assert source.bits(8 * len(CONTROL)).tobytes() == CONTROL
    source.close()
    os.close(slave), os.close(master)


@pytest.mark.parametrize(("fault", "said"), [("silent", r"has sent nothing for 0\.5 s"), ("pulled out", "has ended")])
def test_a_serial_port_that_fails_keeps_what_it_sent(fault, said, tmp_path):
    master, slave = pty.openpty()
    port = f"serial://{os.ttyname(slave)}?baud=9600"
    source = StreamSource(port, format="packed", timeout=0.5, record=tmp_path / "rec")
    os.write(master, CONTROL + b"abc")
    assert source.bits(8 * len(CONTROL)).tobytes() == CONTROL
    os.close(slave)
    if fault == "pulled out":
        os.close(master)
    with pytest.raises((NoiseStoppedError, NoiseExhaustedError), match=said):
        source.bits(800)
    rest, left = source.rest()
    assert (np.asarray(rest).tobytes()[:3], left) in ((b"abc", 24), (b"", 0))  # Linux drops what a lost port still held
    source.close()
    kept = RecordedSource(tmp_path / "rec", format="packed")
    assert kept.bits(8 * len(CONTROL)).tobytes() == CONTROL
    if fault == "silent":
        os.close(master)


def test_a_stream_slower_than_the_time_out_says_how_far_it_came(fifo):
    source = StreamSource(fifo(PACKED[:1000], stays=True), format="packed", timeout=0.4)
    source.bits(100)
    with pytest.raises(NoiseStoppedError, match=r"nothing for 0\.4 s: .*: 100 bits were taken, 7900 are left"):
        source.bits(8000)
    assert source.rest()[1] == 7900
    source.close()


def test_dribbles_keep_a_stream_alive_and_are_shown_with_their_end(fifo, monkeypatch):
    monkeypatch.setattr("voltaspin.noise.stream._SLOW", 0.3)
    told = []
    source = StreamSource(fifo(*[b"01"] * 12, pause=0.12, stays=True), format="text", timeout=0.5)
    source.expect(24)
    with waits_told_to(lambda what, done, total: told.append((what, done, total))):
        assert taken(source, 24).tolist() == [0, 1] * 12
    assert told
    assert all(what == "bits from lab" and 0 < done < 24 == total for what, done, total in told)
    source.close()


@pytest.mark.parametrize(("good", "garbage", "options", "said"), [
    (b"01" * 4000, b"Error -113", {}, r"character 8000 is 'E', .*byte 8000 of the stream"),
    (BITS[:9000].tobytes(), b"\2", {}, r"value 9000 is 2, .*bytes \d+ to 9000 of the stream"),
    (PACKED[:3000].hex().encode(), b"zz", {}, r"'z', which is no hexadecimal digit.*byte 6000 of the stream"),
    (volts(BITS[:2000]), b"ERR\n" + volts(BITS[:9]), {"threshold": "0.3V"}, r"row 2001 \('ERR'\) has no number"),
    (volts(BITS[:2000]), b"nan\n" + volts(BITS[:9]), {"threshold": "0.3V"}, r"value 2000 is nan"),
    (volts(BITS[:2000]), b"7" * 200_000, {"threshold": "0.3V"}, r"longer than 65536 characters"),
])  # fmt: skip
def test_garbage_in_the_middle_is_named_with_its_place(fifo, good, garbage, options, said):
    source = StreamSource(fifo(good, 0.2, garbage, stays=True), timeout=5, **options)
    n = 1500
    source.bits(n)
    with pytest.raises(NoiseStoppedError, match=said) as stopped:
        source.bits(10**6)
    assert f"{n} bits were taken" in str(stopped.value)
    _, left = source.rest()
    assert n + left == {b"Er": 8000, b"zz": 24_000, b"\2": 9000}.get(garbage[:2], 2000)
    with pytest.raises(NoiseStoppedError):
        source.bits(1)
    source.close()


@pytest.mark.parametrize(("data", "options", "said"), [
    (b"", {}, "ended before its first byte"), (b"\x93NUMPY" + bytes(200), {}, "npy, which has an end"),
    (b"\x1f\x8b\x08" + PACKED[:500], {}, "gzip file; unpack it"), (b"\x89PNG\r\n\x1a\n" + PACKED, {}, "PNG"),
    (words(BITS[:4000]), {}, "does not look like packed bits"), (volts(BITS[:600]), {"threshold": "fit"}, "a whole"),
    (volts(BITS[:600]), {"threshold": "5V"}, "lie below the threshold"), (volts(BITS[:600]), {}, "may be|neither"),
    (b"0.1,0.6," * 600, {"threshold": "0.3V"}, "one value a line"), (b"hello world " * 500, {}, "neither 0 and 1"),
    (words(BITS[:4000]), {"sample_type": "int16"}, "need a threshold="), (b"[1, 0, 1]" * 600, {}, "json|JSON"),
])  # fmt: skip
def test_what_cannot_be_followed_is_refused_before_the_first_bit(fifo, data, options, said):
    reader, writer = os.pipe()
    os.write(writer, data[:60_000]), os.close(writer)
    with pytest.raises(InputError, match=said):
        StreamSource(f"/dev/fd/{reader}", timeout=5, **options)
    os.close(reader)


def test_paths_that_are_no_stream(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no", "check its name"), (tmp_path / "file", "is a file"),
                       ("tcp://localhost", "tcp://HOST:PORT"), ("tcp://localhost:1", "cannot be opened"),
                       ("unix:///no/where", "check its name"), ("serial:///dev/null", "no serial port")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            StreamSource(str(path))
    with pytest.raises(InputError, match="timeout = 0 s must be positive"):
        StreamSource("/dev/zero", timeout=0)
    assert isinstance(build(f"recorded:{tmp_path / 'file'}", format="packed"), RecordedSource)


def test_the_system_is_told_from_an_instrument():
    source = build("/dev/urandom | health:0.9 | xor:2", n_cells=2)
    assert source.provenance.kind == "operating system"
    z = source.normal(10_000)
    assert abs(z.mean()) < 4.5 / 100
    with pytest.raises(InputError, match="cannot be sent to another"):
        pickle.dumps(source.source.source)
    with pytest.raises(NoReplayError, match="cannot be had again"):
        source.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert source.normal(3).size == 3
    source.close()


def test_an_alarm_stops_the_work_in_its_block_and_names_the_bit(fifo, tmp_path):
    stuck = np.append(BITS[:40_000], np.zeros(800, np.uint8))
    source = build(fifo(np.packbits(stuck).tobytes(), stays=True) + " | health:0.9", format="packed", timeout=1)
    begun = time.monotonic()
    with pytest.raises(NoiseHealthError, match=r"equal bits in a row at bit 400\d\d") as stopped:
        record(source, tmp_path / "good.bin", bits=1_000_000)  # which never come
    assert time.monotonic() - begun < 4
    assert stopped.value.finished.bits_left >= 38_900
    assert source.source.taken <= 40_800
    source.close()


def test_what_was_tested_before_a_stream_dies_is_kept(fifo, tmp_path):
    source = build(fifo(PACKED, stays=True) + " | health:0.9", format="packed", timeout=0.4)
    with pytest.raises(NoiseStoppedError, match="sent nothing for 0") as stopped:
        record(source, tmp_path / "good.bin", bits=1_000_000)
    kept = stopped.value.finished
    assert kept.bits_left == 80_000 - 1024
    assert np.array_equal(taken(kept, 78_976), BITS[1024:])
    source.close()


def test_a_conditioner_takes_no_more_than_it_needs(fifo):
    source = build(fifo(PACKED[:512], stays=True) + " | xor:2", format="packed", n_cells=2, timeout=0.5)
    assert taken(source, 2000).tolist() == (BITS[:4000:2] ^ BITS[1:4000:2]).tolist()
    source.close()


# Recordings


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_recording_gives_exactly_the_bits_that_were_taken(fifo, tmp_path, layout):
    data, options = LAYOUTS[layout]
    source = StreamSource(fifo(data), timeout=5, record=tmp_path / "rec", **options)
    numbers, bits = source.normal((2, 100)), source.bits(1001)
    source.close()
    kept = (tmp_path / "rec").read_bytes()
    assert data.startswith(kept)
    about = Recording.load(tmp_path / "rec.json")
    assert (about.bits, about.size) == (4201, len(kept))
    assert about.begun <= about.ended
    for given in ({}, options):
        replay = RecordedSource(tmp_path / "rec", **given)
        assert replay.bits_left == 4201
        assert np.array_equal(replay.normal((2, 100)), numbers)
        assert np.array_equal(replay.bits(1001), bits)
        assert replay.origin["kind"] == "instrument"


def test_a_recording_that_was_cut_off_is_read_with_what_it_has(fifo, tmp_path):
    source = StreamSource(fifo(volts(BITS[:3000])[:-4], stays=True), timeout=5, threshold="0.3V", record=tmp_path / "r")
    source.bits(2500)
    # as after a kill: nobody closes it
    replay = RecordedSource(tmp_path / "r")
    assert "cut off" in str(replay.understood)
    n = replay.bits_left
    assert 2500 <= n <= 2999
    assert np.array_equal(taken(replay, n), BITS[:n])
    source.close()


def test_a_recording_spoils_no_file_and_leaves_none_before_the_first_bit(fifo, tmp_path):
    (tmp_path / "old").write_bytes(b"precious")
    with pytest.raises(InputError, match="old exists"):
        StreamSource("/dev/urandom", record=tmp_path / "old")
    for path, said in ((tmp_path / "no" / "r", "does not exist"), ("/dev/null", "cannot keep")):
        with pytest.raises(InputError, match=said):
            StreamSource("/dev/urandom", record=path)
    source = StreamSource("/dev/urandom", record=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    source.close()
    assert not (tmp_path / "new.json").exists()
    source = StreamSource("/dev/urandom", record=tmp_path / "old", overwrite=True)
    source.bits(80)
    source.close()
    assert RecordedSource(tmp_path / "old").bits_left == 80
    (tmp_path / "old").write_bytes(b"changed...")
    with pytest.raises(InputError, match="changed or cut"):
        RecordedSource(tmp_path / "old")


@pytest.mark.parametrize(("kind", "width", "data", "end"), [
    ("packed", 1, b"abc", 3), ("samples", 2, b"abc", 2), ("csv", 0, b"1\n2\n3", 4), ("csv", 0, b"1\r\n2", 3),
    ("hex", 0, b"ab c", 3), ("hex", 0, b"abc ", 2), ("hex", 0, b"ab\n", 3), ("base64", 0, b"abcd\nef", 5),
    ("text", 0, b"01", 2), ("csv", 0, b"12", 0),
])  # fmt: skip
def test_a_recording_ends_with_a_whole_value(kind, width, data, end):
    assert complete(kind, width, data) == end


def test_an_endless_line_takes_little_memory(fifo):
    source = StreamSource(fifo(volts(BITS[:2000]), *[b" " * 60_000] * 200), timeout=5, format="csv", threshold="0.3V")
    tracemalloc.start()
    with pytest.raises(NoiseStoppedError, match="longer than"):
        source.bits(10_000)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()
    source.close()


def test_what_arrived_before_a_stream_died_is_in_its_recording(fifo, tmp_path):
    source = StreamSource(fifo(PACKED[:700], stays=True), timeout=0.3, format="packed", record=tmp_path / "rec")
    with pytest.raises(NoiseStoppedError, match="what arrived is in"):
        source.bits(8000)
    source.close()
    assert RecordedSource(tmp_path / "rec").bits(5600).tobytes() == PACKED[:700]
