"""``voltaspin cells``: the quality of each cell of an array that is read in turn, and which cells to leave out."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voltaspin.cli.files import Given, Streaming, file_options, input_of, say_read
from voltaspin.cli.noise import Imperfect, Raw, chosen_source, make_source
from voltaspin.cli.options import AsJson, Force, Seed, count, ratio
from voltaspin.cli.terminal import check_fail_on, end_on, progress_of, show
from voltaspin.core.files import write_bytes
from voltaspin.core.folders import claimed_file


@partial(file_options, without=("leave_out",))
def cells(
    file: Annotated[
        str | None, typer.Argument(help="File of bits or stream, - for standard input; or give --noise.")
    ] = None,
    noise: Annotated[str | None, typer.Option("--noise", help="memory, instead of a file.")] = None,
    bits: Annotated[
        int | None, count("--bits", most=2**52, why="more than any file has", help="How many; default: all of a file.")
    ] = None,
    rows: Annotated[
        int | None, count("--rows", most=2**20, why="the cells that are told apart", help="Of the array, for its map.")
    ] = None,
    columns: Annotated[
        int | None,
        count("--columns", most=2**20, why="the cells that are told apart", help="Likewise; default: nearest square."),
    ] = None,
    max_bias: Annotated[
        float | None, ratio("--max-bias", high=0.499, help="Of a cell that is kept; default: the specification's.")
    ] = None,
    max_correlation: Annotated[
        float | None, ratio("--max-correlation", high=0.999, help="Of lag 1, and with the cell before; likewise.")
    ] = None,
    max_drift: Annotated[
        float | None, ratio("--max-drift", high=0.499, help="Of the bias along the recording, rms; likewise.")
    ] = None,
    min_entropy: Annotated[
        float | None, ratio("--min-entropy", help="Bit per bit, of a cell that is kept; default: not asked.")
    ] = None,
    false_alarm: Annotated[
        float,
        ratio(
            "--false-alarm", high=0.5, zero=False, help="Probability that any cell is left out that keeps all limits."
        ),
    ] = 0.01,
    specification: Annotated[
        Path | None, typer.Option("--specification", help="Another one than the package's: JSON.")
    ] = None,
    battery: Annotated[
        str, typer.Option("--battery", help="Cells of which all ten estimates of min-entropy are made: 3,17,40-47.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON file of the result, which --leave-out of other commands takes.")
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG of the map and the distributions.")] = None,
    raw: Raw = False,
    imperfect: Imperfect = False,
    seed: Seed = 0,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", help="bad-cells: end with status 3 where a cell must be left out.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
    streaming: Streaming,
) -> None:
    """Examine each cell of an array whose cells are read in turn: bias, correlation, min-entropy, drift, a map.

    A cell is left out where its bits show it beyond a limit; the limits are those of the specification of a noise
    device.

    Example: [bold]voltaspin cells lab.bin --n-cells 1024 --out cells.json --figure map.png[/bold], and then
    [bold]voltaspin bits lab.bin --leave-out cells.json --out clean.bin[/bold]
    """
    check_fail_on(fail_on, {"bad-cells": "a cell must be left out"})
    noise = chosen_source(file, noise)
    from voltaspin.noise.examination.cell_result import CellCriteria, cells_of_text
    from voltaspin.noise.examination.cells import examine_cells
    from voltaspin.requirements.cells import cell_criteria
    from voltaspin.requirements.specification import NoiseSpecification

    spec = NoiseSpecification.shipped() if specification is None else NoiseSpecification.load(specification)
    given = {
        "max_bias": max_bias, "max_correlation": max_correlation, "max_drift": max_drift, "min_entropy": min_entropy,
    }  # fmt: skip
    stated = {name: value for name, value in given.items() if value is not None}
    criteria = cell_criteria(spec)
    origin = f"{', '.join(stated)} given, the others by {criteria.origin}" if stated else criteria.origin
    said = {**stated, "false_alarm": false_alarm, "origin": origin.replace("_", " ")}
    criteria = CellCriteria.from_json(criteria.to_json() | said, where="the limits of cells")
    chosen = cells_of_text(battery, "battery") if battery else ()
    with contextlib.ExitStack() as claims:
        for path, suffix in ((out, ".json"), (figure, ".png")):
            if path is not None:
                claims.enter_context(claimed_file(path, force=force, suffix=suffix, inputs=[noise, specification]))
        source = make_source(
            noise, seed=seed, raw=raw, imperfect=imperfect, recording=recording, streaming=streaming, force=force
        )
        with progress_of("bits read") as report:
            found = examine_cells(
                source, n_bits=bits, criteria=criteria, rows=rows, columns=columns, battery=chosen, progress=report
            )
        found = found.model_copy(update={"input": input_of(source)})
        if out is not None:
            found.save(out)
        if figure is not None:
            from voltaspin.plots.drawing import png

            write_bytes(figure, png(found.plot()))
    say_read(source)
    show(found, as_json)
    end_on(fail_on, {"bad-cells": bool(found.left_out)})
