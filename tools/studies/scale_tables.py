"""Tables of the results of :mod:`studies.scale`, in Markdown."""

from __future__ import annotations

from typing import Any

MEASURED = {
    "neurons": "{n_neurons:,}",
    "connections": "{n_connections:,}",
    "values": "{activations}",
    "batch": "{batch_size}",
    "construction, s": "{construction:.2f}",
    "step, s": "{step:.3g}",
    "ns per connection and sample": "{cost:.3f}",
    "times the first": "{ratio:.1f}",
    "epoch, s (from steps)": "{epoch:.0f}",
    "evolution, s": "{evolution:.2f}",
    "inference of a batch, s": "{inference:.3g}",
    "peak, GB": "{peak:.2f}",
}
STORED = {
    "checkpoint, GB": "{checkpoint_gb:.2f}",
    "write, s": "{write:.1f}",
    "plain file, s": "{plain:.1f}",
    "speed of a plain write": "{of_plain:.0%}",
    "read, s": "{read:.1f}",
    "peak before, GB": "{peak:.2f}",
    "peak after, GB": "{last_peak:.2f}",
}
PLANNED = (("construction", "construction"), ("step", "step"), ("evolution", "evolution"), ("checkpoint", "write"))
"""Seconds by their names in the plan and in what was measured."""

GIGABYTE = 1e9


def scale_report(found: list[dict[str, Any]], n_steps: int, n_threads: int) -> list[str]:
    """Lines of Markdown about all configurations so far."""
    for each in found:
        each["ratio"] = each["cost"] / found[0]["cost"]
    return [
        "# What large networks cost",
        "",
        f"One process with {n_threads} threads each, one after the other in the same run; medians of at least",
        f"{n_steps} training steps (a second of them) and two after a change of the topology, on real samples. The",
        "peak of memory is that of the process, data included.",
        "",
        *_table(found, MEASURED),
        "",
        "Checkpoints, on the disk of this machine; what was read again is bit for bit what was written. Beside it a",
        "plain file of as many bytes, written and brought to the disk in the same run:",
        "",
        *_table(found, STORED),
        "",
        "What `hpc-sparse plan` had said before, and how many times what was measured that is:",
        "",
        *_table(
            [_compared(each) for each in found], {**{name: f"{{{name}}}" for name, _ in PLANNED}, "memory": "{memory}"}
        ),
        "",
        *_items(found),
        "",
        "Losses of the steps, in their order (mean of a batch; the topology changes before the last two):",
        "",
        *(f"- {_name(each)}: {_losses(each['losses'])}" for each in found),
    ]


def _table(found: list[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    rows = [[_name(each), *(text.format(**each) for text in columns.values())] for each in found]
    return [_row(["configuration", *columns]), "|---" * (1 + len(columns)) + "|", *map(_row, rows)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(found: dict[str, Any]) -> str:
    return " ".join([found["name"], *found["settings"]])


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    seconds = found["planned"]["predicted"]
    cells = {
        name: f"{seconds[name]:.3g} s ({seconds[name] / found[measured]:.2f})"
        for name, measured in PLANNED
        if seconds.get(name)
    }
    memory = found["planned"]["memory"]["peak"] / GIGABYTE
    missing = {name: "-" for name, _ in PLANNED}
    return found | missing | cells | {"memory": f"{memory:.2f} GB ({memory / found['peak']:.2f})"}


def _items(found: list[dict[str, Any]]) -> list[str]:
    """Bytes by item of the last configuration."""
    last = found[-1]
    lines = [
        f"Memory of {_name(last)} by item, as the plan counts it:",
        "",
        "| item | GB | bytes per neuron | bytes per connection |",
        "|---|---|---|---|",
    ]
    for item in last["planned"]["memory"]["items"]:
        n_bytes = item["n_bytes"]
        shares = n_bytes / last["n_neurons"], n_bytes / last["n_connections"]
        lines.append(_row([item["name"], f"{n_bytes / GIGABYTE:.3f}", *(f"{share:.2f}" for share in shares)]))
    return lines


def _losses(losses: list[float], most: int = 12) -> str:
    shown = losses if len(losses) <= most else [*losses[: most // 2], *losses[-most // 2 :]]
    words = [f"{loss:.4f}" for loss in shown]
    if len(losses) > most:
        words.insert(most // 2, "...")
    return " ".join(words)
