"""How networks are trained, as a job is told: frozen objects, which ``plain.read`` makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from recall_distortion.networks.definition import Definition


@dataclass(frozen=True)
class Phase:
    """A stretch of training: so many passes over the images.

    ``learning_rate`` is the step size, where there are no ``rates`` of its epochs.
    """

    epochs: int
    learning_rate: float
    rates: tuple[float, ...] = ()

    def rate(self, epoch: int) -> float:
        """Return the step size in an epoch of the phase, from 0 on."""
        return self.rates[epoch] if self.rates else self.learning_rate


@dataclass(frozen=True)
class Regularizer:
    """A penalty that is added to the loss, ``weight`` times; one of ``objective.REGULARIZERS``.

    ``balance``, ``aggregation`` and ``layers`` are those of Jumpstart.
    """

    name: str
    weight: float
    balance: float = 0.5
    aggregation: str = "norm"
    layers: str = "hidden"


@dataclass(frozen=True)
class Recipe:
    """An optimizer over phases; ``augmentation`` names what varies images.

    ``optimizer`` is one of ``descent.OPTIMIZERS``. SGD has ``momentum``, Nesterov's where that is
    set; Adam and AdamW have ``betas`` and ``eps``. ``dropout`` is the share of what linear layers
    get that is dropped (``training.dropout``).
    """

    phases: tuple[Phase, ...]
    batch_size: int
    momentum: float
    weight_decay: float
    augmentation: tuple[str, ...]
    optimizer: str = "sgd"
    nesterov: bool = True
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    label_smoothing: float = 0.0
    dropout: float = 0.0
    regularizers: tuple[Regularizer, ...] = ()

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)


@dataclass(frozen=True)
class Computing:
    """What a study says of how networks are computed (see ``engines.choose``)."""

    engine: str = "auto"
    at_once: int | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class TrainingPlan:
    """What decides a panel's dense networks, besides the data and seeds.

    ``selection`` is what the best epoch is chosen on: ``holdout`` or ``test``. ``network`` says how
    a network of a user's own is made.
    """

    recipe: Recipe
    selection: str
    engine: Computing = field(default_factory=Computing)
    network: Definition | None = None
