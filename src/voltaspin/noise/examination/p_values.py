"""P-values of statistical tests, one by one and as the list that a battery returns."""

from __future__ import annotations

from typing import ClassVar

from voltaspin.core.display import table_html
from voltaspin.core.result import Part

SIGNIFICANCE = 0.01  #: below which SP 800-22 calls a P-value a failure


class TestResult(Part):
    """One P-value.

    Args:
        name: of the test, as in NIST's final report.
        variant: which of its P-values (a template, a state, a direction); empty where it has one.
        p_value: None where the test does not apply.
        reason: why it does not apply; empty otherwise.
    """

    __test__: ClassVar[bool] = False  # it is no test of pytest's

    name: str
    variant: str
    p_value: float | None
    reason: str = ""


class TestResults(list[TestResult]):
    """The P-values of one battery, in its order; a list that shows itself in one line."""

    __test__: ClassVar[bool] = False

    @property
    def applied(self) -> list[TestResult]:
        """The results of tests that apply."""
        return [one for one in self if one.p_value is not None]

    @property
    def below(self) -> list[TestResult]:
        """Those below :data:`SIGNIFICANCE`."""
        return [one for one in self if one.p_value is not None and one.p_value < SIGNIFICANCE]

    def by_test(self) -> dict[str, list[float]]:
        """Return the P-values of each test that applies."""
        found: dict[str, list[float]] = {}
        for one in self:
            if one.p_value is not None:
                found.setdefault(one.name, []).append(one.p_value)
        return found

    def __repr__(self) -> str:
        n = len(self.applied)
        expected = f"{SIGNIFICANCE * n:.1f} are expected of ideal bits"
        more = f", {len(self) - n} that do not apply" if len(self) > n else ""
        return f"TestResults({n} P-values, {len(self.below)} below {SIGNIFICANCE} where {expected}{more})"

    def _repr_html_(self) -> str:
        rows = []
        for name, many in self.by_test().items():
            text = f"{min(many):.4f}"
            if len(many) > 1:
                below = sum(p < SIGNIFICANCE for p in many)
                text = f"{len(many)} P-values from {text} to {max(many):.4f}, {below} below {SIGNIFICANCE}"
            rows.append((name, text))
        left_out = {one.name: one.reason for one in self if one.p_value is None}
        return table_html("SP 800-22", [*rows, *((name, f"not applied: {why}") for name, why in left_out.items())])
