from typing_extensions import Buffer

from parsers._catalog import Catalog
from parsers.view import UpdateView

def view_mutation(mutation: Buffer, catalog: Catalog, log_version: int) -> list[UpdateView]: ...
