"""Forests of ten seeds, each made small, with classes that are words: scores in files of a seed.

python docs/recipes/several_networks.py FOLDER: writes labels, the classes' names and scores.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

WORDS = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
SEEDS = 10


def main(folder: Path) -> None:
    digits = load_digits()
    images, test, classes, labels = train_test_split(
        digits.data, WORDS[digits.target], test_size=900, stratify=digits.target, random_state=0
    )
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(SEEDS):
        model = RandomForestClassifier(100, random_state=seed).fit(images, classes)
        np.save(folder / f"seed{seed}_before.npy", model.predict_proba(test))
        model.estimators_ = model.estimators_[:10]  # the same forest, its first ten trees
        np.save(folder / f"seed{seed}_after.npy", model.predict_proba(test))
    np.save(folder / "labels.npy", labels)
    (folder / "classes.txt").write_text("\n".join(model.classes_), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
