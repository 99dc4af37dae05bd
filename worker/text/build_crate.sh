#!/bin/sh
# Builds the crate and copies its library out. CMake calls it.
#   build_crate.sh CRATE_FOLDER CARGO_TARGET_FOLDER LIBRARY_OUT
# The target folder may be shared by several clones: the lock keeps one from taking the other's
# library between its build and its copy.
set -eu
mkdir -p "$2"
exec 9>"$2/trainyard.lock"
flock 9
CARGO_TARGET_DIR="$2" cargo build --release --locked --quiet --manifest-path "$1/Cargo.toml"
mkdir -p "$(dirname "$3")"
cp "$2/release/libtrainyard_text.so" "$3.new"
mv "$3.new" "$3"
