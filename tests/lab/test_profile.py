"""Profiles: every key has a default or is demanded by name, and nothing is taken that is not meant."""

import re
from dataclasses import fields

import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.lab import Bits, Profile, Pulses
from voltaspin.lab.profile import TEMPLATE

PULSES = {"set_width": "W {width}", "set_voltage": "V {voltage}", "trigger": "T", "read": "R?"}


def test_the_template_is_read_and_names_every_key():
    profile, text = Profile.load(TEMPLATE), TEMPLATE.read_text()
    assert (profile.timeout, profile.bits.values, profile.sweep.relax) == (5.0, 80_000, 1e-8)
    for kind, part in ((Profile, text), (Bits, text.partition("[bits]")[2]), (Pulses, text.partition("[sweep]")[2])):
        for field in fields(kind):
            assert re.search(rf"^(# )?{field.name} = |^\[{field.name}\]", part, re.MULTILINE), field.name


def test_the_command_prints_the_template(capsys):
    with pytest.raises(SystemExit) as done:
        main(["template", "instrument"])
    assert (done.value.code, capsys.readouterr().out) == (0, TEMPLATE.read_text())
    with pytest.raises(SystemExit) as done:
        main(["template", "instrument", "keithley"])
    assert (done.value.code, capsys.readouterr().err.count("\n")) == (2, 1)


def test_the_defaults_that_the_template_shows_are_the_ones():
    shown = re.sub(r"^# (?=\w+ = )", "", TEMPLATE.read_text(), flags=re.MULTILINE)
    keep = ("retries", "settling", "write_termination", "read_termination", "final", "backend", "block", "fields",
            "field", "width_unit", "voltage_unit", "above", "check_reset")  # fmt: skip
    defaults = {f.name: f.default for kind in (Profile, Bits, Pulses) for f in fields(kind)}
    for name in keep:
        (value,) = re.findall(rf"^{name} = (.*?)\s*(?:#.*)?$", shown, re.MULTILINE)
        words = {"true": True, "false": False, '"0s"': 0.0, "[]": (), r'"\n"': "\n"}
        assert words.get(value, value.strip('"') if '"' in value else value) in (defaults[name], str(defaults[name]))


def load(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    return Profile.load(path)


SWEEP = 'address = "A"\n[sweep]\nset_width = "W {width}"\nset_voltage = "V {voltage}"\ntrigger = "T"\nread = "R?"\n'


@pytest.mark.parametrize(("text", "said"), [
    ("", "'address': Field required"), ('address = ""', "address is empty"), ("address = 3", "valid string"),
    ('adress = "A"', "the key 'adress' is unknown; did you mean 'address'?"),
    ('address = "A"\ntimeout = 5', "timeout = 5 has no unit"), ('address = "A"\ntimeout = "0s"', "timeout"),
    ('address = "A"\ntimeout = "5V"', "'V' is no unit of time"), ('address = "A"\nretries = -1', "retries=-1"),
    ('address = "A"\nretries = true', "retries"), ('address = "A"\ninitial = "*RST"', "'initial'"),
    ('address = "A"\ninitial = [""]', "initial is empty"), ('address = "A"\nbits = 3', "[bits] 3 is no table"),
    ('address = "A"\nread_termination = "\\n\\n"', "repeats its last character"), ("address", "not readable as TOML"),
    ('address = "A"\n[bits]\nquery = "Q"\nformat = "cvs"', "format"), ('address = "A"\n[bits]', "'bits.query': Field"),
    ('address = "A"\n[bits]\nquery = "Q"', "need a threshold"),
    ('address = "A"\n[bits]\nquery = "Q"\nformat = "samples"\nthreshold = 0', "samples need a type"),
    ('address = "A"\n[bits]\nquery = "Q"\nformat = "text"\nthreshold = 0', "threshold=0"),
    ('address = "A"\n[bits]\nquery = "Q"\nformat = "packed"\nvalues = 9', "multiple of 8"),
    ('address = "A"\n[bits]\nquery = "Q"\nformat = "packed"\nblock = false', "needs values="),
    ('address = "A"\n[bits]\nquery = "Q"\nthreshold = 1\nfields = 2\nfield = 2', "field=2 of fields=2"),
    ('address = "A"\n[bits]\nquery = "Q"\nthreshold = 1\nfields = 2\nvalues = 5', "no multiple of fields=2"),
    ('address = "A"\n[bits]\nqeury = "Q"', "[bits] the key 'qeury' is unknown; did you mean 'query'?"),
    (SWEEP.replace("{width}", "1"), "has no place {width}"), (SWEEP.replace("{voltage}", ""), "has no place {voltage}"),
    (SWEEP.replace("{width}", "{wdith}"), "{wdith} is no place"), (SWEEP.replace("{width}", "{width:.3f}"), "no place"),
    (SWEEP.replace("{width}", "{width"), "brace"), (SWEEP.replace('"T"', '""'), "trigger is empty"),
    (SWEEP.replace('"T"', '"T {width}"'), "only set_width and set_voltage are filled"),
    (SWEEP + 'width_unit = "nm"', "width_unit 'nm' is unknown"), (SWEEP + 'threshold = "5K"', "no resistance"),
    (SWEEP + 'above = "P"', "need a threshold"), (SWEEP + 'threshold = "5kohm"\nunit = "mV"', "the unit 'mV'"),
    (SWEEP + 'above = "Ap"\nthreshold = "5kohm"', "above"), (SWEEP + "relax = 3", "relax = 3 has no unit"),
    (SWEEP + 'trigegr = "x"', "did you mean 'trigger'?"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(tmp_path, text, said):
    with pytest.raises(InputError) as refused:
        load(tmp_path, text)
    assert said in str(refused.value)
    assert "p.toml" in str(refused.value)


def test_commands_have_numbers_in_the_units_of_the_instrument():
    pulses = Pulses(**{**PULSES, "width_unit": "ns", "voltage_unit": "mV"})
    assert pulses.commands(voltage=1.15, width=0.35e-9) == ("W 0.35", "V 1150")
    together = Pulses(**{**PULSES, "set_width": "", "set_voltage": "PULS {width},{voltage}"})
    assert together.commands(voltage=-1.2, width=1e-9) == ("PULS 1e-09,-1.2",)
    with pytest.raises(InputError, match="no reset_AP"):
        pulses.reset("AP")


@pytest.mark.parametrize(("given", "values"), [
    ({}, {0: "P", 1: "AP", 0.5: None}), ({"threshold": "5kohm"}, {4999: "P", 5001: "AP"}),
    ({"threshold": "5kohm", "unit": "kohm"}, {4.9: "P", 5.1: "AP"}),
    ({"threshold": "3uA", "above": "P"}, {2e-6: "AP", 4e-6: "P"}), ({"threshold": "-20mV"}, {-0.03: "P", 0: "AP"}),
])  # fmt: skip
def test_an_answer_means_a_state(given, values):
    pulses = Pulses(**PULSES, **given)
    assert {value: pulses.state_of(float(value)) for value in values} == values
