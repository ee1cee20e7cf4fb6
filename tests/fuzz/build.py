"""Builds the extension modules a second time, with clang's sanitizers and coverage, for fuzzing.

The modules go to `build/fuzz` and never in place of the ordinary ones; `Sanitized` imports them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
ENGINE = "tests.fuzz._engine"
NEEDED = """\
Fuzzing needs clang with its sanitizers and libFuzzer (compiler-rt), for example
  Debian, Ubuntu:  apt-get install clang libclang-rt-14-dev   (the number is clang's version)
  Fedora:          dnf install clang compiler-rt
CLANG=<path> names another clang."""

_SANITIZERS = ("-fsanitize=address,undefined", "-shared-libasan")
_FLAGS = (
    "-shared",
    "-fPIC",
    "-O1",
    "-gline-tables-only",
    "-fno-omit-frame-pointer",
    *_SANITIZERS,
    # Whether a run ends at undefined behaviour is said when it starts.
    "-fsanitize-recover=undefined",
    # As setup.py has it: lengths and times from disk are added before they are judged.
    "-fwrapv",
    "-Wno-unused-function",
)
_COVERAGE = "-fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp"
# Every row, cell array and value in an allocation of its own, so that the sanitizer knows its end.
_DEFINES = ("-DCDC_ARENA_CHUNK_BYTES=0",)


class MissingCompiler(Exception):
    """No clang, or one without the libraries; the text says what to install."""


@dataclass(frozen=True)
class Toolchain:
    """A clang that can fuzz, with the two libraries of its own that are named at run time."""

    clang: str
    asan: Path
    libfuzzer: Path


def toolchain() -> Toolchain:
    """The clang to use; MissingCompiler if there is none."""
    clang = os.environ.get("CLANG") or shutil.which("clang")
    if clang is None:
        raise MissingCompiler(NEEDED)

    def library(name: str) -> Path:
        answer = subprocess.run(
            [clang, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        # Clang repeats the bare name where it has no such file.
        if not Path(answer).is_absolute() or not Path(answer).exists():
            raise MissingCompiler(f"{clang} has no {name}.\n{NEEDED}")
        return Path(answer)

    machine = os.uname().machine

    def runtime(stem: str, suffix: str) -> Path:
        # Debian's clang 14 has the machine in the file's name, later ones in the folder's.
        try:
            return library(f"libclang_rt.{stem}-{machine}{suffix}")
        except MissingCompiler:
            return library(f"libclang_rt.{stem}{suffix}")

    return Toolchain(clang, runtime("asan", ".so"), runtime("fuzzer_no_main", ".a"))


def build(tools: Toolchain) -> None:
    """Bring `build/fuzz` up to date; prints what it compiles."""
    cythonize = import_module("Cython.Build").cythonize
    folder = Path.cwd()
    os.chdir(ROOT)
    try:
        extensions = cythonize(
            "parsers/_*.pyx",
            build_dir=str(BUILD.relative_to(ROOT) / "c"),
            compiler_directives={"language_level": 3},
            quiet=True,
        )
    finally:
        os.chdir(folder)
    headers = sorted((ROOT / "parsers").glob("*.h"))
    jobs = [
        (
            ROOT / extension.sources[0],
            module_file(extension.name),
            headers,
            [_COVERAGE, *_DEFINES, f"-I{ROOT / 'parsers'}"],
        )
        for extension in extensions
    ]
    engine = Path(__file__).with_name("engine.c")
    # All of libFuzzer: the modules above find its coverage hooks here.
    whole = ["-Wl,--whole-archive", str(tools.libfuzzer), "-Wl,--no-whole-archive"]
    jobs.append((engine, module_file(ENGINE), [], [*whole, "-lstdc++", "-lm", "-lpthread"]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: _compile(tools, *job), jobs))


def module_file(module: str) -> Path:
    """Where the sanitized build of a compiled module is."""
    suffix: str = sysconfig.get_config_var("EXT_SUFFIX")
    return BUILD / (module.rpartition(".")[2] + suffix)


def _compile(
    tools: Toolchain, source: Path, target: Path, headers: Sequence[Path], options: Sequence[str]
) -> None:
    fresh = target.with_suffix(".new")
    include = f"-I{sysconfig.get_path('include')}"
    command = [tools.clang, *_FLAGS, include, str(source), "-o", str(fresh), *options]
    # A target is as good as new if neither its inputs nor the command have changed.
    stamp = target.with_suffix(".command")
    newest = max(path.stat().st_mtime for path in (source, *headers))
    if (
        target.exists()
        and stamp.exists()
        and target.stat().st_mtime > newest
        and stamp.read_text() == " ".join(command)
    ):
        return
    print(f"compiling {source.name}", flush=True)
    subprocess.run(command, check=True)
    stamp.write_text(" ".join(command))
    fresh.replace(target)


class Sanitized(MetaPathFinder):
    """Finds the compiled modules in `build/fuzz`, whatever stands beside their sources."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ENGINE and not fullname.startswith("parsers._"):
            return None
        found = module_file(fullname)
        loader = ExtensionFileLoader(fullname, str(found))
        return spec_from_file_location(fullname, found, loader=loader)


def import_sanitized() -> ModuleType:
    """Have the compiled modules imported from `build/fuzz`; returns the engine."""
    sys.meta_path.insert(0, Sanitized())
    flags = sys.getdlopenflags()
    # The engine's symbols are those that the other modules' coverage calls for.
    sys.setdlopenflags(flags | os.RTLD_GLOBAL)
    try:
        return import_module(ENGINE)
    finally:
        sys.setdlopenflags(flags)
