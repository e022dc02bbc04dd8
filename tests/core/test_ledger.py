import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import ACTIONS, Ledger

counts = st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(sorted(ACTIONS)), st.integers(0, 99)))


def build(entries):
    ledger = Ledger("run")
    for child, action, n in entries:
        (ledger.child(child) if child else ledger).count(action, n)
    return ledger


@given(counts, counts)
def test_merging_adds_every_total(first, second):
    merged = build(first)
    merged.merge(build(second))
    assert merged.totals() == build(first + second).totals()
    assert dict(merged.walk()).keys() == dict(build(first + second).walk()).keys()


@given(counts)
def test_json_round_trip(entries):
    ledger = build(entries)
    again = Ledger.from_dict(json.loads(json.dumps(ledger.to_dict())))
    assert again.to_dict() == ledger.to_dict()


def test_totals_reach_down_the_tree():
    run = Ledger("run")
    run.child("array").child("tile").count("pulse", 3)
    run.child("array").count("pulse", 4)
    assert run.total("pulse") == 7
    assert run.totals() == {"pulse": 7}
    assert [path for path, _ in run.walk()] == ["run", "run/array", "run/array/tile"]


@pytest.mark.parametrize(("action", "n", "said"), [("joule", 1, "not counted"), ("pulse", -1, "only grow")])
def test_bad_counts_are_refused(action, n, said):
    with pytest.raises(InputError, match=said):
        Ledger().count(action, n)
