{%- set program = "python3 -m unet_segmentation" -%}
#!/bin/bash
# What the job runs: run.sh train DATA RESULT [SETTING]..., run.sh predict DATA RESULT MODEL [OPTION]..., run.sh evaluate DATA RESULT PREDICTIONS...
#
# First the machine is tested (preflight), then the trainer runs. The exit code is theirs, untouched, and train.sub acts on it:
# 0 done, 85 checkpoint saved, 75 this machine cannot do it, 65 the data or the configuration is wrong, anything else a bug.
{% include shared("run.sh") %}
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
        [[ ${1-} ]] || refuse "model='': no file; want the model.keras of a training, or a folder of several. Run condor_submit predict.sub model=FILE."
        preflight
        models=(--model "$1")
        if [[ -d $1 ]]; then
            models=()
            for model in "$1"/*.keras; do models+=(--model "$model"); done
        fi
        # options of the predictor, such as --leave-out-faulty
        trainer predict --data "$data" --out "$result" "${models[@]}" "${@:2}"
        ;;
    evaluate)
        [[ ${1-} ]] || refuse "predictions='': no folder; want one. Run condor_submit evaluate.sub predictions=FOLDER."
        preflight
        folders=()
        for folder; do folders+=(--predictions "$folder"); done
        # the layout is that of the training
        trainer evaluate --data "$data" --out "$result" --config config.toml "${folders[@]}"
        ;;
    *)
        refuse "task='$task': unknown; want train, predict or evaluate. Change arguments in the submit file."
        ;;
esac
