#!/usr/bin/env bash
# Checks the parameters that a stage was queued with, which reach it as environment variables and never as script text.
#
# From the environment:
#   PARAMETER_<name>   the value of each parameter
#   MAY_BE_EMPTY       the names of those that may be empty, separated by spaces
#
# A value may hold letters, digits and ._-:/@ =,+ and be 1,024 characters long, which is what nextstage lets pass too.
# All that is wrong is said at once; a refused value is not repeated.
#
# Exit codes: 0 all may pass; 1 one may not; 2 there is none to check.
set -euo pipefail

export LC_ALL=C # the ranges below mean ASCII
readonly SAFE='^[A-Za-z0-9._:/@ =,+-]*$' MAX_LENGTH=1024

error() {
  printf '##vso[task.logissue type=error]%s\n' "$*"
}

# The reason why a value may not pass; nothing where it may.
refusal() {
  local name=$1 value=$2
  if [[ -z $value ]]; then
    [[ " ${MAY_BE_EMPTY:-} " == *" $name "* ]] || echo "is empty"
  elif ((${#value} > MAX_LENGTH)); then
    echo "is ${#value} characters long; $MAX_LENGTH may pass"
  elif [[ ! $value =~ $SAFE ]]; then
    echo "holds a character that could be read as script; letters, digits and ._-:/@ =,+ may pass"
  fi
}

checked=0
code=0
# From env rather than from bash's own variables, which leave out names such as model-name.
while IFS= read -r -d '' entry; do
  [[ $entry == PARAMETER_*=* ]] || continue
  name=${entry%%=*}
  name=${name#PARAMETER_}
  value=${entry#*=}
  checked=$((checked + 1))
  reason=$(refusal "$name" "$value")
  if [[ -n $reason ]]; then
    error "the parameter $name $reason"
    code=1
  else
    printf '%s = %s\n' "$name" "$value"
  fi
done < <(env -0)
if ((checked == 0)); then
  error "no parameter has arrived; the template passes each as PARAMETER_<name>"
  exit 2
fi
exit "$code"
