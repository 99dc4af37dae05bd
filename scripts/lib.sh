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
