"""Networks on their way through rounds: pruned within what is left of them, then retrained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression import events, schedules
from recall_distortion.compression.controls import ONE_SHOT
from recall_distortion.compression.files import Made
from recall_distortion.compression.methods import Cell, CompressionPlan, Method
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.masks import keep_fraction
from recall_distortion.compression.pruning.selection import (
    loss_gradient,
    masked,
    method_masks,
    needs_gradient,
)
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.compression.retraining import Retraining, scored
from recall_distortion.compression.schedules import Chain, Round
from recall_distortion.system.logs import progress
from recall_distortion.training import (
    DeviceImages,
    Engine,
    Fitted,
    NonFiniteLoss,
    Run,
    TrainingImages,
    Unfinished,
    fit_runs,
)
from recall_distortion.training.replicates import FINE_TUNING, Block, Failure


@dataclass
class Walk:
    """A replicate on its way through a method's rounds.

    ``state`` and ``masks`` are what is left of it so far: at first the dense network, or of which
    time weights are scored, and no mask. ``events`` are the removals so far, as ``events.event``
    has them.
    """

    method: str
    seed: int
    chain: Chain
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def at(self, number: int) -> Round:
        """Return the round of a number, from 0 on."""
        return self.chain[number]

    def cell(self, number: int) -> Cell:
        """Return the cell that a round leads to."""
        return Cell(self.method, self.chain[number].ratio)

    def since(self, number: int) -> int:
        """Return how many rounds of the cell that a round leads to lie before it."""
        asked = [i for i, one in enumerate(self.chain[:number]) if one.asked]
        return number - (asked[-1] + 1 if asked else 0)


@dataclass
class Results:
    """What comes of all walks: networks by cell, and the rows of tables."""

    made: dict[Cell, Made]
    sparsity: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, others: Results) -> None:
        """Take what came of other networks of the same job."""
        self.made |= others.made
        self.sparsity += others.sparsity
        self.history += others.history
        self.events += others.events
        self.failures += others.failures


def start(
    network: nn.Module,
    dense: Block,
    plan: CompressionPlan,
    ratios: Mapping[str, Sequence[str]],
    image: tuple[int, int],
    retraining: Retraining,
) -> list[Walk]:
    """Return the walks of a block: each replicate by each method that has ``ratios``, by its name.

    ``image`` is the height and width of images. Those that begin with the same weights follow each
    other; a seed that has none is left out. Raises ``NetworkError`` for a ratio that the network
    cannot reach.
    """
    chains: dict[str, list[Chain]] = {}
    for name, own in ratios.items():
        method, schedule = plan.methods[name], plan.schedule(name)
        if schedule == ONE_SHOT and (method is None or method.ticket):
            chains[name] = [(Round(1.0, ratio),) for ratio in own]
            continue
        # A control of rounds has those of what it is the control of, and removes nothing in any.
        unit = plan.unit if method is None else method.unit
        asked = {ratio: to_keep(network, method, ratio, plan.count, unit, image) for ratio in own}
        chains[name] = schedules.load(schedule)(asked)
    by_time: dict[str, list[str]] = {}
    for name in chains:
        by_time.setdefault(plan.at(name), []).append(name)
    states = {at: scored(at, network, dense, retraining) for at in by_time}
    return [
        Walk(name, seed, chain, states[at][seed])
        for seed in dense.seeds
        for at, names in by_time.items()
        if seed in states[at]
        for name in names
        for chain in chains[name]
    ]


def to_keep(
    network: nn.Module,
    method: Method | None,
    ratio: str,
    count: str,
    unit: str,
    image: tuple[int, int],
) -> float:
    """Return the fraction of all units that a method, or a round, leaves at a ratio.

    They are prunable weights or of another ``unit``; ``image`` is the height and width of images.
    """
    if method is not None and method.of_sparsity:
        return 1 - round(1 - 1 / float(ratio), 2)
    if method is not None and method.channels is not None:
        return 1 / float(ratio)  # which is nominal: the method says how many stay
    own = units.load(unit).fraction
    if own is not None:
        return own(network, float(ratio), count, image)
    return keep_fraction(network, float(ratio), count)


def walk_all(
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    walks: Sequence[Walk],
    retraining: Retraining,
    engine: Engine,
    unfinished: Unfinished,
    watch: events.Watch,
) -> Results:
    """Return what comes of walks, of which each round is pruned and retrained together.

    ``watch`` counts what networks get right before and after each round's pruning.
    """
    asked = [(walk, i) for walk in walks for i, one in enumerate(walk.chain) if one.asked]
    results = Results(
        {
            walk.cell(i): Made(of_dense=retraining.of_dense, control=plan.control(walk.method))
            for walk, i in asked
        }
    )
    positions = networks.output_positions(network, images.fit.batch(slice(0, 1)))
    number, going = 0, list(walks)
    while going:
        prune(network, images.fit, plan, going, number)
        _look(network, plan, going, number, retraining, watch)
        kept = unfinished if number == 0 else unfinished.following(f"round-{number + 1}")
        going = [
            walk
            for walk, found in _retrain(network, images, retraining, going, number, engine, kept)
            if _take(
                results, network, images, plan, retraining, walk, number, found, positions, watch
            )
        ]
        number, unfinished = number + 1, kept
        going = [walk for walk in going if len(walk.chain) > number]
    return results


def prune(
    network: nn.Module,
    images: DeviceImages,
    plan: CompressionPlan,
    walks: Sequence[Walk],
    number: int,
) -> None:
    """Set the masks of walks for a round; the control's have none, and tickets have theirs.

    From one state a gradient is computed once for all methods and ratios, and a method's scores
    once for all ratios; walks from one state follow each other.
    """
    for _, together in groupby(walks, key=lambda walk: id(walk.state)):
        same = list(together)
        network.load_state_dict(same[0].state)
        gradients: dict[int, dict[str, Tensor]] = {}  # by number of examples
        for name, those in groupby(same, key=lambda walk: walk.method):
            method, own = plan.methods[name], list(those)
            if method is None or method.ticket:
                continue
            seed, examples = own[0].seed, method.gradient_examples
            if needs_gradient(method) and examples not in gradients:
                gradients[examples] = loss_gradient(network, images, examples, seed=seed)
            found = method_masks(
                network,
                method,
                [walk.at(number).fraction for walk in own],
                gradients.get(examples),
                seed=seed,
                within=own[0].masks,
                images=images,
            )
            for walk, masks in zip(own, found, strict=True):
                walk.masks = masks


def _look(
    network: nn.Module,
    plan: CompressionPlan,
    walks: Sequence[Walk],
    number: int,
    retraining: Retraining,
    watch: events.Watch,
) -> None:
    """Add the pruning of a round to the events of walks.

    There is none where networks do not go on from what is left, or where nothing is removed. Of one
    shot nothing is counted: both networks are in files.
    """
    if not retraining.of_dense:
        return
    for _, together in groupby(walks, key=lambda walk: id(walk.state)):
        before: Tensor | None = None
        for walk in together:
            if walk.masks is None or plan.schedule(walk.method) == ONE_SHOT:
                continue
            if before is None:
                before = watch.of_state(network, walk.state)
            after = watch.of_state(network, masked(walk.state, walk.masks))
            walk.events.append(events.event(number * retraining.recipe.epochs, before, after))


def _retrain(
    network: nn.Module,
    images: TrainingImages,
    retraining: Retraining,
    walks: Sequence[Walk],
    number: int,
    engine: Engine,
    unfinished: Unfinished,
) -> Iterator[tuple[Walk, Fitted | NonFiniteLoss]]:
    """Yield each walk with what its retraining gives.

    The first round, as the control's, draws order and augmentation from the stream of the
    retraining itself (``Retraining.stage``).
    """
    for walk in walks:
        if walk.masks is not None:
            walk.masks = retraining.masks(walk.masks, walk.seed)
    of_round = f", round {number + 1}" if number else ""
    report = progress(
        [f"{walk.cell(number)}{of_round}, seed {walk.seed}" for walk in walks],
        retraining.recipe.epochs,
    )
    results = fit_runs(
        network,
        images,
        retraining.recipe,
        [
            Run(walk.seed, retraining.starts.get(walk.seed, walk.state), walk.masks)
            for walk in walks
        ],
        engine=engine,
        stage=retraining.stage(number),
        report=report,
        unfinished=unfinished,
    )
    yield from zip(walks, results, strict=True)


def _take(
    results: Results,
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    retraining: Retraining,
    walk: Walk,
    number: int,
    found: Fitted | NonFiniteLoss,
    positions: Mapping[str, int],
    watch: events.Watch,
) -> bool:
    """Add what came of a walk's round to the results; return whether it may go on.

    Raises ``NetworkError`` where something of a removed unit is left in it.
    """
    one, cell = walk.at(number), walk.cell(number)
    named = asdict(cell)
    made = results.made[cell]
    if one.asked and walk.masks is not None:
        sparsity = Sparsity.of(walk.masks, network, plan.count, positions)
        results.sparsity.append({**named, "seed": walk.seed, **asdict(sparsity)})
        results.events += events.rows({**named, "seed": walk.seed}, walk.events, watch.support)
        made.masks[walk.seed] = walk.masks
        if number and retraining.of_dense:
            made.compressed[walk.seed] = masked(walk.state, walk.masks)
    if isinstance(found, NonFiniteLoss):
        print(f"error: {cell}: {found}; this replicate is left out", flush=True)
        lost = [Cell(walk.method, later.ratio) for later in walk.chain[number:] if later.asked]
        results.failures += [
            Failure(**asdict(each), stage=FINE_TUNING, seed=walk.seed, reason=str(found))
            for each in lost
        ]
        return False
    since, recipe = walk.since(number), retraining.recipe
    for row in found.history:
        phase = row["phase"] + since * len(recipe.phases)
        epoch = row["epoch"] + since * recipe.epochs
        results.history.append({**named, **row, "phase": phase, "epoch": epoch})
    if one.asked:
        _check(network, images, plan.methods[walk.method], walk.masks, found.state)
        made.retrained[walk.seed] = found.state
    walk.state = found.state
    return True


def _check(
    network: nn.Module,
    images: TrainingImages,
    method: Method | None,
    masks: Mapping[str, Tensor] | None,
    state: Mapping[str, Tensor],
) -> None:
    """Have a method's unit check what is left of a network, if it can."""
    if method is not None and masks is not None:
        check = units.load(method.unit).check
        if check is not None:
            check(network, state, masks, images.fit)
