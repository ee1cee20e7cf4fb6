"""Builds the extension modules of `parsers/`: one per `_*.pyx`; all else is in pyproject.toml.

A file of its own because the modules share one set of flags, which pyproject.toml would repeat for
each, and because `cythonize` knows which modules a changed `.pxd` reaches.
"""

import os
import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HEADERS = sorted(map(str, Path("parsers").glob("*.h")))
FLAGS = [
    "-O3",
    # Lengths and times from disk are added before they are judged: overflow must be defined.
    "-fwrapv",
    # No debug information: a quarter of the compile time and most of a module's size.
    "-g0",
    "-Wall",
    # Inline readers of a `.pxd` that one of its users does not call.
    "-Wno-unused-function",
]

# Lines of Cython are counted by `make test-coverage`, in a build of its own.
TRACE = bool(os.environ.get("CDC_TAIL_TRACE"))
# As a module loads it traces the inline functions of each `.pxd` it uses as lines of its own.
FOREIGN_TRACE = re.compile(
    r"^ *__Pyx_TraceLine\(\d+,0,0,__PYX_ERR\([1-9]\d*, .*\n", flags=re.MULTILINE
)


class BuildExtensions(build_ext):
    """Translates on all cores, and only when extensions are built: not when pip asks for names."""

    def finalize_options(self) -> None:
        from Cython.Build import cythonize

        cores = os.cpu_count() or 1
        self.distribution.ext_modules = cythonize(
            self.distribution.ext_modules,
            # Coverage looks for the C file beside the module.
            build_dir=None if TRACE else "build/cython",
            compiler_directives={"language_level": 3, "linetrace": TRACE},
            quiet=True,
            nthreads=cores,
            force=bool(self.force),
        )
        if TRACE:
            for extension in self.distribution.ext_modules:
                _drop_foreign_traces(Path(extension.sources[0]))
        self.parallel = self.parallel or cores
        super().finalize_options()


def _drop_foreign_traces(source: Path) -> None:
    code = source.read_text()
    kept = FOREIGN_TRACE.sub("", code)
    if kept != code:
        source.write_text(kept)


setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=[
        Extension(
            f"parsers.{source.stem}",
            [str(source)],
            include_dirs=["parsers"],
            depends=HEADERS,
            define_macros=[("CYTHON_TRACE_NOGIL", "1")] if TRACE else [],
            extra_compile_args=[*FLAGS, "-O0"] if TRACE else FLAGS,
        )
        for source in sorted(Path("parsers").glob("_*.pyx"))
    ],
)
