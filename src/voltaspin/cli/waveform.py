"""``voltaspin waveform``: levels, telegraph statistics and bits of an analogue trace."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voltaspin.cli.files import SPELLED, Given, file_options
from voltaspin.cli.noise import described_beside
from voltaspin.cli.options import AsJson, Force, quantity, word
from voltaspin.cli.terminal import check_fail_on, end_on, show
from voltaspin.core import units
from voltaspin.core.console import as_options
from voltaspin.core.errors import InputError
from voltaspin.core.files import is_stream, write_bytes
from voltaspin.core.folders import claimed_file


@partial(file_options, without=("bit_order", "n_cells", "leave_out"))
def waveform(
    file: Annotated[Path, typer.Argument(help="Table of an oscilloscope, NPY, HDF5, MATLAB, WAV or raw words.")],
    sample_rate: Annotated[
        float | None,
        quantity(
            "--sample-rate",
            dimension=units.SAMPLE_RATE,
            bare="Hz",
            help="Samples a second, 1MHz or 1MS/s, where the file does not say it.",
        ),
    ] = None,
    time_column: Annotated[
        str | None, typer.Option("--time-column", help="Column of the times: name, or number from 0.")
    ] = None,
    hysteresis: Annotated[
        str | None,
        typer.Option(
            "--hysteresis",
            help="Distance of the two thresholds for states, 50mV; default: half of the way "
            "from the threshold to either level.",
        ),
    ] = None,
    period: Annotated[
        float | None,
        quantity("--period", dimension=units.DURATION, help="Bits by a clock: its period, such as 1us."),
    ] = None,
    phase: Annotated[
        float | None,
        quantity("--phase", dimension=units.TIME, help="Time of the first bit after the first sample, such as 0.5us."),
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover-clock", help="Bits by a clock that is found in the trace.")
    ] = False,
    trigger: Annotated[
        str | None, typer.Option("--trigger", help="Bits by the edges of this column or channel of the file.")
    ] = None,
    edge: Annotated[
        str | None,
        word(
            "--edge",
            words=("rise", "fall", "both"),
            help="Of the trigger: rise, fall (the end of a pulse) or both; default: rise.",
        ),
    ] = None,
    delay: Annotated[
        float | None,
        quantity("--delay", dimension=units.TIME, help="From the edge to the bit: the dwell behind a pulse."),
    ] = None,
    trigger_threshold: Annotated[
        str | None, typer.Option("--trigger-threshold", help="Of the trigger, 1.2V; default: the middle of its range.")
    ] = None,
    interval: Annotated[
        float | None,
        quantity(
            "--interval",
            dimension=units.DURATION,
            help="Bits of a telegraph signal at this interval, with the correlation that its rates give.",
        ),
    ] = None,
    telegraph: Annotated[
        bool | None,
        typer.Option(
            "--telegraph/--no-telegraph",
            help="Dwell times and rates of both states; default: unless bits are taken by a clock or a trigger.",
            show_default=False,
        ),
    ] = None,
    dead_time: Annotated[
        float,
        quantity(
            "--dead-time",
            dimension=units.TIME,
            shown="0s",
            help="Dwells that are shorter are left out, and corrected for in the rates.",
        ),
    ] = 0.0,
    out: Annotated[Path | None, typer.Option("--out", help="File for the bits, packed, first bit highest.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="PNG of the trace, its levels and dwells.")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="law or drift: end with status 3 where dwells are not exponential, or rates change along the trace.",
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    *,
    recording: Given,
) -> None:
    """Turn an analogue trace into levels, telegraph statistics and bits.

    The threshold is found between two populations, or given with --threshold. Without an option for bits, dwell times
    and rates are printed.

    Example: [bold]voltaspin waveform scope.csv --interval 20us --out bits.bin --figure trace.png[/bold], and then
    [bold]voltaspin randomness bits.bin[/bold]
    """
    check_fail_on(fail_on, {"law": "dwells are not exponential", "drift": "the rates change along the trace"})
    from voltaspin.noise.waveform import Sampling, read_waveform

    if out is not None and (is_stream(out) or out.is_dir()):
        raise InputError(f"--out {out} is a stream or a folder; give the name of a file")
    options = {"time_column": time_column, **recording}
    arguments = {
        "file": str(file), "sample_rate": sample_rate, "hysteresis": hysteresis, "period": period, "phase": phase,
        "recover": recover, "trigger": trigger, "edge": edge, "delay": delay, "trigger_threshold": trigger_threshold,
        "interval": interval, "options": dict(options),
    }  # fmt: skip
    about = {"command": "waveform", "arguments": arguments}
    threshold = options.pop("threshold", None)
    try:
        sampling = Sampling(
            period=period, phase=phase, recover=recover, trigger=trigger, edge=edge, delay=delay,  # type: ignore[arg-type]
            trigger_threshold=trigger_threshold, interval=interval,
        )  # fmt: skip
        with contextlib.ExitStack() as claims:
            if out is not None:
                how = {**about, "sidecar": described_beside(out, force), "kind": "recording"}
                claims.enter_context(claimed_file(out, force=force, inputs=[file], **how))
            if figure is not None:
                claims.enter_context(claimed_file(figure, force=force, suffix=".png", inputs=[file]))
            found = read_waveform(
                file, sample_rate=sample_rate, threshold=threshold, hysteresis=hysteresis, sampling=sampling,
                telegraph=telegraph, dead_time=dead_time, out=out, about=about, **options,
            )  # fmt: skip
            if figure is not None:
                from voltaspin.plots.drawing import png

                write_bytes(figure, png(found.plot()))
    except InputError as error:
        raise InputError(as_options(str(error), SPELLED)) from None
    if fail_on is not None and found.telegraph is None:
        raise InputError(f"--fail-on {fail_on} is about telegraph statistics, and none were made; give --telegraph")
    show(found, as_json)
    if (told := found.telegraph) is not None:
        end_on(fail_on, {"law": not told.exponential, "drift": told.drift.shown})
