#!/usr/bin/env bash
# Deploys a registered MLflow model to a managed online endpoint and gives it all traffic. Creates the endpoint if it
# does not exist. The script can be repeated for the same version.
#
# Environment variables, in addition to those of aml_job.sh:
#   ENDPOINT_NAME     the online endpoint
#   DEPLOYMENT_FILE   the YAML file of the deployment, with the instance type, the instance count and other properties
#   MODEL_NAME, MODEL_VERSION
#
# Exit codes: 0 deployed; 1 the deployment failed; 2 wrong usage, or az or its extension ml is missing.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

readonly DEPLOY_SECONDS=3600

# give_up TEXT: exit with the text and the error output of az.
give_up() {
  read_errors
  fail 1 "$1: $REPLY"
}

require ENDPOINT_NAME DEPLOYMENT_FILE MODEL_NAME MODEL_VERSION
[[ -f $DEPLOYMENT_FILE ]] || fail "$EXIT_WRONG_USAGE" "the deployment file $DEPLOYMENT_FILE does not exist in $PWD"
# The name of a deployment consists of letters, digits and hyphens, and starts with a letter.
deployment=v${MODEL_VERSION//[^A-Za-z0-9]/-}
prepare

if ! call_ml "$CALL_SECONDS" online-endpoint show --name "$ENDPOINT_NAME"; then
  log "endpoint $ENDPOINT_NAME does not exist or is not visible; creating it"
  call_ml "$DEPLOY_SECONDS" online-endpoint create --name "$ENDPOINT_NAME" ||
    give_up "endpoint $ENDPOINT_NAME could not be created"
fi

action=create
if call_ml "$CALL_SECONDS" online-deployment show --name "$deployment" --endpoint-name "$ENDPOINT_NAME"; then
  action=update
fi
log "$action deployment $deployment of endpoint $ENDPOINT_NAME with $MODEL_NAME:$MODEL_VERSION"
call_ml "$DEPLOY_SECONDS" online-deployment "$action" --name "$deployment" --endpoint-name "$ENDPOINT_NAME" \
  --file "$DEPLOYMENT_FILE" --set "model=azureml:$MODEL_NAME:$MODEL_VERSION" ||
  give_up "deployment $deployment of endpoint $ENDPOINT_NAME failed"
call_ml "$CALL_SECONDS" online-endpoint update --name "$ENDPOINT_NAME" --traffic "$deployment=100" ||
  give_up "deployment $deployment of endpoint $ENDPOINT_NAME exists, but could not be given traffic"
log "endpoint $ENDPOINT_NAME serves $MODEL_NAME:$MODEL_VERSION"
