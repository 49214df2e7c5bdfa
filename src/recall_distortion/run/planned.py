"""The jobs of a study, in their order: what the workflow's rules do up to the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recall_distortion.run.jobs import Job, Plan, with_words
from recall_distortion.study import (
    Study,
    examined,
    measuring,
    paths,
    quantizing,
    transferring,
)
from recall_distortion.study.models import Network
from recall_distortion.study.quantizing import quantizes
from recall_distortion.system.files import sha256
from recall_distortion.vocabulary import DENSE


def plan(study: Study) -> Plan:
    """Return the plan of a study.

    A block's networks follow each other from training to predictions, so that whenever the work
    is broken off, as many predictions as possible are there.
    """
    results = f"results/{study.folder}"
    jobs = with_words(_in_order([*_prepare(study, results), *_compute(study, results)]))
    data = [job.outputs["data"] for job in jobs if job.rule == "prepare"]
    checksums = {path: sha256(path) for path in data if Path(path).exists()}
    return Plan(study.folder, results, study.deterministic, tuple(jobs), checksums)


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs with each behind those that make its inputs, and else in their order.

    Tickets may come from a data set that is listed later.
    """
    to_come = {path for job in jobs for path in job.outputs.values()}
    found: list[Job] = []
    left = list(jobs)
    while left:
        waiting = []
        for job in left:
            if to_come.isdisjoint(job.input_paths()):
                found.append(job)
                to_come -= set(job.outputs.values())
            else:
                waiting.append(job)
        assert len(waiting) < len(left)  # no job waits for itself, as the study has checked
        left = waiting
    return found


def _prepare(study: Study, results: str) -> Iterator[Job]:
    for name, dataset in study.datasets.items():
        source = [str(Path(dataset.path).expanduser())] if dataset.path else []
        data = f"{results}/{paths.DATA}".format(dataset=name)
        yield Job("prepare", {"source": source}, {"data": data}, dataset.preparation())


def _compute(study: Study, results: str) -> Iterator[Job]:
    for network in study.networks():
        for block, seeds in study.blocks().items():
            yield _train(study, results, network, block, seeds)
            yield _evaluate(results, network, block, DENSE, {})
            curved = measuring.bundles(study, network)
            if DENSE in curved:
                yield _curvature(study, results, network, block, DENSE, [])
            counted = measuring.bundles_of_dead_units(study, network)
            if DENSE in counted:
                yield _dead_units(study, results, network, block, DENSE, [])
            bundles = list(study.bundles(network.panel))
            # What quantizes reads what others made.
            last = [bundle for bundle in bundles if quantizes(study, network.panel, bundle)]
            for bundle in sorted(bundles, key=last.__contains__):
                make = _quantize if bundle in last else _compress
                compressing = [
                    make(study, results, network, block, bundle, group)
                    for group in study.ratio_groups(network.panel, bundle)
                ]
                yield from compressing
                weights = [job.outputs["weights"] for job in compressing]
                kind = "quantized" if bundle in last else "compressed"
                yield _evaluate(results, network, block, bundle, {kind: weights})
                if bundle in curved:
                    yield _curvature(study, results, network, block, bundle, weights)
                if bundle in counted:
                    yield _dead_units(study, results, network, block, bundle, weights)
        pairs, places = measuring.compared_masks(study, network)
        if pairs:
            yield _mask_overlap(results, network, pairs, places)


def _train(study: Study, results: str, network: Network, block: str, seeds: list[int]) -> Job:
    about = network.panel._asdict() | {"block": block}
    stem = f"{results}/{paths.DENSE}".format(**about)
    inputs: dict[str, Any] = {"data": f"{results}/{paths.DATA}".format(**about)}
    further = {}
    if files := examined.brought(study, network.panel, seeds):
        inputs["brought"] = files
        further["checksums"] = {path: sha256(path) for path in files}
    return Job(
        "train",
        inputs,
        {"weights": f"{stem}.safetensors", "history": f"{stem}.history.csv"},
        {
            "training": study.training_parameters(network.panel),
            "seeds": seeds,
            "unfinished": f"{results}/{paths.UNFINISHED}/train-{paths.TRAIN_JOB}".format(**about),
            **further,
        },
        list(network.panel),
    )


