"""The UNet in crossbars against the plain torch forward, in one run: ratios of wall times, batch 64.

    python benchmarks/compute.py [--repeats 5] [--bit-serial]

Plain and converted passes alternate; a ratio is the median over pairs, with the range. Every imperfection is on in
the analog rows: spread of the resistances, shot and Johnson noise, write errors, stuck and aged cells, lines with
resistance. aihwkit stands beside them where it is installed in the interpreter that runs this.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import torch

from voltaspin.diffusion.backend import keep_freed_memory
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, calibrate, convert

IMPERFECT = {
    "TMR": 1.0, "resistance_spread": 0.05, "read_noise": None, "write_error_rate": 1e-4, "stuck": 1e-4,
    "retention_rate": 1e-9, "age": 1e3, "wire_resistance": 1.0,
}  # fmt: skip
ROWS: dict[str, tuple[ArraySpec, str]] = {
    "digital, 8 bit": (ArraySpec(mode="digital", resistance_spread=0.05, write_error_rate=1e-6), "3"),
    "analog, 4 bit, statistical converters": (ArraySpec(weight_bits=4, adc_bits=6, **IMPERFECT), "5"),
    "analog, 8 bit, statistical converters": (ArraySpec(weight_bits=8, adc_bits=8, **IMPERFECT), "5"),
    "analog, 4 bit, exact converters": (ArraySpec(weight_bits=4, adc_bits=6, adc_model="exact", **IMPERFECT), "30"),
    "analog, 8 bit, exact converters": (ArraySpec(weight_bits=8, adc_bits=8, adc_model="exact", **IMPERFECT), "30"),
}
SERIAL = {
    "bit-serial, 4 bit, exact converters": (
        ArraySpec(weight_bits=4, adc_bits=6, adc_model="exact", inputs="bit-serial", **IMPERFECT), "none",
    ),
}  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bit-serial", action="store_true", help="also bit-serial inputs, which take some minutes")
    given = parser.parse_args()
    keep_freed_memory()
    unet = load_pipeline(shipped_model()).unet
    x = torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    plain = min(timed(lambda: unet(x, 500)) for _ in range(5))
    print(f"plain torch forward: {plain:.3f} s, {torch.get_num_threads()} threads")
    print(f"{'':40} {'ratio':>6} {'range':>15} {'limit':>6} {'conversion':>11}")
    for name, (spec, limit) in {**ROWS, **(SERIAL if given.bit_serial else {})}.items():
        begin = time.perf_counter()
        model, _ = convert(unet, spec)
        seconds = time.perf_counter() - begin
        calibrate(model, [(x, 500)])
        model(x, 500)
        n = 1 if name in SERIAL else given.repeats
        ratios = [timed(lambda m=model: m(x, 500)) / timed(lambda: unet(x, 500)) for _ in range(n)]  # type: ignore[misc]
        span = f"[{min(ratios):.2f}, {max(ratios):.2f}]"
        print(f"{name:40} {statistics.median(ratios):6.2f} {span:>15} {limit:>6} {seconds:9.1f} s")
    if importlib.util.find_spec("aihwkit") is None:
        print("aihwkit is not installed here; install it in an environment of its own to see it beside these")
        return
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.configs import InferenceRPUConfig

    analog = convert_to_analog(unet, InferenceRPUConfig())
    analog(x, 500)
    ratios = [timed(lambda: analog(x, 500)) / timed(lambda: unet(x, 500)) for _ in range(given.repeats)]
    print(f"{'aihwkit, its default inference tile':40} {statistics.median(ratios):6.2f}")


if __name__ == "__main__":
    main()
