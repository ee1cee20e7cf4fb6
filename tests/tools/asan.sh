#!/bin/sh
# Runs the tests of the compiled modules under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tests/tools/asan.sh [pytest arguments; default: tests/unit/parsers]
#
# The sanitized modules stand in build/asan beside links to everything else, never in place of the
# normal ones. Needs gcc with libasan and libubsan, and the environment of `make setup-local`.
# PYTHON and JOBS choose another interpreter and number of compilers.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
python=${PYTHON:-$root/.venv/bin/python}
tree=$root/build/asan
flags="-shared -fPIC -O1 -g1 -fwrapv -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined -Wno-unused-function"
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')

for library in libasan.so libubsan.so; do
    if [ "$(gcc -print-file-name=$library)" = "$library" ]; then
        echo "gcc has no $library: install its sanitizers (Debian: libgcc-dev of gcc's version)" >&2
        exit 1
    fi
done

# Files are links, folders are real: a module is found beside the package it belongs to.
mkdir -p "$tree"
for part in cdc_tail parsers sinks checkpoints tests; do
    find "$part" -type d ! -name __pycache__ -exec mkdir -p "$tree/{}" \;
    find "$part" -type f ! -name '*.so' ! -name '*.c' ! -name '*.pyc' \
        -exec ln -sfn "$root/{}" "$tree/{}" \;
done
ln -sfn "$root/pyproject.toml" "$tree/pyproject.toml"

build() {
    module=$1
    object=$tree/parsers/$module$suffix
    # A changed .pxd or header may reach any module.
    if [ -e "$object" ] && [ -z "$(find parsers -newer "$object" \
        \( -name '*.pxd' -o -name '*.h' -o -name "$module.pyx" \) | head -1)" ]; then
        return
    fi
    "$python" -m cython -3 "parsers/$module.pyx" -o "$tree/$module.c"
    gcc $flags -I"$include" -Iparsers "$tree/$module.c" -o "$object"
}

if [ "${1:-}" = --build ]; then
    build "$2"
    exit
fi
echo "Building the sanitized modules in $tree"
for source in parsers/_*.pyx; do
    basename "$source" .pyx
done | xargs -P "${JOBS:-$(nproc)}" -I{} "$0" --build {}

cd "$tree"
# Python's own allocator hands out parts of its arenas, in which an overread goes unseen.
PYTHONMALLOC=malloc \
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:handle_segv=2:handle_sigbus=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    exec "$python" -m pytest -q -p no:cacheprovider --rootdir "$tree" \
    "${@:-tests/unit/parsers}"