def _compress(
    study: Study, results: str, network: Network, block: str, bundle: str, group: str
) -> Job:
    about = network.panel._asdict() | {"block": block, "bundle": bundle, "ratios": group}
    stem = f"{results}/{paths.COMPRESSED}".format(**about)
    unfinished = f"{results}/{paths.UNFINISHED}/compress-{paths.COMPRESS_JOB}"
    return Job(
        "compress",
        {**_of_dense(results, about), **_transferred(study, results, network, about)},
        {
            "weights": f"{stem}.safetensors",
            "sparsity": f"{stem}.sparsity.csv",
            "history": f"{stem}.history.csv",
            "events": f"{stem}.events.csv",
        },
        {
            "compression": study.compression_parameters(network.panel, bundle),
            "ratios": study.job_ratios(network.panel, bundle, group),
            "unfinished": unfinished.format(**about),
        },
        list(network.panel),
    )


def _transferred(
    study: Study, results: str, network: Network, about: dict[str, str]
) -> dict[str, Any]:
    """Return the files of another data set that a job reads; none but where it takes tickets."""
    source, tickets = transferring.inputs(study, network.panel, about["bundle"], about["ratios"])
    files = [f"{results}/{paths.COMPRESSED}.safetensors".format(**about | t) for t in tickets]
    found: dict[str, Any] = {"tickets": files} if files else {}
    return found | ({"source": f"{results}/{paths.DATA}".format(dataset=source)} if source else {})


def _quantize(
    study: Study, results: str, network: Network, block: str, bundle: str, group: str
) -> Job:
    about = network.panel._asdict() | {"block": block, "bundle": bundle, "ratios": group}
    stem = f"{results}/{paths.COMPRESSED}"
    origins = quantizing.origins(study, network.panel, bundle, group)
    files = [
        f"{stem}.safetensors".format(**(about | {"bundle": other, "ratios": own}))
        for other, own in origins
    ]
    stem = stem.format(**about)
    return Job(
        "quantize",
        {**_of_dense(results, about), "origins": files},
        {"weights": f"{stem}.safetensors", "sparsity": f"{stem}.sparsity.csv"},
        {
            "quantization": quantizing.parameters(study, network.panel, bundle),
            "cells": quantizing.cells(study, network.panel, bundle, group),
        },
        list(network.panel),
    )


def _evaluate(
    results: str, network: Network, block: str, bundle: str, weights: dict[str, list[str]]
) -> Job:
    about = network.panel._asdict() | {"block": block, "bundle": bundle}
    predictions = f"{results}/{paths.PREDICTIONS}.safetensors".format(**about)
    return Job(
        "evaluate",
        {**_of_dense(results, about), "compressed": [], **weights},
        {"predictions": predictions},
        {},
        list(network.panel),
    )


def _curvature(
    study: Study, results: str, network: Network, block: str, bundle: str, weights: list[str]
) -> Job:
    about = network.panel._asdict() | {"block": block, "bundle": bundle}
    unfinished = f"{results}/{paths.UNFINISHED}/curvature-{paths.EVALUATE_JOB}"
    return Job(
        "curvature",
        {**_of_dense(results, about), "compressed": weights},
        {"curvature": f"{results}/{paths.PREDICTIONS}.curvature.csv".format(**about)},
        {"curvature": measuring.parameters(study), "unfinished": unfinished.format(**about)},
        list(network.panel),
    )


def _dead_units(
    study: Study, results: str, network: Network, block: str, bundle: str, weights: list[str]
) -> Job:
    about = network.panel._asdict() | {"block": block, "bundle": bundle}
    return Job(
        "dead_units",
        {**_of_dense(results, about), "compressed": weights},
        {"dead_units": f"{results}/{paths.PREDICTIONS}.dead_units.csv".format(**about)},
        {"selection": study.selection},
        list(network.panel),
    )


def _mask_overlap(
    results: str, network: Network, pairs: list[dict[str, Any]], places: list[measuring.Place]
) -> Job:
    overlap = f"{results}/{paths.MASK_OVERLAP}".format(**network.panel._asdict())
    weights = [f"{results}/{paths.COMPRESSED}.safetensors".format(**place) for place in places]
    return Job(
        "mask_overlap",
        {"compressed": weights},
        {"mask_overlap": overlap},
        {"pairs": pairs},
        list(network.panel),
    )


def _of_dense(results: str, about: dict[str, str]) -> dict[str, str]:
    """Return the files that all jobs with dense networks read."""
    return {
        "data": f"{results}/{paths.DATA}".format(**about),
        "dense": f"{results}/{paths.DENSE}.safetensors".format(**about),
    }
