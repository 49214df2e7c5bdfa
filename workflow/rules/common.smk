DATA = f"{RESULTS}/{paths.DATA}"
DENSE = f"{RESULTS}/{paths.DENSE}"
COMPRESSED = f"{RESULTS}/{paths.COMPRESSED}"
PREDICTIONS = f"{RESULTS}/{paths.PREDICTIONS}"
FIT = f"{RESULTS}/inference/{{networks}}/{{fitter}}"
TABLES = f"{RESULTS}/tables"
FIGURES = f"{RESULTS}/figures"
# Half-trained networks of a job; undeclared, because Snakemake removes a killed job's outputs.
UNFINISHED = f"{RESULTS}/{paths.UNFINISHED}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"

FITTERS = ("pymer4", "statsmodels")


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*",
    architecture="[a-z][a-z0-9_]*",
    recipe="[a-z][a-z0-9_]*",
    bundle="[a-z][a-z0-9_]*",
    ratios=r"\d+(\.\d+)?(-\d+(\.\d+)?)*",
    block=r"seeds-\d+-\d+",
    networks=r"networks-\d+-\d+",
    fitter="|".join(FITTERS),


def get_panel(wildcards):
    """Return the networks that a job is about."""
    return Panel(*(wildcards[key] for key in Panel._fields))


def get_source_modules(wildcards):
    """Return the modules that preparing a data set imports by name."""
    return STUDY.source_modules(wildcards.dataset)


def get_network_modules(wildcards):
    """Return the modules that jobs of a network import by name."""
    return STUDY.modules(get_panel(wildcards))


def get_compression_modules(wildcards):
    """Return those of a network and of the methods that share a job."""
    return STUDY.modules(get_panel(wildcards), wildcards.bundle)


def get_evaluation_modules(wildcards):
    """Return those of a network and of what evaluates a bundle's networks."""
    return quantizing.modules(STUDY, get_panel(wildcards), wildcards.bundle)


def get_bundles(*, quantizing_ones):
    """Return the names of the bundles that quantize, or of the others, as a pattern."""
    names = quantizing.bundles(STUDY)
    if quantizing_ones:
        return "|".join(names) or "(?!)"
    return "".join(f"(?!{name}/)" for name in names) + "[a-z][a-z0-9_]*"


def get_code(script, get_modules=lambda wildcards: ()):
    """Return what gives the code that decides a rule's numbers words, which an edit changes.

    ``get_modules`` returns what a job imports by name besides what can be read in its script.
    """
    return lambda wildcards: by_room(
        f"workflow/scripts/{script}.py", "src", tuple(get_modules(wildcards))
    )


def get_network_files(pattern, **wildcards):
    """Return a pattern's files for every network and block of the study."""
    return [
        path
        for network in STUDY.networks()
        for path in expand(
            pattern,
            **network.panel._asdict(),
            block=STUDY.blocks(),
            **wildcards,
        )
    ]


def get_compressed_files(pattern):
    """Return a pattern's files for every network, bundle, group of ratios and block."""
    return [
        path
        for network in STUDY.networks()
        for bundle in STUDY.bundles(network.panel)
        for path in expand(
            pattern,
            **network.panel._asdict(),
            bundle=bundle,
            ratios=STUDY.ratio_groups(network.panel, bundle),
            block=STUDY.blocks(),
        )
    ]


def get_event_files():
    """Return what jobs counted at removals; those that quantize remove nothing.

    Of networks whose predictions were computed elsewhere, and whose weights are not here, only
    what was brought: they are not trained again for it.
    """
    quantizing_ones = quantizing.bundles(STUDY)
    stems = [
        path.removesuffix(".events.csv")
        for network in STUDY.networks()
        for bundle in STUDY.bundles(network.panel)
        if bundle not in quantizing_ones
        for path in expand(
            f"{COMPRESSED}.events.csv",
            **network.panel._asdict(),
            bundle=bundle,
            ratios=STUDY.ratio_groups(network.panel, bundle),
            block=STUDY.blocks(),
        )
    ]
    brought = {
        stem
        for stem in stems
        if Path(f"{stem}.sparsity.csv").exists()
        and not Path(f"{stem}.safetensors").exists()
    }
    return [
        f"{stem}.events.csv"
        for stem in stems
        if stem not in brought or Path(f"{stem}.events.csv").exists()
    ]


def get_prediction_files():
    """Return every file of predictions, the dense networks' first."""
    return [
        path
        for network in STUDY.networks()
        for bundle in ["dense", *STUDY.bundles(network.panel)]
        for path in expand(
            f"{PREDICTIONS}.safetensors",
            **network.panel._asdict(),
            bundle=bundle,
            block=STUDY.blocks(),
        )
    ]


def get_measured(tables):
    """Return those of tables that are measured on networks' weights, or were brought.

    Networks that were computed elsewhere are not trained again for the others. A job finds what
    was made before it, and may find weights that were not there when the others were chosen.
    """
    if not workflow.is_main_process:
        return [table for table in tables if Path(table).exists()]
    return [table for table in tables if table not in get_tables_not_brought()]


@cache
def get_tables_not_brought():
    """Return the tables that are measured on weights and can be neither found nor made."""
    lacking = measuring.not_brought(STUDY, RESULTS).values()
    return {table for tables in lacking for table in tables}


