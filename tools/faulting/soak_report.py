"""Report of a soak, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.report import machine

from faulting.soak import EPOCHS, RANKS, Sample, SoakResult

SHARE_LEFT_OUT = 0.2
"""Fraction of the samples, from the start, that is ignored: libraries take memory once."""
KIB = 1024


def report(result: SoakResult) -> str:
    """The whole file."""
    faults = ", ".join(f"{fault}: {number}" for fault, number in sorted(result.faults.items()))
    versions = ", ".join(f"{name} {version}" for name, version in machine().items())
    lines = [
        "# Soak",
        "",
        (
            f"Written by `tools/faults soak --minutes {result.minutes:g} --seed {result.seed} --output tools/results/"
            f"soak.md`: runs of {EPOCHS} epochs on {RANKS} oversubscribed ranks, each broken by a random fault in a "
            "random phase and resumed until it is complete; beside them, one run on 2 ranks that nothing happens to."
        ),
        "",
        (
            f"- runs completed, each with the weights, momenta and metrics of the undisturbed run bit for bit: "
            f"{result.n_runs}"
        ),
        f"- starts: {result.n_starts}; faults that happened: {result.n_faults} ({faults})",
        f"- hangs, lost runs, differences and wrong exit codes: {len(result.problems)}",
        *(f"  - {problem}" for problem in result.problems),
        "",
        "| undisturbed rank | epochs | minutes | RSS, first and last | RSS slope | open files, least and most |",
        "|---|---|---|---|---|---|",
        *(_row(rank, samples) for rank, samples in result.samples.items()),
        "",
        (
            f"Slope: least squares over the epochs, the first {SHARE_LEFT_OUT:.0%} of the samples left out. Every "
            "rank keeps the metrics of all epochs, about 0.7 KiB each."
        ),
        "",
        versions,
        "",
    ]
    return "\n".join(lines)


def _row(rank: int, samples: Sequence[Sample]) -> str:
    kept = samples[int(SHARE_LEFT_OUT * len(samples)) :]
    epochs = np.array([sample.epoch for sample in kept], float)
    rss = np.array([sample.rss_bytes for sample in kept], float)
    slope = np.polyfit(epochs, rss, 1)[0] if len(kept) > 1 else float("nan")
    n_files = [sample.n_files for sample in kept]
    cells = (
        f"{rank}",
        f"{kept[-1].epoch:,}",
        f"{kept[-1].seconds / 60:.1f}",
        f"{rss[0] / KIB**2:.1f} and {rss[-1] / KIB**2:.1f} MiB",
        f"{slope / KIB:.4f} KiB per epoch",
        f"{min(n_files)} and {max(n_files)}",
    )
    return f"| {' | '.join(cells)} |"
