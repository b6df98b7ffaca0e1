#!/usr/bin/env bash
# Deploys a registered MLflow model to a managed online endpoint, gives it all traffic, and deletes the deployments of
# other versions, which would be billed. Creates the endpoint if it does not exist. The script can be repeated for the
# same version.
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
readonly TRAFFIC_SECONDS=900
readonly MAX_NAME_LENGTH=32

# Set REPLY to the name of the deployment of a version: version-7 for 7, and version-1-2e2 for 1.2. Azure ML takes 3 to
# 32 letters, digits and hyphens. A character other than a digit or a lowercase letter becomes a hyphen and its code, so
# that different versions have different names.
deployment_name() {
  local index character LC_ALL=C
  REPLY=version-
  for ((index = 0; index < ${#1}; index++)); do
    character=${1:index:1}
    [[ $character =~ ^[a-z0-9]$ ]] || printf -v character -- '-%02x' "'$character"
    REPLY+=$character
  done
}

# give_up TEXT: exit with the text and the error output of az.
give_up() {
  read_errors
  fail 1 "$1: $REPLY"
}

require ENDPOINT_NAME DEPLOYMENT_FILE MODEL_NAME MODEL_VERSION
# In azureml:<name>:<version>, a name with a colon or a slash would be another model, such as one of a registry.
[[ $MODEL_NAME =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
  fail "$EXIT_WRONG_USAGE" "MODEL_NAME may contain only letters, digits and ._-, got '$MODEL_NAME'"
[[ -f $DEPLOYMENT_FILE ]] || fail "$EXIT_WRONG_USAGE" "the deployment file $DEPLOYMENT_FILE does not exist in $PWD"
deployment_name "$MODEL_VERSION"
deployment=$REPLY
((${#deployment} <= MAX_NAME_LENGTH)) ||
  fail "$EXIT_WRONG_USAGE" "the name $deployment is longer than $MAX_NAME_LENGTH characters; use a shorter version"
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
call_ml "$TRAFFIC_SECONDS" online-endpoint update --name "$ENDPOINT_NAME" --traffic "$deployment=100" ||
  give_up "deployment $deployment of endpoint $ENDPOINT_NAME exists, but could not be given traffic"
log "endpoint $ENDPOINT_NAME serves $MODEL_NAME:$MODEL_VERSION"

# Delete the deployments that earlier runs of this script made, unless somebody has given them traffic since, or another
# run is at work on them. A failure is only a warning, because the new deployment works.
remains() {
  read_errors
  warn "$1; delete what is no longer needed by hand, because it is billed: $REPLY"
}

call_ml "$CALL_SECONDS" online-deployment list --endpoint-name "$ENDPOINT_NAME" \
  --query "[?!contains(['Creating', 'Updating', 'Deleting'], provisioning_state)].name" --output tsv || {
  remains "the deployments of endpoint $ENDPOINT_NAME could not be listed"
  exit 0
}
mapfile -t names <"$scratch/answer"
for name in "${names[@]}"; do
  [[ $name =~ ^version-[a-z0-9-]+$ && $name != "$deployment" ]] || continue
  share="\"$name\" || \`0\`"
  if ! call_ml "$CALL_SECONDS" online-endpoint show --name "$ENDPOINT_NAME" \
    --query "sum([traffic.$share, mirror_traffic.$share])" --output tsv; then
    remains "the traffic of deployment $name of endpoint $ENDPOINT_NAME could not be read"
    continue
  fi
  read_answer
  if [[ $REPLY != 0 ]]; then
    log "deployment $name has traffic, and remains"
  elif call_ml "$CALL_SECONDS" online-deployment delete --name "$name" --endpoint-name "$ENDPOINT_NAME" \
    --yes --no-wait; then
    log "asked Azure ML to delete deployment $name"
  else
    remains "deployment $name of endpoint $ENDPOINT_NAME could not be deleted"
  fi
done
