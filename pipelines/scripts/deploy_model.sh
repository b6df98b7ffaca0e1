#!/usr/bin/env bash
# Deploys a registered MLflow model to a managed online endpoint and gives it all traffic. The endpoint is made where
# there is none. Running it again for the same version changes nothing that is right already.
#
# From the environment, with what aml_job.sh needs:
#   ENDPOINT_NAME     the online endpoint
#   DEPLOYMENT_FILE   the deployment's YAML file: instance type, count and the like
#   MODEL_NAME, MODEL_VERSION
#
# Exit codes: 0 deployed; 1 not, and why is said; 2 wrong usage, or az or its extension ml is missing.
set -euo pipefail

# shellcheck source=SCRIPTDIR/aml_job.sh
source "${BASH_SOURCE[0]%/*}/aml_job.sh"

readonly DEPLOY_SECONDS=3600

# give_up TEXT: end with what az had to complain about.
give_up() {
  complaint
  fail 1 "$1: $REPLY"
}

require ENDPOINT_NAME DEPLOYMENT_FILE MODEL_NAME MODEL_VERSION
[[ -f $DEPLOYMENT_FILE ]] || fail "$EXIT_WRONG_USAGE" "there is no deployment file $DEPLOYMENT_FILE below $PWD"
# A deployment's name takes letters, digits and hyphens, and begins with a letter.
deployment=v${MODEL_VERSION//[^A-Za-z0-9]/-}
prepare

if ! call_ml "$CALL_SECONDS" online-endpoint show --name "$ENDPOINT_NAME"; then
  say "there is no endpoint $ENDPOINT_NAME, or it cannot be seen; making it"
  call_ml "$DEPLOY_SECONDS" online-endpoint create --name "$ENDPOINT_NAME" ||
    give_up "the endpoint $ENDPOINT_NAME could not be made"
fi

action=create
if call_ml "$CALL_SECONDS" online-deployment show --name "$deployment" --endpoint-name "$ENDPOINT_NAME"; then
  action=update
fi
say "$action deployment $deployment of endpoint $ENDPOINT_NAME with $MODEL_NAME:$MODEL_VERSION"
call_ml "$DEPLOY_SECONDS" online-deployment "$action" --name "$deployment" --endpoint-name "$ENDPOINT_NAME" \
  --file "$DEPLOYMENT_FILE" --set "model=azureml:$MODEL_NAME:$MODEL_VERSION" ||
  give_up "deployment $deployment of endpoint $ENDPOINT_NAME failed"
call_ml "$CALL_SECONDS" online-endpoint update --name "$ENDPOINT_NAME" --traffic "$deployment=100" ||
  give_up "endpoint $ENDPOINT_NAME has deployment $deployment, but gives it no traffic"
say "endpoint $ENDPOINT_NAME answers with $MODEL_NAME:$MODEL_VERSION"
