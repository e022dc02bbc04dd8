"""A connection to an instrument through PyVISA: commands out, answers back, and what goes wrong in between.

The VISA calls run in a thread of their own. A wait for one can therefore be shown and ended by a signal, whatever
library does the work. After a silence the connection is opened anew, because an answer that comes late would be taken
for that to the next query.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from voltaspin.core.errors import InputError
from voltaspin.core.spec import shown
from voltaspin.core.stopping import end_wait
from voltaspin.lab.profile import Profile

T = TypeVar("T")

_WAIT = 0.2  # seconds of one piece of a wait
_OPENING = 10.0  # seconds that a connection may take
_PAUSE = 0.5  # seconds before the second opening; every further one waits twice as long
_AT_ONCE = 1 << 16  # bytes of one read
_LONGEST = 1 << 26  # bytes of one answer
_ERRORS = 100  # entries of an error queue


class InstrumentError(InputError):
    """An instrument gave no answer, or one that cannot be used."""


class LostError(InstrumentError):
    """An instrument is silent, or its connection is gone: it may be opened and asked again."""


class Session:
    """An open instrument.

    Args:
        profile: of the instrument.
        waiting: called several times a second while an answer is waited for.

    Raises:
        InstrumentError: PyVISA is not installed, the instrument cannot be opened, or refuses an initial command.
    """

    def __init__(self, profile: Profile, *, waiting: Callable[[], None] = lambda: None) -> None:
        self.profile, self._waiting = profile, waiting
        self.asked_again = 0  #: how often an answer was lost
        self.identity = ""  #: the name that the instrument gives itself
        self._resource: Any = None  # lives in the thread
        self._gone, self._closing = f"{self.name} is closed", False
        self._jobs: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[tuple[Any, BaseException | None]]] | None]
        self._jobs = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="instrument")
        self._thread.start()
        try:
            self._do(self._open)
            if profile.errors:
                self._taken_errors()  # those of earlier users
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The instrument in messages."""
        return self.profile.address

    def write(self, command: str) -> None:
        """Send a command, and let it settle."""
        self._do(partial(self._send, command))
        self._pause(self.profile.settling)

    def ask(self, query: str) -> bytes:
        """Return the line of text that answers a query, without its end."""

        def answer() -> bytes:
            self._send(query)
            return self._line()

        return self._do(answer, query)

    def ask_block(self, query: str) -> bytes:
        """Return the data of the IEEE 488.2 block that answers a query."""

        def answer() -> bytes:
            self._send(query)
            head = self._exactly(2)
            if head == b"#0":
                raise InstrumentError(
                    f"{self.name} answers {query!r} with a block of indefinite length, whose end its data may "
                    "hold; ask for blocks of definite length"
                )
            if not (head[:1] == b"#" and head[1:].isdigit()):
                raise InstrumentError(
                    f"{self.name} answers {query!r} with {shown(head)}, and a block begins with # and a digit"
                )
            digits = self._exactly(int(head[1:]))
            if not digits.isdigit() or int(digits) > _LONGEST:
                raise InstrumentError(
                    f"{self.name} answers {query!r} with a block whose length is {shown(digits)}; at most "
                    f"{_LONGEST} bytes are read"
                )
            return self._ended(self._exactly(int(digits)), query)

        return self._do(answer, query)

    def ask_bytes(self, query: str, size: int) -> bytes:
        """Return the ``size`` bare bytes that answer a query."""

        def answer() -> bytes:
            self._send(query)
            return self._ended(self._exactly(size), query)

        return self._do(answer, query)

    def check_errors(self, after: str) -> None:
        """Raise InstrumentError if the error queue holds something; ``after`` says what was done."""
        if self.profile.errors and (found := self._taken_errors()):
            raise InstrumentError(
                f"{self.name} reports {'; '.join(found)} after {after}; correct the profile or the device"
            )

    def retried(self, work: Callable[[], T]) -> T:
        """Return what ``work`` gives; where the instrument is lost meanwhile, open it again and begin again."""
        for left in range(self.profile.retries, -1, -1):
            try:
                return work()
            except LostError as lost:
                if not left:
                    tried = self.profile.retries
                    raise LostError(f"{lost}" + (f"; {tried + 1} attempts failed" if tried else "")) from None
                self._reopen(lost, self.profile.retries - left)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Send the final commands, also after a signal, and let go of the instrument; a dead one is left as it is."""
        self._closing = True
        with contextlib.suppress(InstrumentError):
            for command in self.profile.final:
                try:
                    self._send(command)  # here, since the thread may still wait for an answer that was given up
                except Exception:  # of a library that does one thing at a time: behind that answer
                    self._do(partial(self._send, command))
                self._pause(self.profile.settling)
        self._end()

    # --- waits -----------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], T], query: str = "") -> T:
        """Return what a call in the thread of VISA gives."""
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._jobs.put((work, answer))
        while True:
            try:
                value, error = answer.get(timeout=_WAIT)
            except Empty:
                if not self._thread.is_alive():
                    raise LostError(f"{self.name} is closed") from None
                if not self._closing:
                    end_wait()
                    self._waiting()
                continue
            if error is not None:
                raise self._said(error, query)
            found: T = value
            return found

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, answer = job
            try:
                answer.put((work(), None))
            except BaseException as error:
                answer.put((None, error))

    def _said(self, error: BaseException, query: str) -> BaseException:
        """Return an error of VISA or of the system as one of ours."""
        if isinstance(error, InputError) or not isinstance(error, Exception):
            return error
        code = str(getattr(error, "abbreviation", ""))
        if code == "VI_ERROR_TMO":
            what = f"has not answered {query!r}" if query else "took no command"
            return LostError(
                f"{self.name} {what} within {self.profile.timeout:g} s: check the query, the cable and timeout"
            )
        # Backends raise whatever their libraries do: OSError, VisaIOError, or an attribute of a session that is closed.
        reason = getattr(error, "strerror", None) or code or " ".join(str(error).split()) or type(error).__name__
        return LostError(f"the connection to {self.name} is lost ({reason})")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self._closing:
                end_wait()
                self._waiting()
            time.sleep(min(left, _WAIT))

    # --- opening ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for command in self.profile.initial:
            self.write(command)
        if self.profile.initial:
            self.check_errors("its initial commands")
        if self.profile.identity:
            self.identity = self.ask(self.profile.identity).decode("latin-1").strip()

    def _reopen(self, lost: LostError, times: int) -> None:
        """Open the connection anew; one that cannot be opened counts when it is used next."""
        self.asked_again += 1
        self._pause(_PAUSE * 2 ** min(times, 5))
        with contextlib.suppress(LostError):
            self._do(self._shut)
            try:
                self._do(self._open)
            except InstrumentError as error:  # as long as nobody answers
                self._gone = f"{lost}; {error}"
                return
            if self.profile.errors and (found := self._taken_errors()):
                raise InstrumentError(f"{lost}; its error queue says {'; '.join(found)}")
            self._begin()

    def _open(self) -> None:
        profile = self.profile
        try:
            import pyvisa
        except ImportError:
            raise InstrumentError("instruments need PyVISA: pip install 'voltaspin[lab]'") from None
        try:
            manager = pyvisa.ResourceManager(profile.backend)
            resource = manager.open_resource(profile.address, open_timeout=round(1e3 * min(profile.timeout, _OPENING)))
        except Exception as error:  # of the parser of addresses, of the library, of the system, or a bare Exception
            reason = " ".join(str(error).split())[:300]
            raise InstrumentError(
                f"{profile.address} cannot be opened ({reason}); check the address, the cable and "
                f"backend={profile.backend!r}"
            ) from None
        if not isinstance(resource, pyvisa.resources.MessageBasedResource):
            resource.close()
            raise InstrumentError(f"{profile.address} takes no commands; give the address of an instrument that does")
        resource.timeout = max(1, round(1e3 * profile.timeout))
        resource.read_termination = profile.read_termination or None
        _send_at_once(resource)
        self._resource = resource

    def _shut(self) -> None:
        if self._resource is not None:
            resource, self._resource = self._resource, None
            with contextlib.suppress(Exception):  # a connection that is dead may refuse to be closed
                resource.close()

    def _end(self) -> None:
        """Close after whatever the thread still does, without waiting for that."""
        self._jobs.put((self._shut, SimpleQueue()))
        self._jobs.put(None)
        self._thread.join(2.0)

    def _taken_errors(self) -> list[str]:
        """Return the entries of the error queue, which is empty then."""
        found: list[str] = []
        while len(found) < _ERRORS:
            answer = self.ask(self.profile.errors).decode("latin-1").strip()
            number = answer.partition(",")[0].strip()
            if not number.lstrip("+-").isdecimal():
                raise InstrumentError(
                    f"{self.name} answers {self.profile.errors!r} with {shown(answer)}, no entry of an error queue"
                )
            if not int(number):
                break
            found.append(answer)
        return found

    # --- in the thread ---------------------------------------------------------------------------------

    def _opened(self) -> Any:
        if self._resource is None:
            raise LostError(self._gone)
        return self._resource

    def _send(self, command: str) -> None:
        self._opened().write_raw((command + self.profile.write_termination).encode())

    def _line(self) -> bytes:
        """Return bytes up to the termination, which is left out."""
        resource, found, more = self._opened(), bytearray(), True
        end = self.profile.read_termination.encode()
        while more:
            with resource.ignore_warning(_max_count()):
                data, status = resource.visalib.read(resource.session, _AT_ONCE)
            found += data
            more = status == _max_count()
            if len(found) > _LONGEST:
                raise InstrumentError(
                    f"{self.name} sends more than {_LONGEST} bytes without an end; check read_termination"
                )
        return bytes(found).removesuffix(end) if end else bytes(found)

    def _exactly(self, size: int) -> bytes:
        found: bytes = self._opened().read_bytes(size)
        return found

    def _ended(self, data: bytes, query: str) -> bytes:
        """Read the termination behind binary data."""
        end = self.profile.read_termination.encode()
        if end and (found := self._exactly(len(end))) != end:
            raise InstrumentError(
                f"{self.name} answers {query!r} with {len(data)} bytes and {shown(found)} behind them, where "
                f"{shown(end)} ends an answer; check the length, or read_termination"
            )
        return data


def _send_at_once(resource: Any) -> None:
    """Switch off the system's waiting for more bytes, which delays a query behind a command by 40 ms.

    pyvisa-py has no setter for VI_ATTR_TCPIP_NODELAY; other libraries switch it off by themselves.
    """
    sessions = getattr(resource.visalib, "sessions", {})
    interface = getattr(sessions.get(resource.session), "interface", None)
    if isinstance(interface, socket.socket):
        interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _max_count() -> Any:
    """The status of a read that stopped because its buffer was full."""
    from pyvisa.constants import StatusCode

    return StatusCode.success_max_count_read
