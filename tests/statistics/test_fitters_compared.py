"""Where the two fitters of a model disagree, and what is not compared."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from fits import agreed

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs import class_level
from tests import synthetic

pytestmark = pytest.mark.slow

CELLS = {
    ("control", 1.0): 0.75,
    ("magnitude", 2.0): 0.9,
    ("magnitude", 10.0): 1.3,
    ("undecayed", 2.5): 1.0,
}


@pytest.fixture(scope="module")
def by_statsmodels():
    table = synthetic.recall(CELLS, seeds=10)
    return comparison.fit(class_level.class_level(table, synthetic.MLP)[0], "statsmodels")


def disguised(fit, fitter: str):
    coefficients, facts = fit
    return coefficients.assign(fitter=fitter), {**facts, "fitter": fitter}


def changed(fit, **changes):
    coefficients, facts = fit
    coefficients, facts = coefficients.copy(), dict(facts)
    for name, value in changes.items():
        if name in facts:
            facts[name] = value
        else:
            coefficients.loc[2, name] *= value  # the third cell, magnitude at 10
    return coefficients, facts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"estimate": 1 + 1e-4},
            r"disagree about the slope of magnitude at ratio 10: pymer4 found",
        ),
        ({"std_error": 1.002}, r"the standard error of the slope of magnitude at ratio 10"),
        ({"loglik": 0.0}, r"the REML log-likelihood: pymer4 found"),
        ({"estimate": np.nan}, r"the slope of magnitude at ratio 10.*found nan"),
    ],
)
def test_a_disagreement_is_marked_with_both_values(by_statsmodels, changes, message) -> None:
    first = disguised(by_statsmodels, "pymer4")
    second = changed(by_statsmodels, **changes)
    agreed(comparison.combine(*zip(first, by_statsmodels, strict=True)))
    table, fits = comparison.combine(*zip(first, second, strict=True))
    assert len(table) == len(first[0]) + len(second[0])
    assert (fits["believe"] == "").all()
    message_of_fit = fits["message"].iloc[0]
    assert (fits["message"] == message_of_fit).all()
    assert message_of_fit.startswith("the fitters disagree about ")
    assert re.search(message, message_of_fit)
    if "loglik" in changes:
        values = first[1]["loglik"], 0.0
    else:
        (name,) = changes
        values = first[0].loc[2, name], second[0].loc[2, name]
    for value in values:
        assert repr(float(value)) in message_of_fit


def test_a_difference_that_changes_no_conclusion_is_none(by_statsmodels) -> None:
    """An effect known to within 100 may differ by more than one known to within 0.1."""
    uncertain = by_statsmodels[0].assign(std_error=100.0), by_statsmodels[1]
    first = disguised(uncertain, "pymer4")
    agreed(comparison.combine(*zip(first, changed(uncertain, estimate=1 + 1e-3), strict=True)))
    _, fits = comparison.combine(*zip(first, changed(uncertain, estimate=1 + 2e-2), strict=True))
    assert fits["message"].str.contains("disagree about the slope").all()


def test_what_statsmodels_finds_less_what_pymer4_finds_stands_in_its_rows(by_statsmodels) -> None:
    first = disguised(by_statsmodels, "pymer4")
    second = changed(by_statsmodels, estimate=1 + 1e-7)
    lone = second[0].iloc[:1].assign(term="of statsmodels alone")
    tables = [first[0], pd.concat([second[0], lone], ignore_index=True)]
    # A bootstrap of the same model has other numbers, which are no sign of a bad fit.
    tables.append(second[0].assign(fitter="bootstrap", estimate=7.0))
    table, _ = comparison.combine(tables, [first[1], second[1], disguised(second, "bootstrap")[1]])
    of = {name: rows["difference"].to_numpy() for name, rows in table.groupby("fitter")}
    assert np.isnan(of["pymer4"]).all()
    assert np.isnan(of["bootstrap"]).all()
    expected = (second[0]["estimate"] - first[0]["estimate"]).to_numpy()
    assert expected[2] > 0
    np.testing.assert_array_equal(of["statsmodels"], [*expected, np.nan])


def test_a_fit_that_did_not_converge_is_kept_and_not_compared(by_statsmodels) -> None:
    first = disguised(by_statsmodels, "pymer4")
    second = changed(by_statsmodels, estimate=1.1, converged=False, message="stopped")
    table, fits = comparison.combine(*zip(first, second, strict=True))
    assert list(fits["converged"]) == [True, False]
    assert list(fits["message"]) == ["", "stopped"]
    assert len(table) == len(first[0]) + len(second[0])
    assert set(fits["believe"]) == {"model"}
