# shellcheck shell=bash
# Functions that the scripts for Azure ML share: inputs, log lines, calls of az. Source this file; it needs bash 4.4.
#
# Environment variables for all of these scripts:
#   AML_RESOURCE_GROUP, AML_WORKSPACE   the workspace
#   AML_CLOUD                           AzureCloud (the default), AzureChinaCloud or AzureUSGovernment
#
# Functions return their result in REPLY. Do not use $(…) here: bash 5.2 cannot run a trap while it expands a command
# substitution ("unexpected EOF while looking for matching `)'"), and a signal must never be lost.

readonly EXIT_WRONG_USAGE=2
readonly EXIT_NOT_CREATED=3
readonly EXIT_PIPELINE_CANCELED=8
readonly CREATE_SECONDS=1800 # long, because the call uploads the code
readonly CALL_SECONDS=120
readonly ADD_SECONDS=600
readonly ML_VERSION=2.44.1 # of the extension ml

run_id=      # the name of the job, which is its run id; empty until there may be a job
studio_link= # the job's page in Azure ML studio; empty if Azure ML does not return it
status=      # the last status that Azure ML reported
scratch=     # a folder for the output of az

# sanitize TEXT: put the text on one line and disable logging commands in it.
sanitize() {
  REPLY=${1//[[:cntrl:]]/ }
  while [[ $REPLY == *'##'* ]]; do # once is not enough: ### would become # ##
    REPLY=${REPLY//'##'/'# #'}
  done
}

log() {
  local REPLY
  sanitize "$*"
  TZ=UTC printf '%(%Y-%m-%dT%H:%M:%SZ)T %s\n' -1 "$REPLY"
}

warn() {
  local REPLY
  sanitize "$*"
  printf '##vso[task.logissue type=warning]%s\n' "$REPLY"
}

# fail CODE TEXT…: log an error and exit.
fail() {
  sanitize "${*:2}"
  printf '##vso[task.logissue type=error]%s\n' "$REPLY"
  exit "$1"
}

# set_output NAME VALUE: set an output variable of the step. The caller must have checked the value.
set_output() {
  printf '##vso[task.setvariable variable=%s;isOutput=true]%s\n' "$1" "$2"
}

# require NAME…: fail if any of these environment variables is empty.
require() {
  local name missing=
  for name; do
    [[ -n ${!name:-} ]] || missing+=" $name"
  done
  [[ -z $missing ]] ||
    fail "$EXIT_WRONG_USAGE" "these environment variables must be set:$missing; the pipeline template sets them"
}

# read_seconds NAME: convert the duration in that environment variable, such as 90s, 30m or 1h30m, to seconds.
read_seconds() {
  local text=${!1} form='^(([0-9]{1,5})d)?(([0-9]{1,5})h)?(([0-9]{1,5})m)?(([0-9]{1,7})s)?$' part
  REPLY=0
  if [[ $text =~ $form ]]; then
    for part in 2:86400 4:3600 6:60 8:1; do
      REPLY=$((REPLY + 10#0${BASH_REMATCH[${part%:*}]} * ${part#*:}))
    done
  fi
  ((REPLY > 0)) || fail "$EXIT_WRONG_USAGE" "$1 must be a duration such as 90s, 30m, 6h, 1h30m or 2d, got '$text'"
}

# Check the requirements of all scripts. Call it first, before setting any trap.
prepare() {
  require AML_RESOURCE_GROUP AML_WORKSPACE
  case ${AML_CLOUD:=AzureCloud} in
    AzureCloud | AzureChinaCloud | AzureUSGovernment) ;;
    *)
      fail "$EXIT_WRONG_USAGE" "AML_CLOUD must be AzureCloud, AzureChinaCloud or AzureUSGovernment, got '$AML_CLOUD'"
      ;;
  esac
  export AZUREML_CURRENT_CLOUD=$AML_CLOUD # read by the extension ml
  command -v az >/dev/null || fail "$EXIT_WRONG_USAGE" "az is not on the PATH; install the Azure CLI on this agent"
  scratch=$(mktemp -d)
  # A signal that reaches a child before it has become another program runs this trap in the child too. No exit here:
  # bash ignores it in a trap that a signal has caused. In the background: bash 5.2 sometimes loses a process that it
  # starts in a trap and waits for ("wait_for: No record of process").
  trap 'if ((BASHPID == $$)); then rm -rf -- "$scratch" & fi' EXIT
  # A folder for each version, outside of the configuration that AzureCLI@2 deletes after each step. The extension is
  # thus installed once on each agent.
  export AZURE_EXTENSION_DIR=${AGENT_TOOLSDIRECTORY:-$HOME}/azure-cli-ml-$ML_VERSION
  if ! call "$CALL_SECONDS" extension show --name ml &&
    ! call "$ADD_SECONDS" extension add --name ml --version "$ML_VERSION" --yes; then
    read_errors
    fail "$EXIT_WRONG_USAGE" "the Azure CLI lacks the extension ml $ML_VERSION, which could not be added: $REPLY"
  fi
}

# call SECONDS ARGUMENT…: run az for at most SECONDS. It runs in the background, because the shell then handles signals
# immediately.
call() {
  local code=0
  timeout --kill-after=10 "$1" az "${@:2}" --only-show-errors >"$scratch/answer" 2>"$scratch/errors" &
  wait "$!" || code=$?
  # timeout exits with 124 or 137 if it had to end az.
  ((code != 124 && code != 137)) || echo "no answer within $1 s" >>"$scratch/errors"
  return "$code"
}

# call_ml SECONDS ARGUMENT…: run a command of the extension ml.
call_ml() {
  call "$1" ml "${@:2}" --resource-group "$AML_RESOURCE_GROUP" --workspace-name "$AML_WORKSPACE"
}

# Read the output of the last call. REPLY is empty unless the output is a single word of safe characters.
read_answer() {
  local text
  IFS= read -r -d '' text <"$scratch/answer" || true
  REPLY=
  [[ ! $text =~ ^[[:space:]]*([A-Za-z0-9][A-Za-z0-9_.:/?=\&%-]*)[[:space:]]*$ ]] || REPLY=${BASH_REMATCH[1]}
}

# Read the error output of the last call, shortened.
read_errors() {
  local text
  IFS= read -r -d '' text <"$scratch/errors" || true
  text=${text%$'\n'}
  sanitize "${text:0:500}"
  [[ -n ${REPLY// /} ]] || REPLY='az printed no error'
}

# Choose a name for a job. Azure ML would choose one too, but a job whose name is known before it exists can be canceled
# at any time. The name has the form of those that Azure ML chooses, word_word_10 characters, so that nextstage recognizes
# the children of a sweep: Azure ML names them after the parent, with an underscore and a number.
choose_name() {
  local random
  read -r random </proc/sys/kernel/random/uuid
  REPLY=nextstage_job_x0${random%%-*}
}

# Submit the job in AML_JOB_FILE with the changes in AML_JOB_SET, and log its page. Sets run_id and studio_link.
submit_job() {
  require AML_JOB_FILE
  [[ -f $AML_JOB_FILE ]] || fail "$EXIT_WRONG_USAGE" "the job file $AML_JOB_FILE does not exist in $PWD"
  local line code=0 changes=()
  while read -r line; do
    [[ -n $line ]] || continue
    [[ $line =~ ^[A-Za-z_][][A-Za-z0-9_.-]*= ]] ||
      fail "$EXIT_WRONG_USAGE" "a change to the job must be path=value, such as inputs.epochs=1, got '$line'"
    changes+=("$line")
  done <<<"${AML_JOB_SET:-}"
  ((${#changes[@]} == 0)) || changes=(--set "${changes[@]}")
  choose_name
  run_id=$REPLY
  set_output runId "$run_id"
  call_ml "$CREATE_SECONDS" job create --name "$run_id" --file "$AML_JOB_FILE" "${changes[@]}" || code=$?
  if ((code != 0)); then
    read_errors
    local reason=$REPLY
    ((code != 124 && code != 137)) || cancel_job || true # Azure ML may have created it without an answer
    fail "$EXIT_NOT_CREATED" "the job of $AML_JOB_FILE could not be created: $reason"
  fi
  if call_ml "$CALL_SECONDS" job show --name "$run_id" --query services.Studio.endpoint --output tsv; then
    read_answer
    [[ $REPLY != https://* ]] || studio_link=$REPLY
  fi
  log "submitted job $run_id${studio_link:+: $studio_link}"
}

# When the pipeline is canceled, cancel the job and exit. The agent sends SIGINT, SIGTERM 7.5 s later, and SIGKILL after
# another 2.5 s.
on_signal() {
  trap '' INT TERM HUP
  log "the pipeline is being canceled"
  end_background
  [[ -n $run_id ]] || fail "$EXIT_PIPELINE_CANCELED" "the pipeline was canceled before it had submitted a job"
  cancel_job || true
  fail "$EXIT_PIPELINE_CANCELED" "the pipeline was canceled while job $run_id was ${status:-submitted}"
}

# End the background processes. They come from `jobs`, because a signal may arrive before a process id is assigned to a
# variable.
end_background() {
  local pid
  jobs -p >"$scratch/jobs"
  while read -r pid; do
    kill "$pid" 2>/dev/null || true
  done <"$scratch/jobs"
}

# Ask Azure ML to cancel the job. Returns 1 if the request fails, and 2 if there is no such job.
cancel_job() {
  if call_ml "$CALL_SECONDS" job cancel --name "$run_id"; then
    log "asked Azure ML to cancel job $run_id"
    return
  fi
  read_errors
  # The message must name the job: a missing workspace is not found either.
  if [[ ${REPLY,,} =~ not\ ?found && $REPLY == *"$run_id"* ]]; then
    log "there is no job $run_id"
    return 2
  fi
  warn "job $run_id could not be canceled; cancel it by hand${studio_link:+ at $studio_link}: $REPLY"
  return 1
}
