"""What a study says of a data set: where it comes from and how it is split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from recall_distortion.data.images import Collection, Source
from recall_distortion.data.sources import SOURCES, find
from recall_distortion.study.strict import Strict
from recall_distortion.system.errors import DataError

_COLLECTIONS = [source for source in SOURCES.values() if isinstance(source, Collection)]


def _usable(name: Any) -> Any:
    """Return the name of a set; one that is known and cannot be used is refused with the reason."""
    for collection in _COLLECTIONS:
        if isinstance(name, str) and name in collection.refused:
            raise ValueError(f"{name} {collection.refused[name]}")
    return name


if TYPE_CHECKING:  # which a checker of types cannot follow
    SourceName = str
    SetName = str
    SplitName = str
else:
    SourceName = Literal[tuple(SOURCES)]
    _SETS = {name: splits for source in _COLLECTIONS for name, splits in source.sets.items()}
    SetName = Annotated[Literal[tuple(_SETS)], BeforeValidator(_usable)]
    SplitName = Literal[tuple(dict.fromkeys(s for splits in _SETS.values() for s in splits if s))]


class Dataset(Strict):
    """Where a data set comes from and how it is split."""

    source: SourceName = Field(
        description="Which data set it is; arrays and folder are data of your own."
    )
    name: SetName | None = Field(
        None,
        description="Which set of torchvision, by the name of its class (torchvision).",
    )
    split: SplitName | None = Field(
        None,
        description="Which part of a set that comes in several: of EMNIST the classes, of QMNIST "
        "the test images.",
    )
    path: str | None = Field(
        None,
        description="Where your own data lie: an .npz file (arrays), or a folder with one folder "
        "of images a class (folder).",
    )
    holdout: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Fraction of the training images that are not trained on but held out to "
        "choose the best epoch.",
    )
    test_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Fraction of the images that is set aside for testing where the data come "
        "without a test set.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Seed of the random splits, which are the same for all networks.",
    )
    imbalance: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Thins the training images to a long tail, exponentially by class number: the "
        "last class keeps this share of what the first has. 20 images of each class are then held "
        "out; the test set stays as it is.",
    )
    training_images: int | None = Field(
        None,
        ge=2,
        description="How many of the training images are used, drawn from each class in "
        "proportion, the held-out ones among them; by default all. The test set stays as it is.",
    )
    gallery: bool | None = Field(
        None,
        description="Whether the page shows test images that networks forget, and so holds them. "
        "Without a value, those of the sets that ship, and never data of your own.",
    )

    margin: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="A change of accuracy, from a cell's control, that counts as none (0.005 is "
        "half a point): whether cells keep theirs to within it is then tested.",
    )

    @property
    def shown(self) -> bool:
        """Whether the page may hold images of the data set."""
        return not self.facts.needs_path if self.gallery is None else self.gallery

    @property
    def facts(self) -> Source:
        """What is known of its source."""
        return find(self.source, self.name, self.split)

    @property
    def label(self) -> str:
        """Its source in words: source, name, split, as far as it has them."""
        return " ".join(filter(None, (self.source, self.name, self.split)))

    def which(self) -> dict[str, Any]:
        """Return what says which data they are, as ``data.describe`` and ``prepare`` take it."""
        named = {"name": self.name, "split": self.split} if self.name is not None else {}
        return {"source": self.source, "path": self.path} | named

    def preparation(self) -> dict[str, Any]:
        """Return what decides the prepared data; what is not used is left out."""
        found = self.model_dump(exclude={"gallery", "margin"})
        unused = {
            key for key in ("name", "split", "imbalance", "training_images") if found[key] is None
        }
        return {key: value for key, value in found.items() if key not in unused}

    def fitted(self, selection: str) -> int | None:
        """Return how many images networks are fitted to, where the study says so."""
        if self.training_images is None or self.imbalance is not None:
            return None
        held = round(self.holdout * self.training_images) if selection == "holdout" else 0
        return self.training_images - held

    @model_validator(mode="after")
    def _check_imbalance(self) -> Dataset:
        if self.imbalance is not None and "holdout" in self.model_fields_set:
            raise ValueError(
                "with an imbalance, 20 images of each class are held out; remove holdout"
            )
        return self

    @model_validator(mode="after")
    def _check_source(self) -> Dataset:
        try:
            facts = self.facts
        except DataError as error:
            raise ValueError(str(error)) from None
        name = self.name or self.source
        if facts.needs_path and not self.path:
            raise ValueError(f"source {self.source!r} needs a path")
        if not facts.needs_path and self.path is not None:
            raise ValueError(
                f"source {self.source!r} takes no path; only arrays and folder do"
                " (torchvision's sets are looked for under data_root)"
            )
        if self.test_fraction is not None and facts.has_test_set and not facts.needs_path:
            raise ValueError(f"source {name!r} has a test set; remove test_fraction")
        return self