def get_curvature_files():
    """Return every table of curvature; none where the study does not ask for it."""
    return get_measured(
        path
        for network in STUDY.networks()
        for path in expand(
            f"{PREDICTIONS}.curvature.csv",
            **network.panel._asdict(),
            bundle=measuring.bundles(STUDY, network),
            block=STUDY.blocks(),
        )
    )


def get_dead_units_files():
    """Return every table of dead units; none where the study does not ask for them."""
    return get_measured(
        path
        for network in STUDY.networks()
        for path in expand(
            f"{PREDICTIONS}.dead_units.csv",
            **network.panel._asdict(),
            bundle=measuring.bundles_of_dead_units(STUDY, network),
            block=STUDY.blocks(),
        )
    )


def get_mask_overlap_files():
    """Return every table of what masks share; none where the study compares none."""
    return get_measured(
        f"{RESULTS}/{paths.MASK_OVERLAP}".format(**network.panel._asdict())
        for network in STUDY.networks()
        if measuring.compared_masks(STUDY, network)[0]
    )


def get_compared_masks(wildcards):
    """Return the files of the networks whose masks are compared."""
    network = STUDY.network(get_panel(wildcards))
    _, places = measuring.compared_masks(STUDY, network)
    return [f"{COMPRESSED}.safetensors".format(**place) for place in places]


def get_data_files():
    """Return the prepared data by data set.

    None where predictions were brought without them: data that are made anew would be newer than
    the predictions, and everything would be trained again.
    """
    files = {name: DATA.format(dataset=name) for name in STUDY.datasets}
    is_here = all(Path(path).exists() for path in files.values())
    if not is_here and all(Path(path).exists() for path in get_prediction_files()):
        return {}
    return files


def get_fit_files(suffix):
    """Return the files of the mixed models' fits, one a job and fitter."""
    return expand(f"{FIT}{suffix}", networks=STUDY.fits(), fitter=FITTERS)


def get_figure_names():
    """Return the names of the study's figures, as the report package names them."""
    kinds = (
        "effects",
        "alpha",
        "tradeoff",
        "together",
        "balances",
        "accuracy",
        "recall",
    )
    networks = ["-".join(network.panel) for network in STUDY.networks()]
    return [f"{kind}-{network}" for kind in kinds for network in networks] + [
        "sparsity"
    ]


def get_published_facts():
    """Return the published study's verdicts and slopes."""
    folder = Path("src/recall_distortion/inference/questions/published_facts")
    return [str(path) for path in sorted(folder.glob("*.csv"))]


def get_templates():
    """Return the report's template and style sheet."""
    return [
        str(path)
        for path in sorted(Path("src/recall_distortion/report").glob("templates/*"))
    ]


def get_source(wildcards):
    """Return a user's own data, so that a change of them reruns the study."""
    path = STUDY.datasets[wildcards.dataset].path
    return str(Path(path).expanduser()) if path else []


def get_brought(wildcards):
    """Return the files of dense networks of one's own, so that other ones rerun the study."""
    seeds = STUDY.blocks()[wildcards.block]
    return examined.brought(STUDY, get_panel(wildcards), seeds)


def get_origins(wildcards):
    """Return the files of the compressed networks that a job quantizes."""
    found = quantizing.origins(
        STUDY, get_panel(wildcards), wildcards.bundle, wildcards.ratios
    )
    return [
        f"{COMPRESSED}.safetensors".format(
            **{**dict(wildcards.items()), "bundle": bundle, "ratios": ratios}
        )
        for bundle, ratios in found
    ]


def get_source_of_tickets(wildcards):
    """Return the data that the weights of a job's tickets come from; none of most jobs."""
    panel = get_panel(wildcards)
    source, _ = transferring.inputs(STUDY, panel, wildcards.bundle, wildcards.ratios)
    return DATA.format(dataset=source) if source else []


def get_tickets(wildcards):
    """Return the files of the networks of another data set whose tickets a job trains."""
    panel = get_panel(wildcards)
    _, tickets = transferring.inputs(STUDY, panel, wildcards.bundle, wildcards.ratios)
    return [
        f"{COMPRESSED}.safetensors".format(**{**dict(wildcards.items()), **ticket})
        for ticket in tickets
    ]


def get_compressed_of_bundle(wildcards):
    """Return the files of a bundle's networks at all its ratios; none for the dense ones."""
    if quantizing.quantizes(STUDY, get_panel(wildcards), wildcards.bundle):
        return []
    return get_files_of_bundle(wildcards)


def get_quantized_of_bundle(wildcards):
    """Return the same of a bundle that quantizes; none of any other."""
    if quantizing.quantizes(STUDY, get_panel(wildcards), wildcards.bundle):
        return get_files_of_bundle(wildcards)
    return []


def get_files_of_bundle(wildcards):
    """Return the files of a bundle's networks at all its ratios; none for the dense ones."""
    if wildcards.bundle == "dense":
        return []
    ratios = STUDY.ratio_groups(get_panel(wildcards), wildcards.bundle)
    return expand(f"{COMPRESSED}.safetensors", ratios=ratios, **wildcards)
