#!/usr/bin/env bash
# Cancels the Azure ML job that an earlier step of the same pipeline has submitted, if there is one.
#
# Environment variables, in addition to those of aml_job.sh:
#   AML_RUN_ID   the name of the job; if the value is not a valid name, there is no job
#
# If Azure ML does not know the job, the submission may still be in progress, so the script asks a few times.
#
# Exit codes: 0 cancellation requested, or no job; 1 the request failed; 2 wrong usage.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

# Azure Pipelines passes a variable that was never set as its macro: $(amlJob.runId).
if [[ ! ${AML_RUN_ID:-} =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]]; then
  log "no job was submitted; there is nothing to cancel"
  exit 0
fi
prepare
run_id=$AML_RUN_ID
for pause in 5 10 15 30 0; do
  code=0
  cancel_job || code=$?
  ((code == 2)) || exit "$code"
  sleep "$pause"
done
