# Shared by the scripts of this folder: places, stage lines, failures.
cache="${TRAINYARD_CACHE:-$HOME/.cache/trainyard}"
torch_venv="$cache/torch-2.11.0-cpu"
oracle_venv="$cache/oracle"
build_dir="${TRAINYARD_BUILD:-$PWD/build}"
mkdir -p "$cache/logs"

# One line per stage, with the seconds since the script began.
stage() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
log_file() { printf '%s/logs/%s.log' "$cache" "$1"; }
# fail MESSAGE [LOG]: says what went wrong, shows the end of the log, exits 1.
fail() {
  printf 'error: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then
    tail -n 30 "$2" >&2
    printf 'the whole log: %s\n' "$2" >&2
  fi
  exit 1
}
torch_site() { ls -d "$torch_venv"/lib/python3*/site-packages; }
# run_ninja LOG ARGUMENT ...: ninja with its output in LOG and a line here for every tenth of the work.
run_ninja() {
  local log="$1" line done_tenths=0 tenths
  shift
  NINJA_STATUS='[%f/%t] ' ninja "$@" 2>&1 | while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ "$line" =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
    tenths=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    ((tenths > done_tenths)) || continue
    done_tenths=$tenths
    stage "ninja: $((10 * tenths)) % (${BASH_REMATCH[1]} of ${BASH_REMATCH[2]})" >&2
  done >"$log"
}
