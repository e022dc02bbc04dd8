"""Odd numbers in one argument at a time of the main public callables: a finite answer or a refusal, nothing else."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from voltaspin import memory
from voltaspin.core.errors import InputError
from voltaspin.core.result import Part
from voltaspin.device import (
    Junction,
    Pulse,
    SwitchingModel,
    at_temperature,
    equilibrium,
    flip_rate,
    fokker_planck,
    llg,
    log_flip_rate,
    presets,
    read_disturb,
)

ODD = (0, -1, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 10**30)
J = presets.generator
FAIR = Pulse(voltage=1.2, width=0.6e-9)
MODEL = SwitchingModel.shipped()
UP = np.array([[0.0, 0.0, 1.0]])
SMALL = {"rows": 4, "columns": 4}


def array(**more):
    return memory.MagnetoelectricMemory(**(SMALL | more))


#: A callable, what is always given, and the numbers that are replaced one at a time.
CALLS = {
    "Pulse": (Pulse, {}, {"voltage": 1.0, "width": 1e-9, "rise": 0.0, "fall": 0.0, "tau": 0.0, "jitter": 0.0}),
    "Junction": (lambda **k: replace(J, **k), {}, {
        n: getattr(J, n) for n in ("diameter", "t_F", "t_ox", "Ms", "K_i", "xi", "alpha_G", "temperature", "RA",
                                   "TMR0", "V_h")}),
    "Junction.with_variation": (J.with_variation, {}, {"K_eff_scale": 1.0, "B_z": 0.0, "diameter_scale": 1.0}),
    "at_temperature": (at_temperature, {"junction": J}, {"temperature": 310.0}),
    "flip_rate": (flip_rate, {"junction": J}, {"voltage": 0.0}),
    "log_flip_rate": (log_flip_rate, {"junction": J}, {"voltage": 0.0}),
    "fokker_planck": (fokker_planck.switching_probability, {"junction": J, "pulse": FAIR},
                      {"relax": 1e-9, "rtol": 0.05}),
    "llg.run": (llg.run, {"junction": J, "m": UP},
                {"duration": 1e-11, "voltage": 0.0, "dt": 1e-12, "seed": 0, "first_step": 0, "threads": 1}),
    "llg.probability": (llg.switching_probability, {"junction": J, "pulse": FAIR},
                        {"relax": 1e-9, "n_devices": 4, "dt": 1e-12, "seed": 0, "threads": 1}),
    "llg.curve": (llg.switching_curve, {"junction": J, "widths": [1e-10]},
                  {"voltage": 1.0, "relax": 1e-10, "n_devices": 4, "rise": 0.0, "fall": 0.0}),
    "llg.thermalise": (llg.thermalise, {"junction": J}, {"n": 2, "dt": 1e-12}),
    "llg.trajectory": (llg.trajectory, {"junction": J, "m": UP}, {"duration": 1e-11, "samples": 2, "dt": 1e-12}),
    "llg.thermal_field_std": (llg.thermal_field_std, {}, {
        "alpha_G": 0.02, "Ms": 1e6, "volume": 2e-24, "temperature": 300.0, "dt": 1e-12}),
    "equilibrium": (equilibrium.equilibrium, {"junction": J}, {"n": 3, "seed": 0}),
    "read_disturb": (read_disturb, {"junction": J}, {"voltage": 0.1, "duration": 1e-8}),
    "SwitchingModel.constant": (SwitchingModel.constant, {}, {"p01": 0.5, "p10": 0.5}),
    "SwitchingModel.probabilities": (MODEL.probabilities, {}, {
        "K_eff_scale": 1.0, "B_z": 0.0, "xi_scale": 1.0, "diameter_scale": 1.0, "RA_scale": 1.0}),
    "MagnetoelectricMemory": (memory.MagnetoelectricMemory, {}, SMALL | {"K_eff_spread": 0.05, "seed": 0}),
    "Memory.yields": (lambda **k: array().yields(**k), {}, {"eps": 0.01, "seconds": 60.0, "temperature": 300.0}),
    "Memory.forgetting": (lambda **k: array().forgetting(**k), {}, {"seconds": 60.0, "temperature": 300.0}),
    "Memory.age": (lambda **k: array().age(**k), {}, {"seconds": 60.0, "temperature": 300.0}),
    "Variation": (memory.Variation, {}, {f.name: f.default for f in fields(memory.Variation)
                                         if isinstance(f.default, float)}),
    "Line": (memory.Line, {}, {f.name: f.default for f in fields(memory.Line) if isinstance(f.default, float)}),
    "Access": (memory.Access, {}, {f.name: f.default for f in fields(memory.Access) if isinstance(f.default, float)}),
}  # fmt: skip


def numbers(found):
    """Every number of an answer, with the name that it has there."""
    if isinstance(found, float | int | np.number | np.ndarray) and not isinstance(found, bool):
        yield "", np.asarray(found)
    elif isinstance(found, tuple | list):
        for one in found:
            yield from numbers(one)
    elif isinstance(found, Part):
        for name in type(found).model_fields:
            for inner, value in numbers(getattr(found, name)):
                yield inner or name, value
    elif is_dataclass(found) and not isinstance(found, Junction | SwitchingModel):
        for f in fields(found):
            for name, value in numbers(getattr(found, f.name)):
                yield name or f.name, value


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_number_gives_a_finite_answer_or_a_refusal(name):
    call, given, asked = CALLS[name]
    call(**given, **asked)  # the base is accepted
    assert asked
    wrong = []
    for argument in asked:
        for odd in ODD:
            try:
                found = call(**given, **(asked | {argument: odd}))
            except InputError as error:
                if "\n" in str(error):
                    wrong.append(f"{argument} = {odd!r}: {error!r}")
                continue
            except Exception as error:
                wrong.append(f"{argument} = {odd!r}: {type(error).__name__}: {error}")
                continue
            for part, value in numbers(found):
                if value.dtype.kind == "f" and not np.isfinite(value).all() and name != "log_flip_rate":
                    wrong.append(f"{argument} = {odd!r}: {part} is {value}")
                if name in CHANCES and value.size and not (value >= 0).all():
                    wrong.append(f"{argument} = {odd!r}: {part} is {value}, negative")
    assert not wrong, "\n".join(wrong)


#: What answers with probabilities and rates.
CHANCES = {"flip_rate", "fokker_planck", "llg.probability", "llg.curve", "llg.thermal_field_std", "read_disturb",
           "SwitchingModel.probabilities", "Memory.yields", "Memory.forgetting"}  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda none: llg.run(J, none, duration=1e-11),
        lambda none: llg.run(J, UP, duration=1e-11, devices=none),
        lambda none: llg.run(J, UP.repeat(2, axis=0), duration=1e-11, cells={"B_z": none}),
        lambda none: llg.switching_curve(J, voltage=1.0, widths=none),
        lambda none: fokker_planck.switching_map(J, voltages=none, widths=[1e-9]),
        lambda none: fokker_planck.switching_map(J, voltages=[1.0], widths=none),
        lambda none: array().write(none),
    ],
)
def test_an_empty_array_where_numbers_belong_is_refused(call):
    with pytest.raises(InputError):
        call(np.empty(0))
