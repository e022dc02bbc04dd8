"""Device-to-device variation, drawn once and kept; and the errors and currents of writing and reading such cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device import Junction, Pulse
from voltaspin.device.transport import ReadScheme, read
from voltaspin.memory.lines import bit_line
from voltaspin.random.streams import Stream

Floats = NDArray[np.float64]

SCREENING = 4.0  #: cells beyond so many standard deviations are taken to be screened out by the tester [assumed]

#: Spread of :class:`Variation` -> (the quantity of a cell, purpose of its random numbers).
QUANTITIES: dict[str, tuple[str, str]] = {
    "K_eff": ("K_eff_scale", "K_eff"),
    "stray_field": ("B_z", "stray field"),
    "diameter": ("diameter_scale", "diameter"),
    "xi": ("xi_scale", "xi"),
    "RA": ("RA_scale", "RA"),
    "TMR": ("TMR_scale", "TMR"),
}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Device-to-device variation. Every quantity is Gaussian, truncated at 4 standard deviations.

    Args:
        K_eff, diameter, xi, RA, TMR: standard deviations over the nominal values [1]. K_eff is a small difference
            of large numbers, so its spread is stated on K_eff itself; the diameter's does not move it.
        stray_field: standard deviation of the stray field along z [T].
        correlated: share of each variance that neighbouring cells have in common [1].
        correlation_length: distance [cells] at which the correlation of that part has fallen to 1/e, as a Gaussian.
        gradient: change from the first to the last (row, column), by quantity, linear: of a die.
        wafer: change from the centre to the edge of the wafer, by quantity, as the square of the radius.
        die_at: centre of the die on the wafer, (down, right) in radii of the wafer.
        die_size: its (height, width) in radii of the wafer; 10 mm of 150 mm.

    Gradients are relative for all quantities but ``stray_field``, where they are in tesla.

    Raises:
        InputError: a negative spread, one whose 4 standard deviations would reach zero, an unknown quantity, or a
            die that hangs over the edge.
    """

    K_eff: float = 0.05
    diameter: float = 0.0
    xi: float = 0.0
    RA: float = 0.0
    TMR: float = 0.0
    stray_field: float = 0.5e-3
    correlated: float = 0.0
    correlation_length: float = 8.0
    gradient: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    wafer: Mapping[str, float] = field(default_factory=dict)
    die_at: tuple[float, float] = (0.0, 0.0)
    die_size: tuple[float, float] = (0.067, 0.067)

    def __post_init__(self) -> None:
        for name in QUANTITIES:
            spread, unit = getattr(self, name), " T" if name == "stray_field" else ""
            label = f"{name}_spread" if name in ("K_eff", "stray_field") else name
            if not math.isfinite(spread) or spread < 0:
                raise InputError(f"{label} = {spread}{unit} must be finite and not negative")
            if name != "stray_field" and spread * SCREENING >= 1:
                raise InputError(
                    f"{label} = {spread} would give cells without any {name}; give less than {1 / SCREENING}"
                )
        if not 0 <= self.correlated <= 1 or not 0 < self.correlation_length < math.inf:
            raise InputError(
                f"correlated = {self.correlated} is a share from 0 to 1 and correlation_length = "
                f"{self.correlation_length} cells must be positive and finite"
            )
        for name in (*self.gradient, *self.wafer):
            if name not in QUANTITIES:
                raise InputError(f"{name!r} does not vary from cell to cell; known: {', '.join(QUANTITIES)}")
        corner = np.abs(np.array(self.die_at)) + np.array(self.die_size) / 2
        if self.wafer and np.hypot(*corner) > 1:
            raise InputError(f"a die of {self.die_size} at {self.die_at} wafer radii hangs over the edge of the wafer")

    def varies(self, name: str) -> bool:
        """Whether cells differ in that quantity."""
        return bool(getattr(self, name) or any(self.gradient.get(name, ())) or self.wafer.get(name))

    def draw(self, rows: int, columns: int, seed: int) -> dict[str, Floats]:
        """Quantities of the cells that differ: float64 (rows, columns) by the switching model's names."""
        found = {}
        for name, (quantity, purpose) in QUANTITIES.items():
            if not self.varies(name):
                continue
            value = getattr(self, name) * self._normals(rows, columns, seed, purpose) + self._trend(name, rows, columns)
            found[quantity] = value if quantity == "B_z" else 1 + value
            if quantity != "B_z" and not (found[quantity] > 0).all():
                raise InputError(f"the gradients leave cells without any {name}; lower gradient or wafer")
        return found

    def _normals(self, rows: int, columns: int, seed: int, purpose: str) -> Floats:
        from scipy.special import ndtr, ndtri

        tail = ndtr(-SCREENING)
        u = Stream.of(seed, "memory", "variation", purpose).uniforms(rows * columns)
        z = np.asarray(ndtri(tail + u * (1 - 2 * tail)), dtype=np.float64).reshape(rows, columns)
        if not self.correlated:
            return z
        smooth = _smooth(rows, columns, self.correlation_length, Stream.of(seed, "memory", "correlated", purpose))
        z = np.sqrt(1 - self.correlated) * z + np.sqrt(self.correlated) * smooth
        return np.asarray(np.clip(z, -SCREENING, SCREENING))

    def _trend(self, name: str, rows: int, columns: int) -> Floats:
        """Mean of the quantity less its nominal value: (rows, columns)."""
        y, x = (np.arange(n) / max(n - 1, 1) - 0.5 for n in (rows, columns))
        down, right = self.gradient.get(name, (0.0, 0.0))
        (at_y, at_x), (height, width) = self.die_at, self.die_size
        radius2 = (at_y + height * y[:, None]) ** 2 + (at_x + width * x) ** 2
        return np.asarray(down * y[:, None] + right * x + self.wafer.get(name, 0.0) * radius2)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "gradient": {k: list(v) for k, v in self.gradient.items()}}


