"""The image without a container engine: its commands replayed, its process run as it would be.

What apt-get installs is taken from this machine; the rest of the Dockerfile's commands run as they
stand, in a folder of their own. What can't be seen this way: the base image and its size.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc_tail.local.ports import free_ports
from tests.conftest import NodeFactory
from tests.support.sidecar import wait_until
from tests.tools.programs import program

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
# The wheel is compiled from nothing.
pytestmark = pytest.mark.timeout(2400)

CASSANDRA_USER = "999"  # of the image's USER line


class Log:
    """A file whose text is its look, for messages of failures."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return self.path.read_text(errors="replace")[-3000:]


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of that name, continuation lines joined."""
    joined = re.sub(r"\\\n", " ", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder that stands for the image's root: /src, /wheels and /opt/cdc-tail in it."""
    # Below a folder that other users may enter, unlike pytest's own.
    root = Path(tempfile.mkdtemp(prefix="cdc-tail-image-"))
    root.chmod(0o755)
    try:
        yield replayed(root)
    finally:
        shutil.rmtree(root)


def python_for_others() -> str:
    """A Python that another user can run too: not one below a home folder."""
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        if all(folder.stat().st_mode & 0o001 for folder in (python, *python.parents)):
            return str(python)
    raise RuntimeError("no Python is installed where all users can run it")


def replayed(root: Path) -> Path:
    """Run the Dockerfile's commands; returns what they make of /opt/cdc-tail."""
    tools = root / "tools"
    subprocess.run([python_for_others(), "-m", "venv", tools], check=True)
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *sent_to_the_build()],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, tracked.split("\0")):
        target = root / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    for command in instructions("RUN"):
        if command.startswith("apt-get"):
            continue
        (root / "opt").mkdir(exist_ok=True)
        environment = os.environ | {"PATH": f"{tools / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-ec", re.sub("(/wheels|/opt/cdc-tail)", rf"{root}\1", command)],
            cwd=root / "src",
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return root / "opt" / "cdc-tail"


def sent_to_the_build() -> list[str]:
    """What .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def test_hadolint_has_no_objection() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, "docker/Dockerfile"], cwd=ROOT, check=True)


def test_compose_takes_the_file() -> None:
    done = subprocess.run(
        [program("cmd"), "docker/compose.yaml"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_environment_holds_the_program_and_no_tools(image: Path) -> None:
    said = subprocess.run(
        [image / "bin" / "cdc-tail", "version"], check=True, capture_output=True, text=True
    ).stdout
    assert "cdc-tail" in said
    assert not (image / "bin" / "pip").exists()
    modules = list(image.glob("lib/python3*/site-packages/parsers/_*.so"))
    sources = {path.stem for path in (ROOT / "parsers").glob("_*.pyx")}
    assert {module.name.partition(".")[0] for module in modules} == sources


def test_it_runs_without_rights_on_a_file_system_that_it_cannot_write(
    image: Path, new_cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    # The node runs as us; what the Cassandra image gives its user is given to everybody here.
    for folder in (node.cdc_raw, *node.cdc_raw.parents):
        folder.chmod(folder.stat().st_mode | 0o005)
        if folder == Path(tempfile.gettempdir()):
            break
    node.cdc_raw.chmod(0o777)
    port = free_ports(1)[0]
    environment = {
        "PATH": f"{image}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CDC_TAIL_NODE": "cassandra",
        "CASSANDRA_HOST": node.address,
        "CASSANDRA_PORT": str(node.native_port),
        "CDC_TAIL_CASSANDRA_CDC_RAW": str(node.cdc_raw),
        "CDC_TAIL_POSTGRES_DSN": database,
        "CDC_TAIL_HTTP_PORT": str(port),
    }
    # Only cdc_raw can be written: it is a mount of its own when the root is made read-only.
    as_root = os.geteuid() == 0
    drop = f"setpriv --reuid {CASSANDRA_USER} --regid {CASSANDRA_USER} --clear-groups"
    script = (
        f"mount --bind {node.cdc_raw} {node.cdc_raw} && mount -o remount,ro,bind /"
        f" && ! touch {tmp_path}/x 2>/dev/null"
        f" && exec {drop if as_root else ''} cdc-tail run"
    )
    namespace = ["unshare", "--mount", *([] if as_root else ["--map-root-user"])]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*namespace, "sh", "-c", script], env=environment, stdout=output, stderr=output
        )
    try:

        def healthy() -> bool:
            assert process.poll() is None, log.read_text()
            (check,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', DOCKERFILE)
            command = check.replace(":8080", f":{port}")
            return not subprocess.run(
                [image / "bin" / "python", "-c", command], check=False, capture_output=True
            ).returncode

        wait_until(healthy, Log(log), 180)
        (uid,) = re.findall(
            r"^Uid:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE
        )
        assert uid == (CASSANDRA_USER if as_root else str(os.geteuid()))
        said = subprocess.run(
            [image / "bin" / "python", "-m", "cdc_tail.local.generate", "--seconds=3"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "600 writes acknowledged" in said

        def mirrored() -> bool:
            with psycopg.connect(database) as connection:
                found = connection.execute("SELECT to_regclass('shop.orders')").fetchone()
                if found is None or found[0] is None:
                    return False
                rows = connection.execute("SELECT count(*) FROM shop.orders").fetchone()
            return rows is not None and rows[0] > 0

        wait_until(mirrored, Log(log), 120)
    finally:
        process.terminate()
        process.wait(120)
