#!/usr/bin/env bash
# Cancels the Azure ML job that an earlier step of the same pipeline has submitted, if it has.
#
# From the environment, with what aml_job.sh needs:
#   AML_RUN_ID   the job's name; what is none means that there is no job
#
# Exit codes: 0 asked for, or there is no job; 1 it could not be asked for; 2 wrong usage.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

# A variable that was never set reaches a script as its own macro: $(amlJob.runId).
if [[ ! ${AML_RUN_ID:-} =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]]; then
  say "no job was submitted, so there is none to cancel"
  exit 0
fi
prepare
run_id=$AML_RUN_ID
cancel_job
