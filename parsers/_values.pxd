"""One Cassandra value to one PostgreSQL binary field: check first, then write; and back where that
is exact.

The names that decoder and merge use, gathered from the modules that define them.
"""

from parsers._check cimport Element, element_check, reason_text, value_check
from parsers._compare cimport value_compare
from parsers._exact cimport value_from_pg, value_is_exact
from parsers._fields cimport value_to_pg
from parsers._multicell cimport multicell_to_pg
