"""Where bytes arrive: standard input, a FIFO, a character device, a socket or a serial port, behind one ``read``.

A read waits in short pieces, so that a signal ends it, a silence is noticed, and a caller can show how the work goes.
Nothing is read beyond what is asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from voltaspin.core.errors import InputError, NoiseStoppedError, nearest
from voltaspin.core.stopping import end_wait

_STANDARD = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_SCHEMES = ("tcp", "unix", "serial")
_WAIT = 0.2  # seconds of one piece of a wait
_CONNECT = 30.0  # seconds that a connection may take
_SYSTEM = {(1, 8), (1, 9)}  # device numbers of Linux: random and urandom
_PARITY = ("none", "even", "odd")


def is_address(text: str) -> bool:
    """Whether a text names a stream: standard input, a socket, a serial port, or a path that is no regular file."""
    if text == "-" or text.partition("://")[0] in _SCHEMES:
        return True
    return os.path.exists(text) and not os.path.isfile(text)  # noqa: PTH110, PTH113 - false for any text


class Arriving(Protocol):
    """Where bytes come from, as a stream takes it; the attributes are those of :class:`Endpoint`."""

    system: bool
    reason: str
    about: dict[str, Any]

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def read(self, most: int) -> bytes: ...

    def close(self) -> None: ...


class Endpoint:
    """Bytes that arrive.

    Args:
        address: ``-`` (standard input), ``tcp://HOST:PORT``, ``unix:///PATH``, ``serial:///PATH?baud=115200`` (also
            ``parity=even`` or ``odd``, ``stop=2``, ``bits=7``), or the path of a FIFO, a character device or a socket.
        timeout: seconds without a byte after which a read gives up.
        waiting: called several times a second while a read waits.

    Raises:
        InputError: nothing of that name, a folder, a file or a disk; it cannot be opened, or nobody answers.
    """

    def __init__(self, address: str, *, timeout: float, waiting: Callable[[], None]) -> None:
        self.address, self.timeout, self._waiting = address, timeout, waiting
        self.system = False  #: whether the bytes are the operating system's own random ones
        self.reason = ""  #: for the end, once it came
        self.about: dict[str, Any] = {}  #: details for the provenance
        self.notes: tuple[str, ...] = ()  #: on anything that happened meanwhile
        self._returns = False  # whether a writer may come back
        self._settings: list[Any] = []  # of a serial port, as we found it
        self._handle = self._opened()
        self._poll = select.poll()
        self._poll.register(self._handle, select.POLLIN)

    @property
    def name(self) -> str:
        """The stream in messages and provenance: its folder does not matter, unless it is a device."""
        if self.address in _STANDARD:
            return "standard input"
        plain = "://" in self.address or self.address.startswith("/dev/")
        return self.address if plain else Path(self.address).name

    def read(self, most: int) -> bytes:
        """Return the bytes that arrive next, one at least and ``most`` at most; none once the stream has ended.

        Raises:
            NoiseStoppedError: no byte came for ``timeout`` seconds.
            Stopped: a signal asked the work to stop.
        """
        begun = time.monotonic()
        while True:
            if not self._poll.poll(0):
                end_wait()
                self._poll.poll(1e3 * _WAIT)
            try:
                if data := os.read(self._handle, most):
                    return data
            except BlockingIOError:
                pass
            except OSError as error:  # a connection that was reset, a port that was pulled out
                self.reason = f" ({error.strerror})"
                return b""
            else:
                if not self._returns:
                    return b""
                end_wait()
                time.sleep(0.02)  # a FIFO without a writer is always ready and never has anything
            self._waiting()
            if time.monotonic() - begun >= self.timeout:
                if self._returns and self._poll.poll(0):
                    self.reason = f" (its writer is gone, and none came for {self.timeout:g} s)"
                    return b""
                raise NoiseStoppedError(
                    f"{self.name} has sent nothing for {self.timeout:g} s: check what sends the bits, or raise "
                    f"timeout={self.timeout:g}s"
                )

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._handle >= 0:
            if self._settings:
                import termios

                with contextlib.suppress(OSError, termios.error):
                    termios.tcsetattr(self._handle, termios.TCSANOW, self._settings)
            os.close(self._handle)
            self._handle = -1

    def _opened(self) -> int:
        if self.address in _STANDARD:
            return self._standard_input()
        scheme, found, rest = self.address.partition("://")
        with _said(self.address):
            if found and scheme == "tcp":
                return self._connected(socket.AF_INET, _host_and_port(self.address))
            if found and scheme == "unix":
                return self._connected(socket.AF_UNIX, rest)
            if found and scheme == "serial":
                path, _, options = rest.partition("?")
                return self._device(path, options)
            if stat.S_ISSOCK(Path(self.address).stat().st_mode):
                return self._connected(socket.AF_UNIX, self.address)
            return self._device(self.address)

    def _standard_input(self) -> int:
        try:
            mode = os.fstat(0).st_mode
        except OSError:
            raise InputError("standard input is closed; pipe the bits into it, or give a file") from None
        _check_mode(mode, "standard input")
        if os.isatty(0):
            raise InputError("standard input is a terminal; pipe the bits into it, or give a file or another stream")
        return os.dup(0)

    def _device(self, path: str, options: str | None = None) -> int:
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode):
            raise InputError(f"{path} is a file, not a stream; give it as a recording")
        _check_mode(mode, path)
        # Without waiting for the writer of a FIFO or the carrier of a port, and never as our own terminal.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        status = os.fstat(handle)
        numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
        self.system = stat.S_ISCHR(status.st_mode) and numbers in _SYSTEM
        # A pipe that a shell made for one command has no name, so that nobody can open it again.
        self._returns = stat.S_ISFIFO(status.st_mode) and os.path.exists(os.path.realpath(path))  # noqa: PTH110
        if options is not None or os.isatty(handle):
            try:
                self._settings = set_serial(handle, options or "", self.address)
            except BaseException:
                os.close(handle)
                raise
        return handle

    def _connected(self, family: int, where: Any) -> int:
        seconds = min(self.timeout, _CONNECT)
        if family == socket.AF_INET:
            made = socket.create_connection(where, timeout=seconds)
        else:
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                made.settimeout(seconds)
                made.connect(where)
            except BaseException:
                made.close()
                raise
        made.setblocking(False)
        return made.detach()


def _check_mode(mode: int, name: str) -> None:
    if stat.S_ISDIR(mode):
        raise InputError(f"{name} is a folder; give a file of bits, or a stream")
    if stat.S_ISBLK(mode):
        raise InputError(f"{name} is a block device (a disk); copy what it holds into a file, and give that")


@contextlib.contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn what the system refuses into one line."""
    try:
        yield
    except socket.gaierror as error:
        raise InputError(f"{address}: no such host ({error.strerror}); check its name") from None
    except OSError as error:
        remedies = {
            errno.ENOENT: "check its name", errno.EACCES: "ask for the right to read it",
            errno.EPERM: "ask for the right to read it", errno.ECONNREFUSED: "start what sends the bits",
            errno.EBUSY: "end the program that uses it", errno.ENXIO: "check that the device is plugged in",
        }  # fmt: skip
        reason = "nobody answers" if isinstance(error, TimeoutError) else error.strerror or str(error)
        remedy = remedies.get(error.errno or 0, "check the address and the device")
        raise InputError(f"{address} cannot be opened ({reason}); {remedy}") from None
    except ValueError as error:  # a null character, or a name that no host has
        if isinstance(error, InputError):
            raise
        raise InputError(f"{address} cannot be opened ({error}); check the address") from None


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port or parts.path or parts.query:
        raise InputError(f"{address} is no address of a socket; give tcp://HOST:PORT, such as tcp://localhost:5000")
    return parts.hostname, port


