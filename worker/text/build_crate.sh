#!/bin/sh
# Builds the crate and copies its library out. CMake calls it.
#   build_crate.sh CRATE_FOLDER CARGO_TARGET_FOLDER LIBRARY_OUT
# The target folder may be shared by several clones: the lock keeps one from taking the other's
# library between its build and its copy. RUSTFLAGS, if any, are for the crate and what it links,
# not for the programs that cargo runs while it builds: naming the target says so.
set -eu
mkdir -p "$2"
exec 9>"$2/trainyard.lock"
flock 9
built="$2/release"
set -- "$1" "$2" "$3" build --release --locked --quiet --manifest-path "$1/Cargo.toml"
if [ -n "${RUSTFLAGS:-}" ]; then
  host="$(rustc -vV | sed -n 's/^host: //p')"
  built="$2/$host/release"
  set -- "$@" --target "$host"
fi
target="$2"
library="$3"
shift 3
CARGO_TARGET_DIR="$target" cargo "$@"
mkdir -p "$(dirname "$library")"
cp "$built/libtrainyard_text.so" "$library.new"
mv "$library.new" "$library"