def _smooth(rows: int, columns: int, length: float, stream: Stream) -> Floats:
    """Normals of variance 1 whose correlation at a distance r is exp(-(r / length)^2): (rows, columns)."""
    from scipy.ndimage import gaussian_filter1d

    sigma = length / 2
    radius = int(np.ceil(4 * sigma))
    shape = (rows + 2 * radius, columns + 2 * radius)
    white = stream.normals(shape[0] * shape[1]).reshape(shape)
    out = gaussian_filter1d(gaussian_filter1d(white, sigma, 0, radius=radius), sigma, 1, radius=radius)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    power = float(((kernel / kernel.sum()) ** 2).sum())
    return np.asarray(out[radius : radius + rows, radius : radius + columns] / power)


#: Read at a voltage that raises the barrier [assumed]; the bit line comes from an array's rows.
READ = ReadScheme(voltage=-0.1, integration_time=25e-9, input_resistance=5e3)


@dataclass(frozen=True, kw_only=True)
class Access:
    """The numbers of the device for changing and reading a bit.

    A voltage pulse turns a bit over, whatever it is. A write is therefore a read, and a toggle of the cells that hold
    the wrong bit.

    Args:
        toggle_error: probability that a toggle leaves a 0, and a 1, as it was.
        current_0, current_1: of a nominal cell at 0 (parallel) and 1 that is read [A].
        noise_0, noise_1: standard deviations of these currents from read to read [A].
        offset: standard deviation of the offsets of the sense amplifiers, one for each column [A].

    Raises:
        InputError: an error that is no probability, currents that do not tell 0 from 1, negative noise.
    """

    toggle_error: tuple[float, float] = (0.0, 0.0)
    current_0: float = 2.0
    current_1: float = 1.0
    noise_0: float = 0.0
    noise_1: float = 0.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for p in self.toggle_error:
            if not 0 <= p <= 1:
                raise InputError(f"toggle_error = {self.toggle_error} must be probabilities from 0 to 1")
        if not math.inf > self.current_0 > self.current_1 > 0:
            raise InputError(
                f"current_0 = {self.current_0} A must be above current_1 = {self.current_1} A, which must be positive; "
                "a junction without TMR cannot be read"
            )
        if not all(0 <= spread < math.inf for spread in (self.noise_0, self.noise_1, self.offset)):
            raise InputError("noise_0, noise_1 and offset are standard deviations [A]: finite and not negative")

    @classmethod
    def of(
        cls, junction: Junction, *, write: Pulse | None = None, rows: int = 256, scheme: ReadScheme | None = None
    ) -> Access:
        """Compute the numbers from a junction's physics.

        Args:
            junction: of the nominal cell.
            write: the pulse that turns a bit over; None searches the best one, some seconds.
            rows: of the array, past which its bit lines run.
            scheme: of the read; ``READ`` on such a line where None. Its spreads are left out: the array's own variation
                stands for them.
        """
        from voltaspin.device.fokker_planck import switching_probability
        from voltaspin.device.pulse_design import best_pulse

        if write is None and junction.terms:
            raise InputError(
                f"write: the pulse that turns a bit of {junction.name} with {', '.join(junction.terms)} over is not "
                "searched; give write=Pulse(voltage=..., width=...)"
            )
        if write is None:
            write = best_pulse(junction, target="write").pulse
        found = [switching_probability(junction, write, initial=w) for w in ("up", "down")]
        stays = [result.WER or result.WER_high for result in found]  # the bound where the error is not resolved
        scheme = replace(READ, line_capacitance=bit_line(rows)) if scheme is None else scheme
        seen = read(junction, replace(scheme, resistance_spread=0.0, TMR_spread=0.0))
        return cls(
            toggle_error=(stays[0], stays[1]), current_0=abs(seen.P.current), current_1=abs(seen.AP.current),
            noise_0=seen.P.noise, noise_1=seen.AP.noise, offset=scheme.offset,
        )  # fmt: skip

    def reference(self, cells: int = 1, ones: int = 1) -> float:
        """Current that tells at least ``ones`` ones of ``cells`` cells on one line from fewer [A]."""
        if not 1 <= ones <= cells:
            raise InputError(f"{ones} ones of {cells} cells cannot be told from fewer; give 1 to {cells}")
        fewer = (cells - ones + 1) * self.current_0 + (ones - 1) * self.current_1
        return fewer - (self.current_0 - self.current_1) / 2

    def currents(self, bits: NDArray[np.uint8], cells: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Mean current and variance of the cells [A, A^2], float64 in the shape of ``bits``.

        Args:
            bits: that they hold.
            cells: their ``diameter_scale``, ``RA_scale`` and ``TMR_scale``, as far as they differ.
        """
        one: Any = np.float64(1)
        conductance = cells.get("diameter_scale", one) ** 2 / cells.get("RA_scale", one)
        TMR = (self.current_0 / self.current_1 - 1) * cells.get("TMR_scale", one)
        mean = self.current_0 * conductance / np.where(bits, 1 + TMR, 1.0)
        variance = np.where(bits, self.noise_1, self.noise_0) ** 2 * conductance  # thermal and shot noise: as G
        return np.broadcast_to(mean, bits.shape), np.broadcast_to(variance, bits.shape)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
