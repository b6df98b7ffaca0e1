#!/usr/bin/env bash
# Submits an Azure ML job and ends without waiting for it. Cancels the job if the pipeline is canceled in the meantime.
#
# Environment variables, in addition to those of aml_job.sh:
#   AML_JOB_FILE   the YAML file of the job
#   AML_JOB_SET    changes to the job, one path=value on each line; may be empty
#
# Sets the output variable runId.
#
# Exit codes: 0 submitted; 2 wrong usage, or az or its extension ml is missing; 3 the job could not be created; 8 the
# pipeline was canceled.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

prepare
trap on_signal INT TERM HUP
submit_job
