"""A forest of 300 trees made small in two ways: fewer trees, and shallow ones.

python docs/recipes/scikit_learn.py FOLDER: writes a table with all predictions.
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    digits = load_digits()
    images, test, classes, labels = train_test_split(
        digits.data, digits.target, test_size=900, stratify=digits.target, random_state=0
    )
    models = {
        "before": RandomForestClassifier(300, random_state=0),
        "trees_10": RandomForestClassifier(10, random_state=0),
        "depth_5": RandomForestClassifier(300, max_depth=5, random_state=0),
        "other_seed": RandomForestClassifier(300, random_state=1),  # the control
    }
    table = pd.DataFrame({"label": labels})
    for name, model in models.items():
        table[name] = model.fit(images, classes).predict(test)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "forests.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
