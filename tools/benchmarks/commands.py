"""The sub-commands of ``tools/bench``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    accuracy_time,
    block_speed,
    comparison,
    convolution_speed,
    display_cost,
    epoch_speed,
    evolution_speed,
    fan_in_speed,
    file_speed,
    guard_speed,
    inference_speed,
    kernel_speed,
    part_runs,
    partition_speed,
    pattern_speed,
    rank_speed,
    recurrent_speed,
    scaling,
    server_speed,
    tile_speed,
    torch_layer_speed,
    tree_comparison,
    velocity_speed,
)

app = typer.Typer(help="Benchmarks: interleaved, medians with least and most.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Threads = Annotated[int, typer.Option(help="Threads; all cores by default.")]
N_CORES = len(os.sched_getaffinity(0))
SetMlp = Annotated[
    Path | None,
    typer.Option(envvar="SET_MLP", help="A checkout of the authors' own program (large-scale-sparse-neural-networks)."),
]


@app.callback()
def _benchmarks() -> None:
    """Measure; never assume."""


@app.command()
def peers(
    network: Annotated[
        str, typer.Option(help="fashion-mnist, cifar10, or a density for 3072-1024-512-10.")
    ] = "fashion-mnist",
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each peer.")] = 5,
    steps: Annotated[int, typer.Option(help="Training steps per measurement.")] = 40,
    only: Annotated[str, typer.Option(help="Comma-separated peers; all by default.")] = "",
    nerva: Annotated[
        Path | None, typer.Option(envvar="NERVA", help="The program mlp of a built copy of Nerva (nerva-rowwise).")
    ] = None,
    set_mlp: SetMlp = None,
    as_json: Json = False,
) -> None:
    """Train the same network with every peer that is installed; seconds are scaled to a whole epoch."""
    if nerva is not None:
        os.environ["NERVA"] = str(nerva)
    if set_mlp is not None:
        os.environ["SET_MLP"] = str(set_mlp)
    names = tuple(only.split(",")) if only else comparison.peers.NAMES
    comparison.compare_peers(network, threads, rounds, steps, names, as_json=as_json)


@app.command()
def accuracy(
    threads: Threads = N_CORES,
    limit: Annotated[float, typer.Option(help="Most seconds of training of each peer.")] = 150.0,
    epochs: Annotated[int, typer.Option(help="Epochs of our own run, which evolves.")] = 150,
    only: Annotated[str, typer.Option(help="Comma-separated peers; all by default.")] = "",
    dataset: Annotated[Path, typer.Option(help="Imported Fashion-MNIST.")] = Path("data/fashion_mnist.h5"),
    set_mlp: SetMlp = None,
    as_json: Json = False,
) -> None:
    """Seconds of training until the test accuracy of Fashion-MNIST reaches 88 and 90 %, by peer."""
    if set_mlp is not None:
        os.environ["SET_MLP"] = str(set_mlp)
    names = tuple(only.split(",")) if only else comparison.peers.NAMES
    accuracy_time.measure_accuracy(dataset, threads, limit, epochs, names, as_json=as_json)


@app.command()
def kernels(
    threads: Threads = N_CORES,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    rounds: Annotated[int, typer.Option(help="Measurements of each pass.")] = 15,
    as_json: Json = False,
) -> None:
    """GF/s of each pass of a layer, against SciPy and the machine's limits."""
    kernel_speed.measure_kernels(batch, threads, rounds, as_json=as_json)


@app.command()
def tiles(
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    rounds: Annotated[int, typer.Option(help="Measurements of each width.")] = 7,
    as_json: Json = False,
) -> None:
    """Milliseconds of a training step by the width of tiles; HPC_SPARSE_SIMD chooses the instructions."""
    tile_speed.measure_tiles(batch, threads, rounds, as_json=as_json)


@app.command()
def blocks(
    neurons: Annotated[int, typer.Option(help="Neurons above and below.")] = 2048,
    density: Annotated[float, typer.Option(help="Share of the blocks that exist.")] = 0.1,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    rounds: Annotated[int, typer.Option(help="Measurements of each case.")] = 15,
    as_json: Json = False,
) -> None:
    """Picoseconds per connection and sample by the size of blocks, beside BLAS, SciPy and PyTorch; one thread."""
    block_speed.measure_blocks(neurons, density, batch, rounds, as_json=as_json)


