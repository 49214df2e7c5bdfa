"""A study as a whole, and what follows from it: blocks, bundles, cells, parameters of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from recall_distortion import vocabulary
from recall_distortion.compression.controls import ITERATIVE
from recall_distortion.data.sources import MODULES
from recall_distortion.networks import plans
from recall_distortion.networks.definition import Definition
from recall_distortion.study import (
    architectures,
    arms,
    own,
    references,
    stated,
    transferring,
    units,
)
from recall_distortion.study.curvature import Curvature, DeadUnits
from recall_distortion.study.datasets import Dataset
from recall_distortion.study.naming import fits, groups, in_order, joined, slug
from recall_distortion.study.own import OwnNetwork
from recall_distortion.study.pairs import Pairs, check_pairs
from recall_distortion.study.parts import (
    METHODS,
    Jobs,
    Method,
    OwnMethod,
    Panel,
    Ratio,
)
from recall_distortion.study.quantizers import Quantizer
from recall_distortion.study.recipes import Recipe, RecipePair
from recall_distortion.study.strict import Name, Strict
from recall_distortion.study.transfers import Transfer
from recall_distortion.system.errors import StudyError
from recall_distortion.vocabulary import (
    CONTROL,
    CONTROLS,
    DENSE,
    OF_ROUNDS,
    UNCOMPRESSED,
    format_ratio,
)


class Study(Strict):
    """A study: everything that decides its results."""

    _name: str = PrivateAttr("")
    _beside: str = PrivateAttr(".")  # the folder of the study's file
    _overrides: dict[str, Any] = PrivateAttr(default_factory=dict)
    _definitions: dict[str, Definition] = PrivateAttr(default_factory=dict)

    description: str = Field(
        min_length=1, description="What the study asks, in one or two sentences."
    )
    seeds: int = Field(
        ge=1,
        le=100_000,
        description="How many times each network is trained, each time from another seed.",
    )
    first_seed: int = Field(0, ge=0, lt=2**31, description="The first seed; the others follow.")
    datasets: dict[Name, Dataset] = Field(
        min_length=1, description="The data sets, each by a name."
    )
    recipes: dict[Name, RecipePair] = Field(
        min_length=1, description="How networks are trained and fine-tuned, each way by a name."
    )
    architectures: dict[Name, OwnNetwork] = Field(
        {}, description="Networks of one's own, each by a name."
    )
    methods: dict[Name, OwnMethod] = Field(
        {},
        description="Methods beyond the built-in ones, each by a name: one with a criterion "
        "prunes, one that says what weights are kept in quantizes, one with ticket_from trains "
        "tickets of another data set.",
    )
    panels: list[Panel] = Field(
        min_length=1,
        description="Which networks are trained on which data set, and how they are compressed.",
    )
    ratios: Annotated[list[Ratio], AfterValidator(in_order)] = Field(
        [],
        description="The compression ratios: parameters before over parameters after. A method "
        "may have ratios or sparsities of its own; where all have, these are left out.",
    )
    count: Literal["total", "prunable", "multiply_adds"] = Field(
        "total",
        description="What a ratio counts: total, all parameters, as ShrinkBench does; prunable, "
        "the prunable weights alone; or multiply_adds, those of one image, where channels are "
        "removed.",
    )
    selection: Literal["holdout", "test"] = Field(
        "holdout",
        description="What the best epoch is chosen on: holdout, training images that were held "
        "out; or test, the test set, as in the published study.",
    )
    level: float = Field(
        0.99, gt=0.5, lt=1, description="The one confidence level of all intervals (0.99 = 99 %)."
    )
    crossfit_splits: int = Field(
        20,
        ge=1,
        le=1000,
        description="How often the test set is halved at random for the cross-fitted slope.",
    )
    engine: Literal["auto", "sequential", "vectorized"] = Field(
        "auto",
        description="How networks are computed: sequential, one after another; vectorized, many "
        "at once; auto, whichever was measured to be faster for the network and the device. "
        "Results are the same but for rounding, which grows over training.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="The numbers that networks are trained with. Weights, sums of gradients, "
        "criteria and predictions are always in float32.",
    )
    deterministic: bool = Field(
        False,
        description="Whether a GPU computes the same bits each time, which may take longer; "
        "otherwise two runs on it may differ by rounding. On a CPU results are the same bits "
        "either way.",
    )
    curvature: Curvature | None = Field(
        None, description="What is measured of each network's loss beside its predictions, if so."
    )
    dead_units: DeadUnits = False
    pairs: Pairs = Field([])
    jobs: Jobs = Field(Jobs(), description="How the work is cut into jobs.")

    @property
    def name(self) -> str:
        """The study's name: its file's name without the suffix."""
        return self._name

    @property
    def folder(self) -> str:
        """The name of its results folder; overrides of the command line are part of it."""
        changed = [f"{key}={slug(value)}" for key, value in sorted(self._overrides.items())]
        return "+".join([self._name, *changed])

    @model_validator(mode="after")
    def _references_hold(self) -> Study:
        references.check_methods(self.methods)
        transferring.check_methods(self.methods)
        for index, panel in enumerate(self.panels):
            references.check_panel(
                f"panels.{index}", panel, self.datasets, self.recipes, self.methods
            )
        listed = [(f"panels.{i}", n) for i, p in enumerate(self.panels) for n in p.architectures]
        architectures.check(self.architectures, listed)
        references.check_use(self.panels, self.datasets, self.recipes, self.methods)
        references.check_bundles(self.jobs.bundles, self.methods)
        transferring.check(self)
        for network in self.networks():
            references.check_origins(str(network.panel), network.methods, self.methods)
            where, methods, recipe = self._trained(network)
            arms.check(where, methods, recipe)
            units.check(where, network.panel.architecture, methods, self.count)
            if (mine := self.architectures.get(network.panel.architecture)) is not None:
                quantizers = [name for name in network.methods if self.quantizer(name)]
                own.check(where, mine, methods, quantizers, network.recipe)
            for name in network.methods:
                references.check_ratios_differ(name, self.ratios_of(name))
        named = {name for panel in self.panels for name in panel.methods}
        references.check_ratios_used({n: m for n in named if (m := self.pruning(n))}, self.ratios)
        check_pairs(self)
        jobs = [(n.panel, bundle) for n in self.networks() for bundle in self.bundles(n.panel)]
        references.check_ratio_groups(group for job in jobs for group in self.ratio_groups(*job))
        references.check_job_names("-".join([*panel, bundle]) for panel, bundle in jobs)
        return self

    def method(self, name: str) -> Method | Quantizer | Transfer:
        """Return the definition of a method other than a control."""
        return self.methods[name] if name in self.methods else METHODS[name]

    def pruning(self, name: str) -> Method | None:
        """Return the definition of a method that prunes; None of controls and quantizers."""
        method = None if name in CONTROLS else self.method(name)
        if isinstance(method, Transfer) and (source := self.pruning(method.of)):
            return transferring.as_method(method, source)
        return method if isinstance(method, Method) else None

    def quantizer(self, name: str) -> Quantizer | None:
        """Return the definition of a method that quantizes; None of any other."""
        method = None if name in CONTROLS else self.method(name)
        return method if isinstance(method, Quantizer) else None

    def ratios_of(self, method: str) -> list[float]:
        """Return the ratios that a method runs at.

        They are its own or the study's, a control's 1 or those of its rounds, and of a quantizer
        those of the networks that it quantizes times its own.
        """
        if method in OF_ROUNDS:
            return self.ratios
        if method in (*CONTROLS, DENSE):
            return [UNCOMPRESSED]
        if quantizer := self.quantizer(method):
            return [quantizer.ratio(ratio) for ratio in self.ratios_of(quantizer.of)]
        definition = self.pruning(method)
        return (definition.own_ratios if definition else None) or self.ratios

    def replicate_seeds(self) -> list[int]:
        """Return the seeds, one a replicate."""
        return list(range(self.first_seed, self.first_seed + self.seeds))

    def blocks(self) -> dict[str, list[int]]:
        """Return the seeds of each block by its name, which states the first and last seed."""
        parts = groups(self.replicate_seeds(), self.jobs.replicates)
        return {f"seeds-{part[0]:03d}-{part[-1]:03d}": part for part in parts}

    def networks(self) -> list[Network]:
        """Return each (data set, architecture, recipe) once, with all its methods."""
        found: dict[vocabulary.Panel, Network] = {}
        for panel in self.panels:
            recipe = self.recipe_name(panel.recipe)
            for architecture in panel.architectures:
                key = vocabulary.Panel(panel.dataset, architecture, recipe)
                earlier = found[key].methods if key in found else ()
                methods = (*earlier, *(m for m in panel.methods if m not in earlier))
                found[key] = Network(key, self.recipes[recipe], methods)
        return list(found.values())

    def series(self) -> dict[str, tuple[str, int]]:
        """Return the series and depth of each architecture that is trained, by its name.

        ``depth`` orders the networks of one series from small to large. One's own are alone.
        """
        names = dict.fromkeys(network.panel.architecture for network in self.networks())
        facts = {name: plans.architecture(name) for name in names if name not in self.architectures}
        return {n: (facts[n].series, facts[n].depth) if n in facts else (n, 1) for n in names}

    def definition(self, architecture: str) -> Definition | None:
        """Return what makes a network of one's own; None of one of the package."""
        if architecture not in self.architectures:
            return None
        if architecture not in self._definitions:
            self._definitions[architecture] = own.definition(
                architecture, self.architectures[architecture], self._beside
            )
        return self._definitions[architecture]

    def network(self, panel: vocabulary.Panel) -> Network:
        """Return one (data set, architecture, recipe) of the study."""
        for network in self.networks():
            if network.panel == panel:
                return network
        raise StudyError(f"study {self.name} trains no {panel}")

    def bundles(self, panel: vocabulary.Panel) -> dict[str, tuple[str, ...]]:
        """Return the methods of each bundle, as far as this network is pruned by them."""
        bundle_of = {m: name for name, methods in self.jobs.bundles.items() for m in methods}
        found: dict[str, tuple[str, ...]] = {}
        for method in self.network(panel).methods:
            bundle = bundle_of.get(method, method)
            found[bundle] = (*found.get(bundle, ()), method)
        return found

    def ratio_groups(self, panel: vocabulary.Panel, bundle: str) -> dict[str, list[str]]:
        """Return the ratios that each job of a bundle carries, by the name they join to.

        They are those of all its methods; ``job_ratios`` says which of them run at which. A bundle
        that holds a control begins with ratio ``1``. One that prunes in rounds has one job, since
        all its ratios lie on one chain.
        """
        methods = self.bundles(panel)[bundle]
        ratios = sorted({ratio for method in methods for ratio in self.ratios_of(method)})
        together = len(ratios) if any(map(self._has_rounds, methods)) else self.jobs.ratios
        return {
            joined(group): group
            for group in groups([format_ratio(ratio) for ratio in ratios], together)
        }

    def _has_rounds(self, name: str) -> bool:
        method = self.pruning(name)
        return name in OF_ROUNDS or (method is not None and method.schedule == ITERATIVE)

    def job_ratios(self, panel: vocabulary.Panel, bundle: str, group: str) -> dict[str, list[str]]:
        """Return by method the ratios that a bundle's job of a group of ratios runs it at."""
        ratios = self.ratio_groups(panel, bundle)[group]
        found = {}
        for method in self.bundles(panel)[bundle]:
            own = [format_ratio(ratio) for ratio in self.ratios_of(method)]
            found[method] = [ratio for ratio in ratios if ratio in own]
        return found

    def fits(self) -> dict[str, dict[str, Any]]:
        """Return what each job that fits mixed models carries, by its name (``naming.fits``)."""
        return fits([list(network.panel) for network in self.networks()])

    def cells(self) -> Iterator[tuple[str, str, str, str, float]]:
        """Yield every cell (``vocabulary.CELL``), the dense networks left out."""
        for network in self.networks():
            for method in network.methods:
                for ratio in self.ratios_of(method):
                    yield *network.panel, method, ratio

    def facts(self) -> dict[str, Any]:
        """Return what a report states of the study, as plain values (``stated.of_study``)."""
        return stated.of_study(self)

    def recipe_name(self, named: str | None) -> str:
        """Return the recipe that a panel names, or the only one where it names none."""
        return named or next(iter(self.recipes))

    def training_parameters(self, panel: vocabulary.Panel) -> dict[str, Any]:
        """Return exactly what decides the dense networks, besides data and seeds."""
        recipe = self.network(panel).recipe.training
        found = {
            "recipe": recipe.parameters(),
            "selection": self.selection,
            "engine": self._engine_parameters(),
        }
        definition = self.definition(panel.architecture)
        return found if definition is None else found | {"network": asdict(definition)}

    def compression_parameters(self, panel: vocabulary.Panel, bundle: str) -> dict[str, Any]:
        """Return exactly what decides a bundle's pruned networks, besides ratios and inputs."""
        recipes = self.network(panel).recipe
        methods: dict[str, dict[str, Any] | None] = {}
        for name in self.bundles(panel)[bundle]:
            method = self.pruning(name)
            if method is None:
                methods[name] = None
                continue
            if method.epsilon is None:
                method = method.model_copy(update={"epsilon": recipes.training.weight_decay})
            methods[name] = units.method_parameters(panel.architecture, method)
        where, pruning, training = self._trained(self.network(panel))
        return {
            "methods": methods,
            "count": self.count,
            "recipe": recipes.finetuning.parameters(),
            "selection": self.selection,
            "engine": self._engine_parameters(),
            **arms.parameters(where, pruning, self.bundles(panel)[bundle], training),
            **units.parameters(panel.architecture, pruning, self.bundles(panel)[bundle]),
            **transferring.parameters(self, panel, bundle),
        }

    def _trained(self, network: Network) -> tuple[str, dict[str, Method | None], Recipe]:
        """Return a network's name, its pruning methods and the recipe of its training."""
        methods = {name: self.pruning(name) for name in network.methods}
        return str(network.panel), methods, network.recipe.training

    def controls(self) -> dict[str, str]:
        """Return by method what its effects are read against, where that is not ``control``."""
        names = {name for network in self.networks() for name in network.methods}
        found = {name: arms.control_of(m) for name in sorted(names) if (m := self.pruning(name))}
        return {name: arm for name, arm in found.items() if arm != CONTROL}

    def margins(self) -> dict[str, float]:
        """Return by data set the change of accuracy that counts as none, where one is stated."""
        return {name: own.margin for name, own in self.datasets.items() if own.margin is not None}

    def source_modules(self, dataset: str) -> list[str]:
        """Return what preparing a data set imports by name: the module of its source."""
        return [MODULES[self.datasets[dataset].source]]

    def modules(self, panel: vocabulary.Panel, bundle: str | None = None) -> list[str]:
        """Return what a network's jobs import by name: its module, what a bundle's methods use.

        A module of its fast form is among them whether there is one or not.
        """
        methods = self.bundles(panel)[bundle] if bundle else ()
        network = self.network(panel)
        further = units.modules(self._trained(network)[1], methods)
        further += transferring.modules(self, panel, bundle) + network.recipe.modules()
        if panel.architecture in self.architectures:
            return [*own.modules(further), *further]
        family = plans.architecture(panel.architecture).family
        rooms = ("networks", "fast.cpu", "fast.gpu")
        return [*(f"recall_distortion.{room}.{family}" for room in rooms), *further]

    def _engine_parameters(self) -> dict[str, Any]:
        """Return what decides how networks are computed, besides the network and the device."""
        return {
            "engine": self.engine,
            "at_once": self.jobs.at_once,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class Network:
    """The networks of a panel, with their recipe and the methods that they are pruned by."""

    panel: vocabulary.Panel
    recipe: RecipePair
    methods: tuple[str, ...]
