#!/usr/bin/env bash
# Invokes a batch endpoint of Azure ML and ends without waiting for the job that this creates.
#
# Environment variables, in addition to those of aml_job.sh:
#   AML_ENDPOINT      the name of the endpoint
#   AML_DEPLOYMENT    the name of a deployment of it, or default for its default deployment
#   AML_INPUTS_FILE   a YAML file with the inputs, or none
#
# Sets the output variable runId, the name of the job. The endpoint chooses it. If the pipeline is canceled during the
# invocation, there may be a job that nobody cancels.
#
# Exit codes: 0 invoked; 2 wrong usage, or az or its extension ml is missing; 3 the endpoint could not be invoked.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

require AML_ENDPOINT AML_DEPLOYMENT AML_INPUTS_FILE
[[ $AML_INPUTS_FILE == none || -f $AML_INPUTS_FILE ]] ||
  fail "$EXIT_WRONG_USAGE" "the inputs file $AML_INPUTS_FILE does not exist in $PWD"
options=()
[[ $AML_DEPLOYMENT == default ]] || options+=(--deployment-name "$AML_DEPLOYMENT")
[[ $AML_INPUTS_FILE == none ]] || options+=(--file "$AML_INPUTS_FILE")

prepare
if ! call_ml "$CREATE_SECONDS" batch-endpoint invoke --name "$AML_ENDPOINT" "${options[@]}" --query name --output tsv; then
  read_errors
  fail "$EXIT_NOT_CREATED" "the endpoint $AML_ENDPOINT could not be invoked: $REPLY"
fi
read_answer
[[ -n $REPLY ]] ||
  fail "$EXIT_NOT_CREATED" "az invoked the endpoint $AML_ENDPOINT but did not return the job; see Azure ML studio"
set_output runId "$REPLY"
log "the endpoint $AML_ENDPOINT has created job $REPLY"
