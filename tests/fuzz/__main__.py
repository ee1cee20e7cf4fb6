"""`make fuzz`: the compiled decoder under libFuzzer, AddressSanitizer and UBSan.

Runs for FUZZ_SECONDS (3600) seconds of CPU and fails at the first finding: the input is then in
`build/fuzz/findings`, and `python -m tests.fuzz <input>` runs it again. What was found to reach new
code stays in `build/fuzz/inputs`; `python -m tests.fuzz --minimise` puts the least set of inputs
with the same coverage into `tests/fuzz/corpus`, which the tests run with the ordinary build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.build import (
    BUILD,
    ENGINE,
    ROOT,
    MissingCompiler,
    Toolchain,
    build,
    module_file,
    toolchain,
)
from tests.fuzz.seeds import write_seeds

CORPUS = Path(__file__).with_name("corpus")
SEEDS, INPUTS, FINDINGS = BUILD / "seeds", BUILD / "inputs", BUILD / "findings"
DEFAULT_SECONDS = "3600"
LIMITS = (
    "-max_len=4096",
    # Seconds of an input, MiB of the process and of one allocation.
    "-timeout=60",
    "-rss_limit_mb=2048",
    "-malloc_limit_mb=256",
    # Python keeps what it made; a leak of ours shows in the process's size.
    "-detect_leaks=0",
)


def _environment(tools: Toolchain) -> dict[str, str]:
    return {
        **os.environ,
        # The engine first: its coverage hooks are to be found before the sanitizer's empty ones.
        "LD_PRELOAD": f"{module_file(ENGINE)} {tools.asan}",
        # Python's own allocator hides what runs over the end of an object.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:allocator_may_return_null=1"
        ":quarantine_size_mb=32",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "FUZZ_SECONDS": os.environ.get("FUZZ_SECONDS", DEFAULT_SECONDS),
    }


def _work(tools: Toolchain, *arguments: str | Path) -> int:
    command = [sys.executable, "-m", "tests.fuzz.worker", *LIMITS, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=_environment(tools), check=False).returncode


def _minimise(tools: Toolchain) -> int:
    fresh = BUILD / "minimised"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    code = _work(tools, "-merge=1", "-max_len=2000", fresh, CORPUS, INPUTS, SEEDS)
    if code == 0:
        # Inputs of findings have names and stay, whatever else covers their code.
        for path in CORPUS.iterdir():
            if len(path.name) == 40:
                path.unlink()
        for path in fresh.iterdir():
            shutil.copy(path, CORPUS / path.name)
    return code


def main() -> int:
    """Exit code: 0 without a finding, 2 without the tools, else libFuzzer's."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minimise", action="store_true")
    parser.add_argument("inputs", nargs="*", type=Path, help="run these inputs only")
    options = parser.parse_args()
    try:
        tools = toolchain()
    except MissingCompiler as missing:
        print(missing, file=sys.stderr)
        return 2
    build(tools)
    if options.inputs:
        return _work(tools, *(path.resolve() for path in options.inputs))
    for folder in (INPUTS, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    if not SEEDS.exists():
        write_seeds(SEEDS)
    if options.minimise:
        return _minimise(tools)
    return _work(
        tools, f"-artifact_prefix={FINDINGS}/", "-print_final_stats=1", INPUTS, CORPUS, SEEDS
    )


if __name__ == "__main__":
    sys.exit(main())
