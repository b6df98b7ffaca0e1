# shellcheck shell=bash
# What the scripts that speak to Azure ML have in common: inputs, log lines, calls of az. To be sourced; bash 4.4.
#
# From the environment, for all of them:
#   AML_RESOURCE_GROUP, AML_WORKSPACE   where the workspace is
#   AML_CLOUD                           AzureCloud (the default), AzureChinaCloud or AzureUSGovernment
#
# What a function answers is in REPLY. There is no $(…) here, on purpose: bash 5.2 cannot run a trap while it expands
# one ("unexpected EOF while looking for matching `)'"), and a signal must never be lost.

readonly EXIT_WRONG_USAGE=2
readonly EXIT_NOT_CREATED=3
readonly CREATE_SECONDS=1800 # the code is uploaded too
readonly CALL_SECONDS=120

run_id=        # the job's name, which is its run id, once it is known
studio_link=   # a page for people; empty where Azure ML does not tell
scratch=       # a folder for what az prints
is_creating=no # whether a job may exist whose name is not known yet

# plain TEXT: the text on one line, in which no logging command works any more.
plain() {
  REPLY=${1//[[:cntrl:]]/ }
  REPLY=${REPLY//'##'/'# #'}
}

say() {
  local REPLY
  plain "$*"
  TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T %s\n' -1 "$REPLY"
}

warn() {
  local REPLY
  plain "$*"
  printf '##vso[task.logissue type=warning]%s\n' "$REPLY"
}

fail() {
  plain "${*:2}"
  printf '##vso[task.logissue type=error]%s\n' "$REPLY"
  exit "$1"
}

# set_output NAME VALUE: an output variable of the step. The value has been checked by then.
set_output() {
  printf '##vso[task.setvariable variable=%s;isOutput=true]%s\n' "$1" "$2"
}

# require NAME…: environment variables that must not be empty.
require() {
  local name missing=
  for name; do
    [[ -n ${!name:-} ]] || missing+=" $name"
  done
  [[ -z $missing ]] || fail "$EXIT_WRONG_USAGE" "the environment lacks$missing; the pipeline template sets them"
}

# read_seconds NAME: the seconds of the duration in that environment variable, such as 90s, 30m or 1h30m.
read_seconds() {
  local text=${!1} form='^(([0-9]{1,5})d)?(([0-9]{1,5})h)?(([0-9]{1,5})m)?(([0-9]{1,7})s)?$' part
  REPLY=0
  if [[ $text =~ $form ]]; then
    for part in 2:86400 4:3600 6:60 8:1; do
      REPLY=$((REPLY + 10#0${BASH_REMATCH[${part%:*}]} * ${part#*:}))
    done
  fi
  ((REPLY > 0)) || fail "$EXIT_WRONG_USAGE" "$1 is '$text', which is no duration; write 90s, 30m, 6h, 1h30m or 2d"
}

# Check what all scripts need. Call it first, and before any trap is set.
prepare() {
  require AML_RESOURCE_GROUP AML_WORKSPACE
  case ${AML_CLOUD:=AzureCloud} in
    AzureCloud | AzureChinaCloud | AzureUSGovernment) ;;
    *) fail "$EXIT_WRONG_USAGE" "AML_CLOUD is '$AML_CLOUD'; it must be AzureCloud, AzureChinaCloud or AzureUSGovernment" ;;
  esac
  export AZUREML_CURRENT_CLOUD=$AML_CLOUD # what the extension ml goes by
  command -v az >/dev/null || fail "$EXIT_WRONG_USAGE" "there is no az on the PATH; install the Azure CLI on this agent"
  scratch=$(mktemp -d)
  trap 'rm -rf -- "$scratch"' EXIT
  if ! call "$CALL_SECONDS" extension show --name ml && ! call "$CALL_SECONDS" extension add --name ml --yes; then
    complaint
    fail "$EXIT_WRONG_USAGE" "the Azure CLI has no extension ml, and it cannot be added: $REPLY"
  fi
}

# call SECONDS ARGUMENT…: run az in the background and wait for it, so that a signal is acted on at once. No call
# outlasts SECONDS, so that none can hang for ever.
call() {
  local code=0
  timeout --kill-after=10 "$1" az "${@:2}" --only-show-errors >"$scratch/answer" 2>"$scratch/errors" &
  wait "$!" || code=$?
  # 124 and 137 are what timeout ends with where it had to end az.
  ((code != 124 && code != 137)) || echo "no answer within $1 s" >>"$scratch/errors"
  return "$code"
}

# call_ml SECONDS ARGUMENT…: the same for a command of the extension ml.
call_ml() {
  call "$1" ml "${@:2}" --resource-group "$AML_RESOURCE_GROUP" --workspace-name "$AML_WORKSPACE"
}

# What the last call answered, in one word; empty where it was not one word of these characters.
answer() {
  local text
  IFS= read -r -d '' text <"$scratch/answer" || true
  REPLY=
  [[ ! $text =~ ^[[:space:]]*([A-Za-z0-9][A-Za-z0-9_.:/?=\&%-]*)[[:space:]]*$ ]] || REPLY=${BASH_REMATCH[1]}
}

# What the last call had to complain about, cut.
complaint() {
  local text
  IFS= read -r -d '' text <"$scratch/errors" || true
  text=${text%$'\n'}
  plain "${text:0:500}"
  [[ -n ${REPLY// /} ]] || REPLY='az said nothing'
}

# Submit the job of AML_JOB_FILE, changed by AML_JOB_SET, and tell where to watch it. Sets run_id and studio_link.
submit_job() {
  require AML_JOB_FILE
  [[ -f $AML_JOB_FILE ]] || fail "$EXIT_WRONG_USAGE" "there is no job file $AML_JOB_FILE below $PWD"
  local line changes=()
  while read -r line; do
    [[ -n $line ]] || continue
    [[ $line =~ ^[A-Za-z_][][A-Za-z0-9_.-]*= ]] ||
      fail "$EXIT_WRONG_USAGE" "'$line' is no change to a job; write path=value, as in inputs.epochs=1"
    changes+=("$line")
  done <<<"${AML_JOB_SET:-}"
  ((${#changes[@]} == 0)) || changes=(--set "${changes[@]}")
  is_creating=yes
  if ! call_ml "$CREATE_SECONDS" job create --file "$AML_JOB_FILE" "${changes[@]}" --query name --output tsv; then
    complaint
    fail "$EXIT_NOT_CREATED" "the job of $AML_JOB_FILE could not be created: $REPLY"
  fi
  answer
  run_id=$REPLY
  is_creating=no
  [[ -n $run_id ]] || fail "$EXIT_NOT_CREATED" "az created a job of $AML_JOB_FILE and did not name it; look in Azure ML studio"
  set_output runId "$run_id"
  if call_ml "$CALL_SECONDS" job show --name "$run_id" --query services.Studio.endpoint --output tsv; then
    answer
    [[ $REPLY != https://* ]] || studio_link=$REPLY
  fi
  say "submitted job $run_id${studio_link:+: $studio_link}"
}

# For a signal's handler: end what runs in the background. Only the creating of a job is waited for, which gives its
# name. By jobs rather than by a variable, since a signal may come between a command and the noting of its id.
end_background() {
  if [[ $is_creating == yes ]]; then
    say "the job is being created; waiting for its name"
    wait
    answer
    run_id=$REPLY
    [[ -z $run_id ]] || set_output runId "$run_id"
  fi
  local pid
  jobs -p >"$scratch/jobs"
  while read -r pid; do
    kill "$pid" 2>/dev/null || true
  done <"$scratch/jobs"
}

# Ask Azure ML to cancel the job; false where that could not be asked for.
cancel_job() {
  if call_ml "$CALL_SECONDS" job cancel --name "$run_id"; then
    say "asked Azure ML to cancel job $run_id"
  else
    complaint
    warn "job $run_id could not be cancelled, so cancel it by hand${studio_link:+ at $studio_link}: $REPLY"
    return 1
  fi
}
