#!/usr/bin/env bash
# All tests as other machines run them: older processors, another order, no time left.
# By hand (make test-everywhere): four runs, the last one on a machine that is busy.
set -uo pipefail
python=${1:?"the Python to run: .venv/bin/python"}
seed=${SEED:-$RANDOM}
failed=0
times=""

run() { # what it is, then the command
  local what=$1 started=$SECONDS result=green
  shift
  echo "== $what: $*"
  env "$@" || { result=RED && failed=1; }
  times+="$what: $((SECONDS - started)) s, $result"$'\n'
}

run "Haswell, one worker" OPENBLAS_CORETYPE=Haswell "$python" -m pytest -q
run "Prescott, four workers" OPENBLAS_CORETYPE=Prescott ATEN_CPU_CAPABILITY=default \
  ONEDNN_MAX_CPU_ISA=SSE41 "$python" -m pytest -q -n 4
run "random order, seed $seed" "$python" -m pytest -q -n 2 --random-order \
  --random-order-seed="$seed"
for _ in $(seq "$(nproc)"); do
  while :; do :; done &
done
trap 'kill $(jobs -p)' EXIT
run "all cores burning" "$python" -m pytest -q -n 2

printf '\n%s' "$times"
exit $failed
