"""An object store that speaks S3 on a loopback port, goes away and comes back with its objects."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from moto.server import ThreadedMotoServer

from cdc_tail.local.ports import free_ports

REGION = "us-east-1"
# As an operator sets them; the store takes any.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
_ADDRESS = "127.0.0.1"


class ObjectStore:
    """One bucket; a context manager that ends the server. Objects live as long as the process."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self._port = free_ports(1, _ADDRESS)[0]
        self._server: ThreadedMotoServer | None = None

    @property
    def url(self) -> str:
        """What `archive.url` is to be for a folder of the bucket."""
        where = f"endpoint_override={_ADDRESS}:{self._port}&scheme=http&region={REGION}"
        return f"s3://{self.bucket}/segments?{where}"

    def names(self) -> list[str]:
        """The objects of the bucket without their folders, in order."""
        from pyarrow import fs

        found = self._client().get_file_info(fs.FileSelector(self.bucket, recursive=True))
        return sorted(one.base_name for one in found if one.is_file)

    def start(self) -> None:
        self._server = ThreadedMotoServer(_ADDRESS, self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        """No connection is accepted until `start`; objects stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _client(self) -> Any:
        from pyarrow import fs

        return fs.S3FileSystem(
            access_key=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=f"{_ADDRESS}:{self._port}",
            scheme="http",
            region=REGION,
            allow_bucket_creation=True,
        )

    def __enter__(self) -> Self:
        self.start()
        self._client().create_dir(self.bucket)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
