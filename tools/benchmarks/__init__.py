"""Benchmark programs behind ``tools/bench``: everything compared is measured in the same run, interleaved."""
