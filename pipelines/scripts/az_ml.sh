#!/usr/bin/env bash
# Runs a command of the extension ml on the workspace, and prints its output without logging commands. Usage:
#
#   az_ml.sh compute show --name cpu-cluster
#
# Environment variables, in addition to those of aml_job.sh:
#   AML_SECONDS   how long the command may take; 1800 by default
#
# Exit codes: 0 done; 1 the command failed; 2 wrong usage, or az or its extension ml is missing.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

prepare
if ! call_ml "${AML_SECONDS:-1800}" "$@"; then
  read_errors
  fail 1 "az ml ${*:1:2} failed: $REPLY"
fi
while IFS= read -r line || [[ -n $line ]]; do
  sanitize "$line"
  printf '%s\n' "$REPLY"
done <"$scratch/answer"
