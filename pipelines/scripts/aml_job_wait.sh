#!/usr/bin/env bash
# Submits an Azure ML job and waits for its final status. Cancels the job when the time limit passes or the pipeline is
# canceled.
#
# Environment variables, in addition to those of aml_job.sh:
#   AML_JOB_FILE        the YAML file of the job
#   AML_JOB_SET         changes to the job, one path=value on each line; may be empty
#   AML_POLL_INTERVAL   the interval between two requests for the status (30s)
#   AML_TIME_LIMIT      how long to wait, including the time in which the job waits for compute (1h)
#
# Sets the output variables runId and status, the last status that Azure ML reported.
#
# Exit codes:
#   0  the job has completed
#   2  wrong usage, or az or its extension ml is missing
#   3  the job could not be created
#   4  its status could not be read, several times in a row; the job continues
#   5  the job has failed
#   6  the job was canceled in Azure ML
#   7  the time limit has passed; the job is canceled
#   8  the pipeline was canceled; the job is canceled
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

readonly EXIT_NO_STATUS=4 EXIT_FAILED=5 EXIT_CANCELED=6 EXIT_TIMED_OUT=7
readonly MAX_FAILED_REQUESTS=5

failed_requests=0

# Request the status and log a change. Returns 1 if Azure ML does not return a status.
read_status() {
  local before=$status
  call_ml "$CALL_SECONDS" job show --name "$run_id" --query status --output tsv || return 1
  read_answer
  if [[ ! $REPLY =~ ^[A-Za-z]+$ ]]; then
    echo "the answer does not contain a status" >"$scratch/errors"
    return 1
  fi
  [[ $REPLY != "$before" ]] || return 0
  status=$REPLY
  set_output status "$status"
  log "job $run_id is $status${before:+, after $before}"
}

pause() {
  sleep "$1" &>/dev/null & # without the script's output: the agent would wait until a leftover sleep closes it
  wait "$!" || true
}

# Exit if the status is final. The time limit ends the wait in any other status, including unknown ones. NotResponding
# and Paused are not final, because such a job may continue.
end_if_final() {
  case $status in
    Completed)
      log "job $run_id has completed"
      exit 0
      ;;
    Failed) fail "$EXIT_FAILED" "job $run_id has failed; see its logs${studio_link:+ at $studio_link}" ;;
    Canceled) fail "$EXIT_CANCELED" "job $run_id was canceled in Azure ML" ;;
    "" | NotStarted | Starting | Provisioning | Preparing | Queued | Running | Finalizing | CancelRequested) ;;
    *) log "$status is not a known final status; the wait continues" ;;
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
    failed_requests=0
    end_if_final
  else
    failed_requests=$((failed_requests + 1))
    read_errors
    log "no status ($failed_requests of $MAX_FAILED_REQUESTS): $REPLY"
    ((failed_requests < MAX_FAILED_REQUESTS)) ||
      fail "$EXIT_NO_STATUS" \
        "the status of job $run_id could not be read; the job continues${studio_link:+: $studio_link}"
  fi
  left=$((ends_at - SECONDS))
  if ((left <= 0)); then
    cancel_job || true
    fail "$EXIT_TIMED_OUT" "job $run_id is ${status:-in an unknown status} after the time limit of $AML_TIME_LIMIT"
  fi
  pause "$((left < poll_seconds ? left : poll_seconds))"
done