@app.command()
def evolve(
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements.")] = 5,
    as_json: Json = False,
) -> None:
    """Milliseconds of SET's evolution by size of a layer."""
    evolution_speed.measure_evolution(threads, rounds, as_json=as_json)


@app.command()
def fan_in(
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    rounds: Annotated[int, typer.Option(help="Measurements of each pass.")] = 9,
    as_json: Json = False,
) -> None:
    """Nanoseconds per connection where all neurons have the same fan-in, against rows of all lengths."""
    fan_in_speed.measure_fan_in(threads, rounds, as_json=as_json)


@app.command()
def patterns(
    width: Annotated[int, typer.Option(help="Neurons of both layers.")] = 2048,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    rounds: Annotated[int, typer.Option(help="Measurements of each pass.")] = 15,
    as_json: Json = False,
) -> None:
    """Time and bytes of patterns N:M beside unstructured connections; what another order of inputs keeps."""
    pattern_speed.measure_patterns(width, batch, threads, rounds, as_json=as_json)


@app.command()
def recurrent(
    width: Annotated[int, typer.Option(help="Neurons of the layer, a multiple of 16.")] = 2048,
    density: Annotated[float, typer.Option(help="Of both maps.")] = 0.1,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each step.")] = 5,
    as_json: Json = False,
) -> None:
    """A training step of a gated recurrent network by its connections, beside PyTorch's dense one."""
    recurrent_speed.measure_recurrent(width, density, batch, threads, rounds, as_json=as_json)


@app.command()
def velocity(
    width: Annotated[int, typer.Option(help="Neurons of each hidden layer.")] = 1_000_000,
    layers: Annotated[int, typer.Option(help="Hidden layers.")] = 5,
    fan_in: Annotated[float, typer.Option(help="Incoming connections of a neuron, about.")] = 2.0,
    batch: Annotated[int, typer.Option(help="Samples.")] = 64,
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each step.")] = 9,
    as_json: Json = False,
) -> None:
    """A training step of a wide network with velocities in float32 and in bfloat16."""
    velocity_speed.measure_velocity(width, layers, fan_in, batch, threads, rounds, as_json=as_json)


@app.command()
def convolution(
    channels: Annotated[int, typer.Option(help="Channels below and above.")] = 64,
    side: Annotated[int, typer.Option(help="Rows and columns of the images.")] = 16,
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each step.")] = 9,
    as_json: Json = False,
) -> None:
    """A training step of a convolution by its share of the taps, beside PyTorch's conv2d of equal shape."""
    convolution_speed.measure_convolution(channels, side, batch, threads, rounds, as_json=as_json)


@app.command()
def torch_layers(
    width: Annotated[int, typer.Option(help="Inputs and outputs of the layer.")] = 4096,
    density: Annotated[list[float], typer.Option(help="May be given several times.")] = [0.05, 0.01],  # noqa: B006
    batch: Annotated[int, typer.Option(help="Samples.")] = 128,
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each layer.")] = 9,
    steps: Annotated[int, typer.Option(help="Steps of a measurement.")] = 10,
    as_json: Json = False,
) -> None:
    """A training step of our layer for PyTorch: time and memory beside dense, masked and other sparse layers."""
    torch_layer_speed.measure_layers(width, tuple(density), batch, threads, rounds, steps, as_json=as_json)


@app.command()
def scale(
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Steps measured.")] = 7,
    largest: Annotated[int, typer.Option(help="Most connections.")] = 10**8,
    picture: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
    as_json: Json = False,
) -> None:
    """Training rate from 10^5 to 10^8 connections, with the machine's rooflines."""
    scaling.measure_scaling(threads, rounds, largest, picture, as_json=as_json)


@app.command()
def epoch(
    rounds: Annotated[int, typer.Option(help="Runs of each layout.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs per run.")] = 4,
    as_json: Json = False,
) -> None:
    """Time of a real run by part, from start to end."""
    epoch_speed.measure_epochs(rounds, epochs, as_json=as_json)


