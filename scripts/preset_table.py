"""Write docs/junctions.md: what follows from the numbers of every preset, and where the numbers come from.

python scripts/preset_table.py [--out docs/junctions.md] [--records build/presets] [--presets NAME ...] [--quick]

Minutes per preset. The records (device.json of each) are kept and not computed again while preset and version stay;
remove them after a change of the physics.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.files import write_text
from voltaspin.core.format import duration, energies, number
from voltaspin.core.progress import progress
from voltaspin.core.spec import environment
from voltaspin.cost.pricing import BOUNDARIES, CellPulse, Prices, drawn_line, price
from voltaspin.cost.table import CostTable, Draws
from voltaspin.device import log_flip_rate, presets
from voltaspin.device.characterisation import Characterisation, PulseRecord
from voltaspin.device.characterise import QUICK, Effort, characterise
from voltaspin.device.fokker_planck import ROUNDING
from voltaspin.device.low_barrier import relaxation
from voltaspin.memory.lines import bit_line

HEADINGS = (
    "preset", "Delta", "barrier (k_B T)", "V_c (V)", "period (ns)", "fair pulse", "its worst deviation from 1/2",
    "widths within 0.01 of 1/2 (ns)", *(f"energy, {boundary}" for boundary in BOUNDARIES), "write pulse", "its WER",
    "retention",
)  # fmt: skip

TEXT = """\
# Junctions

After reading this page you know which junctions ship with the package, how they behave, and where each of their
numbers comes from. Nothing here is measured: each row follows from the numbers of a preset. [From the bench to
images](tutorial-lab.md) fits a junction that is no preset, and uses it.

`{command}` made this page with {versions}.

{table}

{notes}
{terms}
- **Delta** is without the in-plane field, and the **barrier** is with it. **V_c** cancels the anisotropy. The
  **period** is that of one turn about the in-plane field.
- The **fair pulse** is the shortest rectangular pulse for which p01 and p10 stay within 0.01 of 1/2. They have to
  stay so over +-2 % of voltage, +-20 K, and +-5 % of K_eff together with +-2 mT along z. If there is no such pulse,
  the pulse with the least deviation is taken. The worst deviation is the largest one over this box.{coin}
- The **energy** is that of one fair pulse, without reset and read. `cell` is the current through the barrier and
  the charge of the oxide. `cell+line` adds {line}. `macro` adds drivers. The prices are: {prices}.
- The **write pulse** is the rectangular pulse with the lowest write error rate (WER). Edges, jitter and spread make
  a real pulse worse.
- **Retention** is the mean life of one bit at the preset's temperature and without a voltage.
- Bits are judged {relax} ns after a pulse, and spin torque is {torque}. All junctions are macrospins, which makes
  junctions above 40 to 50 nm look better than they are.

## Where the numbers come from

{sources}
"""


def pulse_energies(pulse: PulseRecord, table: CostTable) -> list[str]:
    """Energy of one pulse at each boundary, with its 90 % range."""
    cell = CellPulse(voltage=pulse.voltage, ohmic=pulse.energy.ohmic, charging=pulse.energy.capacitive)
    found = price({"pulse": 1}, Prices.of_pulses({"pulse": cell}, draws=Draws(table)))
    return [energies(found[boundary]) for boundary in BOUNDARIES]


def cells(record: Characterisation, costs: CostTable, note: Notes) -> list[str]:
    """One row; a blank carries the number of its reason."""
    d, reasons = record.derived, record.reasons
    blank = lambda part: note(reasons.get(part, "not found"))  # noqa: E731
    row = [record.junction.name, number(d.Delta), number(d.barrier)]
    row.append(blank("V_c") if d.V_c is None else number(d.V_c))
    if d.V_c is not None and abs(d.V_c) > record.oxide.limit:
        row[-1] += " " + note.mark(f"above the {number(record.oxide.limit)} V at which this oxide is taken to break")
    row.append(blank("period") if d.period is None else number(d.period * 1e9))
    if (coin := record.coin) is None:
        row += [blank("coin")] * (3 + len(BOUNDARIES))
    else:
        row.append(f"{number(coin.voltage)} V, {number(coin.width * 1e9)} ns")
        if not coin.searched:
            why = reasons.get("search for the fair pulse", "a fair pulse is searched with an in-plane field only")
            row[-1] += " " + note.mark(f"the fairest of a map, its tolerance not searched: {why}")
            row.append(note(f"not searched: {why}"))
        else:
            row.append(f"{number(coin.worst_deviation or 0.0, 2)} ({coin.worst_case})")
        fair = "the pulse itself is further than 0.01 from 1/2"
        row.append(f"{number(coin.band[0] * 1e9)} to {number(coin.band[1] * 1e9)}" if coin.band else note(fair))
        row += pulse_energies(coin, costs)
    if (write := record.write) is None:
        row += [blank("write")] * 2
    else:
        rate = number(write.WER, 2) if write.WER > ROUNDING else "< 10⁻¹²"
        row += [
            f"{number(write.voltage)} V, {number(write.width * 1e9)} ns",
            rate,
        ]
        if not write.searched:
            why = reasons.get("search for the write pulse", "a quick run")
            row[-2] += " " + note.mark(f"the best of a map: {why}")
    life = record.retention.life if record.retention else None
    row.append(duration(life) if life else blank("life" if record.retention else "retention"))
    return row


class Notes:
    """Footnotes, each reason once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def mark(self, reason: str) -> str:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return f"[{self.reasons.index(reason) + 1}]"

    def __call__(self, reason: str) -> str:
        return f"– {self.mark(reason)}"

    def __str__(self) -> str:
        return "\n".join(f"{k}. {reason}" for k, reason in enumerate(self.reasons, 1))


