#!/usr/bin/env bash
# Checks the parameters that a pipeline was queued with. They are passed as environment variables, never as script text.
#
# Environment variables:
#   PARAMETER_<name>   the value of each parameter
#   MAY_BE_EMPTY       the names of the parameters that may be empty, separated by spaces
#
# A value may contain letters, digits and ._-:/@ =,+ and have up to 1,024 characters. nextstage has the same limits.
# The script reports every problem, but never logs a refused value.
#
# Exit codes: 0 all values are allowed; 1 a value is not allowed; 2 there is no parameter to check.
set -euo pipefail

export LC_ALL=C # the ranges below mean ASCII
readonly SAFE='^[A-Za-z0-9._:/@ =,+-]*$' MAX_LENGTH=1024

error() {
  printf '##vso[task.logissue type=error]%s\n' "$*"
}

# problem NAME VALUE: print why the value is not allowed, or nothing if it is.
problem() {
  local name=$1 value=$2
  if [[ -z $value ]]; then
    [[ " ${MAY_BE_EMPTY:-} " == *" $name "* ]] || echo "must not be empty"
  elif ((${#value} > MAX_LENGTH)); then
    echo "must have at most $MAX_LENGTH characters, got ${#value}"
  elif [[ ! $value =~ $SAFE ]]; then
    echo "may contain only letters, digits and ._-:/@ =,+"
  fi
}

checked=0
code=0
# Read the variables with env, because bash omits names such as model-name.
while IFS= read -r -d '' entry; do
  [[ $entry == PARAMETER_*=* ]] || continue
  name=${entry%%=*}
  name=${name#PARAMETER_}
  value=${entry#*=}
  checked=$((checked + 1))
  reason=$(problem "$name" "$value")
  if [[ -n $reason ]]; then
    error "parameter $name $reason"
    code=1
  else
    printf '%s = %s\n' "$name" "$value"
  fi
done < <(env -0)
if ((checked == 0)); then
  error "there is no parameter to check; the template passes each one as PARAMETER_<name>"
  exit 2
fi
exit "$code"
