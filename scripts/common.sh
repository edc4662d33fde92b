# Sourced by the other scripts: where things are, and how cargo builds for wasm32.
# shellcheck shell=bash

# Every script works from the root of the repository, wherever it was called from.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
# shellcheck disable=SC2034  # whoever sources this uses it
ROOT=$PWD

# Absolute, because what is written to $TOOLS/env is read from other folders too.
TOOLS=$(realpath -m "${TOLLGATE_TOOLS:-.tools}")
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
WASM_TARGET=wasm32-unknown-unknown

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Reads what `scripts/setup` found, and hands it to every program that is started from here.
load_tools() {
  [ -f "$TOOLS/env" ] || die "nothing is set up yet; run: make setup"
  set -a
  # shellcheck source=/dev/null
  . "$TOOLS/env"
  set +a
}

# wasm_cargo VERB ARGS...: cargo for wasm32, with the toolchain that the set-up took.
#
# A target directory of its own: with Debian's packages another compiler builds, and the two would throw each
# other's work away. Paths of dependencies are cut short so that the same sources give the same module on every machine;
# those of our own are short already.
wasm_cargo() {
  local verb=$1
  shift
  local args=(--target "$WASM_TARGET" --target-dir "$TARGET/wasm" "$@")
  local home=${CARGO_HOME:-$HOME/.cargo}
  # SIMD: every V8 of a supported Envoy has it. Limbs of 32 bits: crypto-bigint takes 64 here, but wasm32 has no product
  # of 128 bits, so each of its multiplications is a call that does four.
  local -x CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=+simd128 --cfg cpubits=\"${WASM_LIMBS:-32}\""
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS+=" --remap-path-prefix=$home=cargo"
  if [ "${TOLLGATE_WASM_TOOLCHAIN:-rustup}" = debian ]; then
    # Debian ships the library's source instead of a built one. Building it is a nightly feature, which
    # RUSTC_BOOTSTRAP opens for this one call.
    RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 \
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
      cargo "$verb" -Z build-std=std,panic_abort "${args[@]}"
  else
    cargo "$verb" "${args[@]}"
  fi
}
