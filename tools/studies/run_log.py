"""Finished runs, one JSON line each, in a file beside the report: what is there is not done again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer


class RunLog:
    """The results of a study so far.

    Parameters
    ----------
    path : Path
        Made with the first record. A last line without end, of a process that was killed, is cut off.
    settings : dict
        Settings of all runs; a file with other ones ends the program.
    key : tuple of str
        Names in a record that tell the runs apart.
    """

    def __init__(self, path: Path, settings: dict[str, Any], key: tuple[str, ...]) -> None:
        self._path, self._settings, self._key = path, settings, key
        self._records = {self._key_of(record): record for record in self._load()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records.values())

    def __contains__(self, run: dict[str, Any]) -> bool:
        return self._key_of(run) in self._records

    def add(self, record: dict[str, Any]) -> None:
        """Keep a result, in the file too."""
        self._records[self._key_of(record)] = record
        with self._path.open("a") as file:
            file.write(json.dumps(record | {"settings": self._settings}) + "\n")

    def _key_of(self, record: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(record[name] for name in self._key)

    def _load(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        text = self._path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._path.write_text(whole)
        records = [json.loads(line) for line in whole.splitlines()]
        for record in records:
            if record["settings"] != self._settings:
                print(
                    f"experiments: error: {self._path} holds runs with other settings ({record['settings']}, not "
                    f"{self._settings}); choose another --output",
                    file=sys.stderr,
                )
                raise typer.Exit(2)
        return records
