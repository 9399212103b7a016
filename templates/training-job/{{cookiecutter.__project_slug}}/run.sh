{%- set program = "python3 train.py" -%}
#!/bin/bash
# What the job runs: run.sh train DATA RESULT [OPTION OF train.py]...
#
# First the machine is tested (preflight), then train.py runs. The exit code is theirs, untouched, and train.sub acts on it:
# 0 done, 85 checkpoint saved, 75 this machine cannot do it, 65 the data or a setting is wrong, anything else a bug.
{% include shared("run.sh") %}
task=${1-} data=${2-} result=${3-}
shift $(($# < 3 ? $# : 3))
[[ $data ]] || refuse "data='': no name; want a folder or an archive. Leave out the slash at the end of data."
[[ $result ]] || refuse "result='': no folder; want run.sh train DATA RESULT."
[[ $task == train ]] || refuse "task='$task': unknown; want train. Change arguments in the submit file."

# a listed folder that does not exist when the job leaves would put it on hold
mkdir -p "$result" checkpoint
preflight
trainer --data "$data" --out "$result" "$@"