def document(records: Sequence[Characterisation], command: str, costs: CostTable, others: Sequence[str] = ()) -> str:
    """The page for these records and for the names of presets with further terms.

    Raises InputError where the records were made under different conditions.
    """
    if len({(r.relax, r.spin_torque, r.line_capacitance) for r in records}) != 1:
        raise InputError("the records were made under different conditions; remove them and compute them again")
    notes, first = Notes(), records[0]
    line = float(np.median(drawn_line(Draws(costs), 65536)))
    rows = [cells(record, costs, notes) for record in records]
    lines = ["| " + " | ".join(row) + " |" for row in (HEADINGS, ["---"] * len(HEADINGS), *rows)]
    searched = any(r.coin is not None and r.coin.searched for r in records)
    versions = ", ".join(f"{name} {first.environment[name]}" for name in ("voltaspin", "python", "numpy", "scipy"))
    return TEXT.format(
        command=command,
        versions=versions,
        table="\n".join(lines),
        notes=str(notes),
        coin="" if searched else " This run was quick and took the fairest pulse of a coarse map instead.",
        line=f"a line past 256 cells ({number(1e15 * line, 2)} fF), charged once",
        prices=costs.name,
        relax=number(first.relax * 1e9),
        torque="on" if first.spin_torque else "off",
        terms=further(others),
        sources="\n\n".join(described(name) for name in [*(record.junction.name for record in records), *others]),
    )


def further(names: Sequence[str]) -> str:
    """The junctions with further terms, which are not characterised."""
    if not names:
        return ""
    lines = [
        "",
        "Junctions with further terms ([terms.md](terms.md)) have no row above, because their pulses differ:",
        "",
    ]
    lines += [
        "| preset | what it is | terms | barrier (k_B T) | how fast it forgets |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in names:
        junction = presets.get(name)
        try:
            pace = f"{number(math.exp(log_flip_rate(junction).value))} flips per second"
        except InputError:
            pace = "no rate"
        if junction.barrier() < 5:
            pace = f"a correlation time of {number(1e9 * relaxation(junction).correlation_time.value)} ns"
        cells = [name, presets.entry(name).title, ", ".join(junction.terms), number(junction.barrier()), pace]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", ""])


def described(name: str) -> str:
    """Return every number of a preset with its grade and source; a source that several numbers share is named once."""
    entry = presets.entry(name)
    numbers = presets.sources(name)
    shared, times = Counter(part for n in numbers.values() for part in n.source.split("; ")).most_common(1)[0]
    cited = entry.citation[0].upper() + entry.citation[1:]
    lines = [f"### {name}: {entry.title}", "", f"{cited}. {entry.notes}".strip(), ""]
    if times > 2:
        lines += [f"*As above* in this table means: {shared}.", ""]
    lines += ["| parameter | value | unit | grade | source |", "| --- | --- | --- | --- | --- |"]
    for key, n in numbers.items():
        span = "" if n.low is None or n.high is None else f" ({n.low:.4g} to {n.high:.4g})"
        source = n.source.replace(shared, "as above") if times > 2 else n.source
        lines.append(f"| {key} | {n.value:.6g}{span} | {n.unit} | {n.grade} | {source} |")
    return "\n".join(lines)


def recorded(name: str, folder: Path, effort: Effort) -> Characterisation:
    """The kept record of this preset, or a new one."""
    path = folder / f"{name}{'-quick' if effort == QUICK else ''}.json"
    junction, line = presets.get(name), bit_line(256)
    if path.exists():
        try:
            kept = Characterisation.load(path)
            if (
                kept.junction == junction
                and kept.line_capacitance == line
                and kept.environment["voltaspin"] == environment()["voltaspin"]
            ):
                print(f"{name}: kept in {path}", file=sys.stderr)
                return kept
        except InputError as error:
            print(f"{name}: {error}; computed again", file=sys.stderr)
    print(f"{name}: computing", file=sys.stderr)
    with progress() as shown:
        record = characterise(junction, effort=effort, line_capacitance=line, progress=shown)
    folder.mkdir(parents=True, exist_ok=True)
    record.save(path)
    return record


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/junctions.md"))
    parser.add_argument("--records", type=Path, default=Path("build/presets"), help="folder of device.json files")
    parser.add_argument("--presets", nargs="+", default=list(presets.names()))
    parser.add_argument("--quick", action="store_true", help="coarse grids, pulses taken from the map")
    args = parser.parse_args(argv)
    for name in args.presets:
        presets.entry(name)  # an unknown name is refused before the others take their minutes
    costs, effort = CostTable.default(), QUICK if args.quick else Effort()
    others = [name for name in args.presets if presets.get(name).terms]
    records = [recorded(name, args.records, effort) for name in args.presets if name not in others]
    command = "python scripts/preset_table.py" + (" --quick" if args.quick else "")
    if args.presets != list(presets.names()):
        command += " --presets " + " ".join(args.presets)
    write_text(args.out, document(records, command, costs, others))
    print(args.out)


if __name__ == "__main__":
    main()
