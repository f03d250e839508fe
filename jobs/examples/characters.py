"""A recurrent network on a text: it predicts the next character, and goes on with what one begins.

Each step is also a command, which is named beside it. Takes a few seconds.
"""

# %% What is needed
import tempfile
from pathlib import Path

from hpc_sparse import load_model
from hpc_sparse.importers.text.tokens import TextOptions, import_text
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import LineReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint

folder = Path(tempfile.mkdtemp(prefix="hpc_sparse-"))

# %% Data: a text, here a nursery rhyme again and again; windows of 20 characters
# hpc-sparse data import text rhyme.txt rhyme.h5 --time-steps 20
rhyme = (
    "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n\n"
)
(folder / "rhyme.txt").write_text(100 * rhyme, encoding="utf-8")
info = import_text(folder / "rhyme.txt", folder / "rhyme.h5", options=TextOptions(steps=20))
print(f"{info.n_train} + {info.n_test} windows of {info.time_steps} characters, {info.n_tokens} different ones")

# %% The configuration: states of all steps go on to outputs of all steps
config = folder / "rhyme.toml"
config.write_text(
    """
    data.path = "rhyme.h5"
    training = { epochs = 20, batch_size = 16 }
    optimizer = { learning_rate = 0.5, clip_norm = 1.0 }
    [network]
    density = 0.2
    initializer = "he_fan_in"
    [[network.layers]]
    kind = "recurrent"
    n = 64
    output = "all"
    """,
    encoding="utf-8",
)

# %% Train
# hpc-sparse train rhyme.toml --output run
alone = ParallelContext.serial(threads=1)
train_run(alone, RunRequest(config, (), folder / "run"), LineReporter())

# %% Evaluate: bits per character on the end of the text
# hpc-sparse evaluate run/checkpoints/checkpoint-000020.h5 rhyme.h5
checkpoint = newest_checkpoint(folder / "run" / "checkpoints")
assert checkpoint is not None
scores = evaluate_checkpoint(alone, checkpoint, folder / "rhyme.h5")

# %% Go on with a text
# hpc-sparse model generate run/checkpoints/checkpoint-000020.h5 "Row, row" --length 60 --temperature 0.5
print(load_model(checkpoint).generate("Row, row", length=60, temperature=0.5))
print(f"result: {scores['test_bits_per_token']:.2f} bits per character")
