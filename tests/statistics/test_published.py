"""The published verdicts: what is kept of them, and how a study's cells are put beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.questions import published as module
from recall_distortion.inference.questions.slopes import slopes as slopes_of
from recall_distortion.system.errors import TableError
from recall_distortion.tables.schema import COLUMNS, PUBLISHED_CELL
from recall_distortion.vocabulary import (
    CELL,
    CELL_STATE,
    COMPRESSED,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    RETRAINED,
    VERDICTS,
)
from tests import synthetic


def tables(
    cells: dict[tuple[str, str, str, float], list[float]], state: str = RETRAINED
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return networks, slopes and pooled of cells with the given slopes per seed.

    Seed s of a cell has accuracy 0.5 + s / 100; the pooled slope is the mean less 0.001.
    """
    networks = synthetic.networks(cells, state=state)
    networks["accuracy"] = 0.5 + networks["seed"] / 100
    of_cells = slopes_of(networks)
    pooled = of_cells[CELL_STATE].assign(alpha=of_cells["mean"] - 0.001)
    return networks, of_cells, pooled


def test_the_facts_are_the_papers_plan() -> None:
    facts = module.verdicts()
    assert len(facts) == 75
    assert not facts.duplicated(PUBLISHED_CELL).any()
    panels = facts.groupby(PUBLISHED_CELL[:3])["ratio"].apply(list)
    assert len(panels) == 15
    assert all(ratios == [2, 4, 10, 20, 50] for ratios in panels)
    assert facts["source"].value_counts().to_dict() == {
        "Figure 1": 20,
        "Figure 2": 20,
        "Figure 3": 15,
        "Figure 4": 20,
    }
    assert set(facts["verdict"]) == set(VERDICTS)
    slopes = module.published_slopes()
    assert len(slopes) == 20
    assert set(slopes["source"]) == {"Figure 5"}
    both = slopes.merge(facts, on=PUBLISHED_CELL)
    assert len(both) == 20
    # The sign of the pooled slope against 1 is that of every published verdict.
    assert (both.loc[both["verdict"] == INTENSIFICATION, "pooled_alpha"] > 1).all()
    assert (both.loc[both["verdict"] == DEINTENSIFICATION, "pooled_alpha"] < 1).all()


def test_a_study_without_published_cells_has_all_rows_and_no_verdict() -> None:
    found = module.published(*tables({("digits", "mlp", "magnitude", 2.0): [0.8, 0.9, 1.0]}))
    assert list(found.columns) == COLUMNS["published"]
    pd.testing.assert_frame_equal(found[PUBLISHED_CELL], module.verdicts()[PUBLISHED_CELL])
    assert list(found["published_verdict"]) == list(module.verdicts()["verdict"])
    assert set(found["verdict"]) == set(found["agrees"]) == {""}
    assert found[["pooled_alpha", "accuracy"]].isna().all(axis=None)
    assert found["published_alpha"].notna().sum() == found["published_accuracy"].notna().sum() == 20


def test_cells_are_put_beside_their_published_verdict() -> None:
    cell = ("cifar10", "resnet56", "magnitude")
    found = module.published(
        *tables(
            {
                (*cell, 2.0): [0.70, 0.71, 0.72],  # published: de-intensification
                (*cell, 4.0): [1.70, 1.71, 1.72],  # published: de-intensification
                (*cell, 10.0): [0.0, 1.0, 2.0],  # published: intensification
                ("cifar10", "resnet56", "gradient", 4.0): [0.0, 1.0, 2.1],  # inconclusive
            }
        )
    )
    chosen = found[found["verdict"] != ""].set_index("ratio")
    assert list(chosen["verdict"]) == [
        DEINTENSIFICATION,
        INTENSIFICATION,
        INCONCLUSIVE,
        INCONCLUSIVE,
    ]
    assert list(chosen["agrees"]) == [True, False, False, True]
    assert chosen["pooled_alpha"].to_numpy() == pytest.approx([0.709, 1.709, 0.999, 1.0323333333])
    assert chosen["accuracy"].to_numpy() == pytest.approx([0.51] * 4)
    assert list(chosen["published_alpha"]) == [0.928, 0.953, 1.057, 0.983]
    assert list(chosen["published_accuracy"]) == [0.897, 0.893, 0.881, 0.895]
    assert len(found) == 75


def test_a_cell_without_an_interval_agrees_with_nothing() -> None:
    """Else one replicate would agree with every published inconclusive cell."""
    cell = ("cifar10", "resnet56", "gradient", 4.0)  # published: inconclusive
    for slopes in ([0.9], [0.9, np.nan, 1.1]):
        found = module.published(*tables({cell: slopes}))
        row = found[found["accuracy"].notna()].iloc[0]
        assert tuple(row[PUBLISHED_CELL]) == cell
        assert (row["verdict"], row["agrees"]) == ("", "")


def test_only_finetuned_networks_are_compared() -> None:
    cell = ("cifar10", "resnet56", "gradient", 4.0)
    pruned = module.published(*tables({cell: [0.9, 1.0, 1.1]}, state=COMPRESSED))
    assert set(pruned["verdict"]) == {""}
    assert pruned["accuracy"].isna().all()


def test_a_cell_counts_once() -> None:
    networks, of_cells, pooled = tables({("cifar10", "resnet56", "gradient", 4.0): [0.9, 1.0]})
    with pytest.raises(TableError, match="more than one row"):
        module.published(networks, pd.concat([of_cells, of_cells]), pooled)


def test_each_recipe_of_a_network_is_put_beside_what_was_published() -> None:
    cells = {
        ("mnist", "lenet5", recipe, "magnitude", 2.0): [0.8, 0.9, 0.85] for recipe in ("a", "b")
    }
    found = module.published(*tables(cells))
    assert not found.duplicated(CELL).any()
    assert len(found.drop_duplicates(PUBLISHED_CELL)) == 75
    own = found[found["verdict"] != ""]
    assert own["recipe"].tolist() == ["a", "b"]
