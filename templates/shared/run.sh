set -euo pipefail

# HTCondor starts the script in the job's working directory, under whatever path that has on the machine
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
[[ -d $here/job ]] || here=$PWD

export PYTHONPATH="$here/job${PYTHONPATH:+:$PYTHONPATH}"
# matplotlib complains of a home that it cannot write to
[[ ${MPLCONFIGDIR-} ]] || export MPLCONFIGDIR="${TMPDIR:-/tmp}"

# One line on stderr and in the reason of the hold, and the code for a job that no other machine would run either.
# A reason that cannot be sent must not change that code.
refuse() {
    printf '%s\n' "$1" >&2
    python3 -c 'import sys; from submit.runtime import chirp; chirp.publish("ChirpOsgdlReason", sys.argv[1])' "$1" || true
    exit 65
}

# Disk, driver and GPU against the request, and a computation whose answer is known, before the first byte of data
preflight() { python3 -m submit.runtime.preflight{{ " --opencl" if opencl is defined }} --json "$result/preflight.json"; }

# The {{ what | default("trainer") }} takes this shell's place, unless its large results go to the OSDF in an archive (`osgdl stage results`), which is
# packed once it is done. Then SIGTERM is handed on: the {{ what | default("trainer") }} answers it with a checkpoint.
{{ what | default("trainer") }}() {
    [[ ${OSGDL_LARGER_THAN-} ]] || exec {{ program }} "$@"
    local code child
    {{ program }} "$@" &
    child=$!
    trap 'kill -TERM "$child" 2> /dev/null || true' TERM
    while
        code=0
        wait "$child" || code=$?
        # a signal ended the wait, and not the {{ what | default("trainer") }}
        kill -0 "$child" 2> /dev/null
    do :; done
    [[ $code -eq 0 ]] || exit "$code"
    exec python3 -m submit.runtime.outputs "$result" large.tar --larger-than "$OSGDL_LARGER_THAN"
}
