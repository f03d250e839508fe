# shellcheck shell=bash
# What the SLURM job scripts in this folder share; sourced by them.

# As many times may a job put itself back into the queue.
max_restarts="${HPC_SPARSE_MAX_RESTARTS:-100}"

# srun, since SLURM 22.05, takes the cores per task from this variable only.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

die() {
    echo "${SLURM_JOB_NAME:-job script}: error: $*" >&2
    exit 2
}

# run_folder CONFIG: where the job's run goes, the same after a restart. A job that was given a name continues the run
# of that name; one that was not has a run of its own. A job array has one run per seed.
run_folder() {
    local name="$SLURM_JOB_NAME"
    if [ "$name" = hpc-sparse ]; then
        name="$(basename "$1" .toml)-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}"
    fi
    echo "runs/$name${SLURM_ARRAY_TASK_ID:+/seed-$SLURM_ARRAY_TASK_ID}"
}

# run_step COMMAND...: runs it, tells it to stop when the job's time is nearly over, and gives its exit code back.
run_step() {
    local status code=
    is_cancelled=no
    "$@" &
    step=$!
    # SLURM sends its warning (see --signal) to this script alone.
    trap 'is_interrupted=yes; kill -USR1 "$step" 2>/dev/null' USR1
    # scancel, preemption and the end of the time come to every process of the job; here: do not start again.
    trap 'is_interrupted=yes; is_cancelled=yes; kill -TERM "$step" 2>/dev/null' TERM
    is_interrupted=yes
    # A signal ends `wait`, not the command.
    while [ "$is_interrupted" = yes ]; do
        is_interrupted=no
        wait "$step" && status=0 || status=$?
        # 127: the command's end was seen just before the signal.
        [ "$status" = 127 ] && [ -n "$code" ] || code=$status
    done
    trap - USR1 TERM
    return "$code"
}

# finish CODE: ends the job with the exit code of the run; after a planned stop (75), puts it back into the queue.
finish() {
    if [ "$1" != 75 ] || [ "$is_cancelled" = yes ]; then
        exit "$1"
    fi
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$max_restarts" ]; then
        echo "$SLURM_JOB_NAME: stopped after $max_restarts restarts; submit it again to go on" >&2
    elif scontrol requeue "$SLURM_JOB_ID"; then
        echo "$SLURM_JOB_NAME: back in the queue, to go on where it stopped"
    else
        echo "$SLURM_JOB_NAME: could not be put back into the queue; submit it again to go on" >&2
    fi
    exit "$1"
}
