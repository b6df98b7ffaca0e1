#!/usr/bin/env bash
# Submits an Azure ML job and waits until it has ended. Cancels it when the time limit passes and when the pipeline
# is cancelled.
#
# From the environment, with what aml_job.sh needs:
#   AML_JOB_FILE        the job's YAML file
#   AML_JOB_SET         what to change in it, one path=value on each line; may be empty
#   AML_POLL_INTERVAL   the pause between two looks at the status (30s)
#   AML_TIME_LIMIT      how long to wait, the time in which the job waits for compute included (1h)
#
# Sets the output variables runId and status, the last status that Azure ML told.
#
# Exit codes:
#   0  the job has completed
#   2  wrong usage, or az or its extension ml is missing
#   3  the job could not be created
#   4  its status could not be asked for, several times in a row; the job goes on
#   5  the job has failed
#   6  the job was cancelled, by somebody else
#   7  the time limit has passed; the job is cancelled
#   8  the pipeline was cancelled, and the job with it
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

readonly EXIT_NO_STATUS=4 EXIT_FAILED=5 EXIT_CANCELED=6 EXIT_TIMED_OUT=7 EXIT_PIPELINE_CANCELED=8
readonly MAX_LOST_ANSWERS=5

status=
lost_answers=0

# The agent sends SIGINT, then SIGTERM after 7.5 s, and 2.5 s later it kills; so first things first.
on_signal() {
  trap '' INT TERM HUP
  say "the pipeline is being cancelled"
  end_background
  [[ -n $run_id ]] || fail "$EXIT_PIPELINE_CANCELED" "the pipeline was cancelled before it had submitted a job"
  cancel_job || true
  fail "$EXIT_PIPELINE_CANCELED" "the pipeline was cancelled while job $run_id was ${status:-submitted}"
}

# Ask for the status; false where Azure ML does not tell.
read_status() {
  local before=$status
  call_ml "$CALL_SECONDS" job show --name "$run_id" --query status --output tsv || return 1
  answer
  if [[ ! $REPLY =~ ^[A-Za-z]+$ ]]; then
    echo "the answer holds no status" >"$scratch/errors"
    return 1
  fi
  [[ $REPLY != "$before" ]] || return 0
  status=$REPLY
  set_output status "$status"
  say "job $run_id is $status${before:+, after $before}"
}

pause() {
  sleep "$1" &>/dev/null & # holding on to no output, lest it outlive the script and keep the agent waiting
  wait "$!"
}

# End where the status is final. All others, those that this script has never heard of too, end with the time limit.
# NotResponding and Paused are not final: such a job may go on.
end_if_final() {
  case $status in
    Completed)
      say "job $run_id has completed"
      exit 0
      ;;
    Failed) fail "$EXIT_FAILED" "job $run_id has failed; its logs${studio_link:+ are at $studio_link} say why" ;;
    Canceled) fail "$EXIT_CANCELED" "job $run_id was cancelled in Azure ML" ;;
    "" | NotStarted | Starting | Provisioning | Preparing | Queued | Running | Finalizing | CancelRequested) ;;
    *) say "$status is not final as far as is known; waiting on" ;;
  esac
}

AML_POLL_INTERVAL=${AML_POLL_INTERVAL:-30s}
AML_TIME_LIMIT=${AML_TIME_LIMIT:-1h}
read_seconds AML_POLL_INTERVAL
poll_seconds=$REPLY
read_seconds AML_TIME_LIMIT
limit_seconds=$REPLY
prepare
trap on_signal INT TERM HUP
submit_job
ends_at=$((SECONDS + limit_seconds))

while true; do
  if read_status; then
    lost_answers=0
    end_if_final
  else
    lost_answers=$((lost_answers + 1))
    complaint
    say "no status ($lost_answers of $MAX_LOST_ANSWERS): $REPLY"
    ((lost_answers < MAX_LOST_ANSWERS)) ||
      fail "$EXIT_NO_STATUS" "the status of job $run_id cannot be asked for; the job goes on${studio_link:+: $studio_link}"
  fi
  left=$((ends_at - SECONDS))
  if ((left <= 0)); then
    cancel_job || true
    fail "$EXIT_TIMED_OUT" "job $run_id is ${status:-of unknown status} after $AML_TIME_LIMIT, which is the limit"
  fi
  pause "$((left < poll_seconds ? left : poll_seconds))"
done
