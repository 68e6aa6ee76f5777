#!/usr/bin/env bash
# What Yunku needs besides Python packages: Tesseract's data for simplified Chinese (chi_sim), and poppler's pdfsig,
# the second, independent validator of seals that the tests use. Called by `make setup` with the venv's directory.
set -euo pipefail
venv=$1
tessdata=$venv/share/tessdata
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "setup: apt-get install $1"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >"$work/apt.log" 2>&1 && return 0
  apt-get update -qq >"$work/apt.log" 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >"$work/apt.log" 2>&1 && return 0
  tail -n 5 "$work/apt.log" >&2
  return 1
}

# chi_sim: the npm package's LSTM data (2.5 MB, more exact than Debian's fast data), by its hash; else Debian's package.
chi_sim_from_npm() {
  command -v npm >/dev/null || return 1
  (cd "$work" && npm pack --silent '@tesseract.js-data/chi_sim@1.0.0' >/dev/null 2>&1) || return 1
  tar -xzOf "$work"/tesseract.js-data-chi_sim-1.0.0.tgz package/4.0.0_best_int/chi_sim.traineddata.gz >"$work/chi_sim.gz"
  echo "b8a23f10c7de500891eb458a8adc9cc58ab7f242f08b7d149f5e9aea4ad5db7c  $work/chi_sim.gz" | sha256sum --check --quiet || return 1
  gunzip -c "$work/chi_sim.gz" >"$tessdata/chi_sim.traineddata.new"
}
chi_sim_from_debian() {
  local packaged
  find_packaged() { find /usr/share/tesseract-ocr /usr/share/tessdata -name chi_sim.traineddata 2>/dev/null | head -n 1; }
  packaged=$(find_packaged)
  if [ -z "$packaged" ]; then
    apt_install tesseract-ocr-chi-sim || return 1
    packaged=$(find_packaged)
  fi
  cp "$packaged" "$tessdata/chi_sim.traineddata.new"
}
if [ ! -s "$tessdata/chi_sim.traineddata" ]; then
  mkdir -p "$tessdata"
  echo "setup: Tesseract data chi_sim"
  chi_sim_from_npm || chi_sim_from_debian || {
    echo "setup: no chi_sim.traineddata: install npm or Debian's tesseract-ocr-chi-sim, or put the file into $tessdata" >&2
    exit 1
  }
  mv "$tessdata/chi_sim.traineddata.new" "$tessdata/chi_sim.traineddata"
fi

# Running needs no pdfsig, testing does: the test that uses it fails with the same words when it is missing.
command -v pdfsig >/dev/null || apt_install poppler-utils ||
  echo "setup: pdfsig is missing; the tests need it: install poppler-utils (as root: apt-get install poppler-utils)" >&2
