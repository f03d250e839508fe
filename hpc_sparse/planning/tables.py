"""A plan as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from hpc_sparse.planning.refusal import gigabytes

LEAST_WIDTH = 100


def print_plan(plan: dict[str, Any]) -> None:
    """Print what :func:`hpc_sparse.planning.report.plan_run` has found."""
    console = Console(width=max(LEAST_WIDTH, Console().width), highlight=False)
    ranks = f"{plan['ranks']} rank{'s' if plan['ranks'] > 1 else ''}, {plan['ranks_per_node']} on a node"
    parts = "" if plan["ranks_per_network"] == 1 else f", {plan['ranks_per_network']} for each network"
    console.print(
        f"{plan['config']}: {plan['neurons']:,} neurons, {plan['connections']:,} connections; "
        f"{ranks}{parts}, {plan['threads_per_rank']} threads each"
    )
    for file in plan.get("topology_files", []):
        console.print(
            f"layer {file['layer']} from {file['path']}: {file['connections']:,} connections of {file['features']:,} "
            f"features to {file['groups']:,} groups"
        )
    if plan["effective"] is not None:
        console.print(_effective_line(plan["effective"]))
    console.print(f"{plan['instructions']} instructions, activations in tiles of {plan['tile_width']} columns")
    console.print(f"samples: {', '.join(f'{name} {number:,}' for name, number in plan['samples'].items())}")
    schedule = plan["schedule"]
    first, highest = schedule["first_learning_rate"], schedule["highest_learning_rate"]
    rise = f"{first:g}" if first == highest else f"{first:g} in the first epoch, at most {highest:g}"
    console.print(
        f"learning rate: {rise}; {schedule['strategy']} replaces {schedule['drop_fraction']:.0%} "
        f"({schedule['drop_schedule']}) until epoch {schedule['last_change']} is over"
    )
    console.print(_memory_table(plan))
    console.print(_time_table(plan))
    if "largest" in plan["memory"]:
        console.print(_fit_lines(plan["memory"]))


def _effective_line(effective: dict[str, Any]) -> str:
    return (
        f"on a path from an input to an output at first: {effective['neurons']:,} neurons "
        f"({effective['share_of_neurons']:.1%}), {effective['connections']:,} connections "
        f"({effective['share_of_connections']:.1%})"
    )


def _memory_table(plan: dict[str, Any]) -> Table:
    memory = plan["memory"]
    table = Table(title="memory of each rank", title_justify="left")
    for name in ("", "", "GB", "bytes per neuron", "bytes per connection"):
        table.add_column(name, justify="right" if name else "left")
    before = ""
    for item in memory["items"]:
        if item["group"] != before and before:
            table.add_section()
        table.add_row(item["group"] if item["group"] != before else "", item["name"], *_shares(item["n_bytes"], plan))
        before = item["group"]
    table.add_section()
    table.add_row("all the time", "", *_shares(memory["all_the_time"], plan))
    for phase, n_bytes in memory["peaks"].items():
        if phase == "sync" and not plan["sync_bytes"]:
            continue
        table.add_row("most in" if phase == "construction" else "", phase, *_shares(n_bytes, plan))
    return table


def _shares(n_bytes: int, plan: dict[str, Any]) -> tuple[str, str, str]:
    return gigabytes(n_bytes), f"{n_bytes / plan['neurons']:.3g}", f"{n_bytes / plan['connections']:.3g}"


def _time_table(plan: dict[str, Any]) -> Table:
    predicted = plan["predicted"]
    table = Table(title="time on this machine, predicted", title_justify="left")
    for name in ("", "seconds", "may take", "times per epoch", "GB"):
        table.add_column(name, justify="right" if name else "left")
    per_epoch = {"step": predicted["n_steps"], "sync": predicted["n_syncs"], "evaluation": 1}
    written = {"step": plan["step_bytes"], "sync": plan["sync_bytes"], "checkpoint": plan["checkpoint_bytes"]}
    for name in ("construction", "step", "sync", "evolution", "evaluation", "epoch", "checkpoint"):
        if name == "sync" and not plan["sync_bytes"]:
            continue
        table.add_row(
            name,
            f"{predicted[name]:.3g}",
            "{:.2g} to {:.2g}".format(*plan["predicted_ranges"][name]) if name in plan["predicted_ranges"] else "",
            f"{per_epoch[name]:,}" if name in per_epoch else "",
            gigabytes(written[name]) if written.get(name) else "",
        )
    return table


def _fit_lines(memory: dict[str, Any]) -> str:
    largest = memory["largest"]
    hidden = largest["hidden"]
    widths = "-" if hidden is None else ", ".join(f"{width:,}" for width in _shortened(hidden))
    verdict = "fits" if memory["fits"] else "does not fit"
    return (
        f"{gigabytes(memory['peak_per_node'])} GB on each node: {verdict} into the "
        f"{gigabytes(memory['available_to_node'])} GB left for arrays ({memory['available_says']})\n"
        f"largest that fits, all else as it is: epsilon (or density) {largest['sparsity'] or '-'}; "
        f"batch_size {largest['batch_size'] or '-'}; hidden {widths}"
    )


def _shortened(hidden: tuple[int, ...]) -> tuple[int, ...]:
    return hidden if len(set(hidden)) > 1 else hidden[:1]
