import pytest

from voltaspin.core.context import RunContext
from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced


def test_prints_value_unit_grade_and_source():
    energy = Sourced(6.0, "fJ", source="a paper, table 2", grade="measured", low=5, high=40)
    assert str(energy) == "6 (5 to 40) fJ [measured: a paper, table 2]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grade": "guessed"}, "grade 'guessed' is unknown"),
        ({"source": " "}, "has no source"),
        ({"low": 7.0}, "does not hold"),
        ({"high": 5.0}, "does not hold"),
    ],
)
def test_a_number_without_its_papers_is_refused(change, said):
    given = {"value": 6.0, "unit": "fJ", "source": "x", "grade": "measured", **change}
    with pytest.raises(InputError, match=said):
        Sourced(**given)


def test_context_moves_without_changing():
    here = RunContext(images=(1, 2))
    assert here.at_step(3).in_layer("conv") == RunContext((1, 2), 3, "conv")
    assert here.step == 0
