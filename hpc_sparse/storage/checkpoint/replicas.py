"""Networks held by the ranks that write or read a checkpoint."""

from __future__ import annotations

NO_REPLICA = -1
"""In place of a replica's number: this rank has none, other ranks do."""


def count_replicas(numbers: list[int | None]) -> int:
    """Number of different replicas, from the number that each rank gives; 0 if all hold the same network."""
    if all(number is None for number in numbers):
        return 0
    held = sorted(number for number in numbers if number is not None and number != NO_REPLICA)
    assert None not in numbers, f"replicas {numbers} of the ranks: all of them or none must have one of its own"
    assert held, f"replicas {numbers} of the ranks: at least one must have one of its own"
    assert held == list(range(len(held))), f"replicas {numbers} of the ranks: expected each from 0 on once"
    return len(held)