def set_serial(handle: int, options: str, name: str) -> list[Any]:
    """Set a serial port to plain bytes, eight bits, no parity and one stop bit where the options say nothing else.

    Args:
        handle: of the open port.
        options: ``baud=115200&parity=even&bits=7&stop=2``, each of which may be left out; without ``baud`` the speed
            stays as it is.
        name: of the port, for messages.

    Returns:
        The settings before, as ``termios.tcsetattr`` takes them.

    Raises:
        InputError: no serial port, the terminal of this session, an unknown option or value, or a speed that the
            system does not know.
    """
    import termios

    given = dict(parse_qsl(options, keep_blank_values=True))
    known = {"baud": "", "parity": "none", "bits": "8", "stop": "1"}
    for option in given.keys() - known.keys():
        raise InputError(f"{name}: option {option!r} is unknown; use baud, parity, bits, stop{nearest(option, known)}")
    said = known | given
    speeds = {w[1:]: getattr(termios, w) for w in dir(termios) if re.fullmatch(r"B[1-9]\d*", w)}
    for option, words in (("baud", ("", *sorted(speeds, key=int))), ("parity", _PARITY), ("bits", ("7", "8")),
                          ("stop", ("1", "2"))):  # fmt: skip
        if said[option] not in words:
            raise InputError(f"{name}: {option}={said[option]} is none; use one of {', '.join(filter(None, words))}")
    try:
        flags, before = termios.tcgetattr(handle), termios.tcgetattr(handle)
    except termios.error:
        raise InputError(f"{name} is no serial port; give the path of one, or leave serial:// out") from None
    with contextlib.suppress(OSError):  # of any terminal but our own
        os.tcgetpgrp(handle)
        raise InputError(f"{name} is the terminal of this session; give a serial port, or pipe the bits in")
    control = termios.CREAD | termios.CLOCAL | (termios.CS7 if said["bits"] == "7" else termios.CS8)
    control |= {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}[said["parity"]]
    control |= termios.CSTOPB if said["stop"] == "2" else 0
    speed = flags[4:6] if not said["baud"] else [speeds[said["baud"]]] * 2
    flags[6][termios.VMIN], flags[6][termios.VTIME] = 1, 0
    # No echo, no lines, no signals, no flow control by characters: every byte arrives as it was sent.
    termios.tcsetattr(handle, termios.TCSANOW, [0, 0, control, 0, *speed, flags[6]])
    termios.tcflush(handle, termios.TCIFLUSH)  # what came before, under settings that may have changed it
    return before
