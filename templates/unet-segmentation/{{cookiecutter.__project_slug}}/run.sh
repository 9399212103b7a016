#!/bin/bash
# What the job runs: run.sh train DATA RESULT [SETTING]..., run.sh predict DATA RESULT MODEL, run.sh evaluate DATA RESULT PREDICTIONS...
#
# First the machine is tested (preflight), then the trainer runs. The exit code is theirs, untouched, and train.sub acts on it:
# 0 done, 85 checkpoint saved, 75 this machine cannot do it, 65 the data or the configuration is wrong, anything else a bug.
set -euo pipefail

# HTCondor starts the script in the job's working directory, under whatever path that has on the machine
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
[[ -d $here/job ]] || here=$PWD

export PYTHONPATH="$here/job${PYTHONPATH:+:$PYTHONPATH}"

# One line on stderr and in the reason of the hold, and the code for a job that no other machine would run either.
# A reason that cannot be sent must not change that code.
refuse() {
    printf '%s\n' "$1" >&2
    python3 -c 'import sys; from submit.runtime import chirp; chirp.publish("ChirpOsgdlReason", sys.argv[1])' "$1" || true
    exit 65
}

# Disk, driver and GPU against the request, and a computation whose answer is known, before the first byte of data
preflight() { python3 -m submit.runtime.preflight --json "$result/preflight.json"; }

# The trainer takes this shell's place, unless its large results go to the OSDF in an archive (`osgdl stage results`), which is
# packed once it is done. Then SIGTERM is handed on: the trainer answers it with a checkpoint.
trainer() {
    [[ ${OSGDL_LARGER_THAN-} ]] || exec python3 -m unet_segmentation "$@"
    local code child
    python3 -m unet_segmentation "$@" &
    child=$!
    trap 'kill -TERM "$child" 2> /dev/null || true' TERM
    while
        code=0
        wait "$child" || code=$?
        # a signal ended the wait, and not the trainer
        kill -0 "$child" 2> /dev/null
    do :; done
    [[ $code -eq 0 ]] || exit "$code"
    exec python3 -m submit.runtime.outputs "$result" large.tar --larger-than "$OSGDL_LARGER_THAN"
}

task=${1-} data=${2-} result=${3-}
shift $(($# < 3 ? $# : 3))
[[ $data ]] || refuse "data='': no name; want a folder or an archive. Leave out the slash at the end of data."
[[ $result ]] || refuse "result='': no folder; want run.sh train DATA RESULT, or run.sh predict DATA RESULT MODEL."
mkdir -p "$result"

case $task in
    train)
        # a listed folder that does not exist when the job leaves would put it on hold
        mkdir -p checkpoint
        preflight
        settings=()
        for setting; do settings+=(--set "$setting"); done
        trainer train --data "$data" --out "$result" --config config.toml ${settings[@]+"${settings[@]}"}
        ;;
    predict)
        [[ ${1-} ]] || refuse "model='': no file; want the model.keras of a training. Run condor_submit predict.sub model=FILE."
        preflight
        trainer predict --data "$data" --out "$result" --model "$1"
        ;;
    evaluate)
        [[ ${1-} ]] || refuse "predictions='': no folder; want one. Run condor_submit evaluate.sub predictions=FOLDER."
        preflight
        folders=()
        for folder; do folders+=(--predictions "$folder"); done
        trainer evaluate --data "$data" --out "$result" "${folders[@]}"
        ;;
    *)
        refuse "task='$task': unknown; want train, predict or evaluate. Change arguments in the submit file."
        ;;
esac