@app.command()
def trees(
    other: Annotated[Path, typer.Argument(help="Another checkout of this repository that is set up.")],
    rounds: Annotated[int, typer.Option(help="Runs of each layout and tree.")] = 5,
    epochs: Annotated[int, typer.Option(help="Epochs per run.")] = 4,
    as_json: Json = False,
) -> None:
    """Another tree against this one, interleaved: real runs and kernels."""
    tree_comparison.compare_trees(other, rounds, epochs, as_json=as_json)


@app.command()
def sync(
    rounds: Annotated[int, typer.Option(help="Runs of each layout.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs per run.")] = 5,
    as_json: Json = False,
) -> None:
    """Samples per second with the cores as ranks or as threads, by the frequency of syncs; real runs."""
    rank_speed.compare_layouts(rounds, epochs, as_json=as_json)


@app.command()
def partition(
    neurons: Annotated[int, typer.Option(help="Neurons of each of three layers.")] = 1_000_000,
    fan_in: Annotated[int, typer.Option(help="Connections of a neuron.")] = 4,
    rounds: Annotated[int, typer.Option(help="Changes.")] = 3,
    parts: Annotated[int, typer.Option(help="Most parts.")] = 2,
    as_json: Json = False,
) -> None:
    """A change of topology by SET: seconds and bytes of a network in parts, against the whole on one rank."""
    partition_speed.compare_parts(neurons, fan_in, rounds, parts, as_json=as_json)


@app.command()
def partition_run(
    job: Annotated[Path, typer.Argument(help="Configuration; its data set is not needed.")] = Path(
        "jobs/scale_5m.toml"
    ),
    settings: Annotated[list[str] | None, typer.Option("--set", help="Another value of a key.")] = None,
    rounds: Annotated[int, typer.Option(help="Runs of each layout.")] = 3,
    parts: Annotated[int, typer.Option(help="Ranks that hold the network, and threads of one that has all.")] = 2,
    as_json: Json = False,
) -> None:
    """Memory and time of real runs of a network in parts, against the whole on one rank; made samples."""
    part_runs.compare_runs(job, settings or [], parts, rounds, as_json=as_json)


@app.command(hidden=True)
def partition_rank(neurons: int, fan_in: int, rounds: int) -> None:
    """Measure as one of the ranks that `partition` starts."""
    partition_speed.print_changes(neurons, fan_in, rounds)


@app.command()
def serve(
    rounds: Annotated[int, typer.Option(help="Runs of each layout.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs per run.")] = 5,
    as_json: Json = False,
) -> None:
    """WASAP-SGD and WASSP-SGD: speed, waiting and staleness by the number of workers; the server's limit."""
    server_speed.measure_server(rounds, epochs, as_json=as_json)


@app.command()
def inference(
    network: Annotated[
        str, typer.Option(help="fashion-mnist, cifar10, or a density for 3072-1024-512-10.")
    ] = "fashion-mnist",
    threads: Threads = N_CORES,
    rounds: Annotated[int, typer.Option(help="Measurements of each library.")] = 7,
    as_json: Json = False,
) -> None:
    """Predicting: latency of one sample, throughput of many, against SciPy and PyTorch."""
    inference_speed.measure_inference(network, threads, rounds, as_json=as_json)


@app.command()
def io(
    ranks: Annotated[int, typer.Option(help="Ranks.")] = 2,
    rounds: Annotated[int, typer.Option(help="Measurements.")] = 5,
    as_json: Json = False,
) -> None:
    """Checkpoints by each back end against a plain file."""
    file_speed.measure_files(ranks, rounds, as_json=as_json)


@app.command()
def guards(
    rounds: Annotated[int, typer.Option(help="Measurements.")] = 15,
    as_json: Json = False,
) -> None:
    """Cost of digests of replicas and of checksums of checkpoints."""
    guard_speed.measure_guards(rounds, as_json=as_json)


@app.command()
def display(
    seconds: Annotated[float, typer.Option(help="Of each way to show a run.")] = 20.0,
    step_milliseconds: Annotated[float, typer.Option(help="How long a step of the run takes.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Cost of showing a run: nothing, lines, or the live display."""
    display_cost.measure_display(seconds, step_milliseconds, as_json=as_json)
