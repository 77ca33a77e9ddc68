# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # root and build come from the script that reads this
# What `plugpull test` runs; read by the script `plugpull`, which holds the lock and brings `say`,
# `install`, `configure` and `compile`. A stage that cannot run says why and counts as skipped;
# a stage without tests fails.

guest_seconds_max=480  # all tests of the stage "smoke" together

usage() {
  cat <<'TEXT'
usage: plugpull test [STAGE...] [-- CTEST-ARGUMENT...]
  format    clang-format (version 14) has nothing to change
  unit      unit, meta and golden tests, optimised build
  sanitize  unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, all but those that
            drive guests and whole programs, write reports, or that fuzz runs
  smoke     guest tests: each boots a virtual machine
  fuzz      every fuzzer for FUZZ_SECONDS (30), two at a time; needs clang
  nightly   everything that is too slow for CI: slow tests, all unit tests under the sanitizers, a
            build without precompiled headers, every fuzzer for FUZZ_SECONDS (300)
  tidy      clang-tidy
Without a stage: format, unit, sanitize, smoke, fuzz.
TEXT
}

# sources: tracked C++ files, relative to the root, each followed by a zero byte. Where git cannot
# say (no checkout), those that are there.
sources() {
  cd -- "$root" || return
  git -c safe.directory="$root" ls-files -z -- '*.cc' '*.h' 2>/dev/null ||
    find framework dm-targets vm tests \( -name '*.cc' -o -name '*.h' \) -print0
}

stage_format() {
  local tool
  for tool in clang-format-14 clang-format; do
    if "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
      sources | (cd -- "$root" && xargs -0 -r "$tool" --dry-run -Werror)
      return
    fi
  done
  skip_reason='clang-format 14 is not here, and other versions format in other ways'
}

stage_tidy() {
  if ! command -v clang-tidy >/dev/null; then
    skip_reason='clang-tidy is not installed (apt-get install clang-tidy)'
    return
  fi
  make_target release all || return
  sources | grep -z '\.cc$' |
    (cd -- "$root" && xargs -0 -r -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build/release" \
      --extra-arg=-Wno-unknown-warning-option)  # g++ knows more warnings
}

# make_target PRESET TARGET
make_target() (
  prepare_ccache
  configure "$1"
  compile "$1" "$2"
)

# run_ctest PRESET TARGET ARGUMENT...: ctest's own output goes to stdout, to its closing line.
run_ctest() {
  make_target "$1" "$2" || return
  ctest --test-dir "$build/$1" -j2 --output-on-failure --no-tests=error "${@:3}" \
    "${ctest_arguments[@]}" 9>&-
}

stage_unit() { run_ctest release all -L '^(unit|meta|golden)$' -LE '^nightly$'; }

stage_sanitize() {
  UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1} \
    run_ctest sanitize sanitize_tests -L '^sanitize$' -LE '^nightly$'
}

stage_smoke() {
  run_ctest release all -L '^guest$' -LE '^nightly$' \
    --stop-time "$(date -d "+$guest_seconds_max seconds" '+%H:%M:%S')"
}

# fuzz NAME INPUT-BYTES-MAX: one fuzzer. What it finds, its log and the inputs that it made are in
# build/fuzz/NAME.
fuzz() {
  local folder="$build/fuzz/$1" found
  mkdir -p -- "$folder/corpus"
  rm -f -- "$folder"/{crash,leak,oom,slow-unit,timeout}-*
  # The command's own bounds should end it; the other is for a fuzzer that hangs without a beat.
  timeout -k 10 "$((FUZZ_SECONDS + 60))" "$build/fuzz/bin/fuzz_$1" -max_total_time="$FUZZ_SECONDS" \
    -timeout=10 -rss_limit_mb=1024 -max_len="$2" -len_control=0 -print_final_stats=1 \
    -artifact_prefix="$folder/" "$folder/corpus" "$root/tests/fuzz/corpus/$1" \
    >"$folder/log" 2>&1 9>&- && {
    printf '%-16s %s runs; %s\n' "$1" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")" \
      "$(grep -o 'cov: .*' "$folder/log" | tail -n 1)"
    return
  }
  tail -n 60 -- "$folder/log"
  for found in "$folder"/{crash,leak,oom,timeout}-*; do
    [[ ! -f $found ]] || say "fuzz $1: to reproduce: build/fuzz/bin/fuzz_$1 ${found#"$root/"}"
  done
  say "fuzz $1 failed; its log is build/fuzz/$1/log"
  return 1
}

stage_fuzz() {
  local name bytes_max failed=0
  if ! clang++ -x c++ -fsanitize=fuzzer -o /dev/null - 2>/dev/null \
    <<<'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }'; then
    skip_reason='clang++ with libFuzzer is not here (apt-get install clang libclang-rt-14-dev)'
    return
  fi
  make_target fuzz fuzzers || return
  FUZZ_SECONDS=${FUZZ_SECONDS:-30}
  while read -r name bytes_max; do
    if (($(jobs -rp | wc -l) >= 2)); then wait -n || failed=1; fi
    fuzz "$name" "$bytes_max" </dev/null &
  done <"$build/fuzz/fuzzers.txt"
  while [[ -n $(jobs -p) ]]; do wait -n || failed=1; done
  return "$failed"
}

stage_nightly() {
  local failed=0
  make_target plain all || failed=1
  run_ctest release all -L '^nightly$' || failed=1
  UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1} \
    run_ctest sanitize unit_tests -L '^unit$' -LE '^nightly$' || failed=1
  FUZZ_SECONDS=${FUZZ_SECONDS:-300} stage_fuzz || failed=1
  return "$failed"
}

# run_stages [STAGE...] [-- CTEST-ARGUMENT...]: all of them, whatever fails; then a summary. Ends
# the script: 0 nothing failed, 1 a stage failed, 2 there is no such stage.
run_stages() {
  local stages=() stage started ended failed=0 summary=()
  ctest_arguments=()
  while (($# > 0)); do
    case $1 in
      format | unit | sanitize | smoke | fuzz | nightly | tidy) stages+=("$1") ;;
      -h | --help) usage && exit 0 ;;
      --) ctest_arguments=("${@:2}") && break ;;
      *) say "there is no stage '$1'" && usage >&2 && exit 2 ;;
    esac
    shift
  done
  ((${#stages[@]} > 0)) || stages=(format unit sanitize smoke fuzz)
  install run
  install test
  for stage in "${stages[@]}"; do
    say "stage $stage"
    skip_reason=''
    started=$SECONDS
    if "stage_$stage"; then ended=${skip_reason:+skipped: $skip_reason}; else ended=FAILED failed=1; fi
    summary+=("$(printf '%-9s %4d s  %s' "$stage" "$((SECONDS - started))" "${ended:-passed}")")
  done
  printf '\n'
  printf '%s\n' "${summary[@]}"
  exit "$failed"
}
