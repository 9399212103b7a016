{%- set program = "python3 -m photon_propagation" -%}
{%- set what = "propagator" -%}
{%- set opencl = true -%}
#!/bin/bash
# What the job runs: run.sh propagate ICE RESULT [SETTING]..., run.sh merge HITS RESULT
#
# First the machine is tested (preflight), then the propagator runs. The exit code is theirs, untouched, and propagate.sub acts on it:
# 0 done, 85 checkpoint saved, 75 this machine cannot do it, 65 the ice or a setting is wrong, anything else a bug.
{% include shared("run.sh") %}
task=${1-} data=${2-} result=${3-}
shift $(($# < 3 ? $# : 3))
[[ $data ]] || refuse "data='': no name; want a folder or an archive. Leave out the slash at the end of data."
[[ $result ]] || refuse "result='': no folder; want run.sh propagate ICE RESULT, or run.sh merge HITS RESULT."
mkdir -p "$result"
# what OpenCL compiled stays in the job's folder
export XDG_CACHE_HOME=$PWD/.cache

case $task in
    propagate)
        # a listed folder that does not exist when the job leaves would put it on hold
        mkdir -p checkpoint
        preflight
        # whatever the ice is called and however it came (folder, archive, staged): config.toml finds it in ice/
        came=$(python3 -m submit.runtime.inputs "$data")
        folder=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["folder"])' "$came")
        [[ $folder -ef ice ]] || ln -sfn -- "$folder" ice
        settings=()
        for setting; do settings+=(--set "$setting"); done
        propagator run --config config.toml --out "$result" ${settings[@]+"${settings[@]}"}
        ;;
    merge)
        {{ program }} merge "$data"/* --out "$result/hits.npz"
        exec {{ program }} plot "$result/hits.npz" --out "$result"
        ;;
    *)
        refuse "task='$task': unknown; want propagate or merge. Change arguments in the submit file."
        ;;
esac
