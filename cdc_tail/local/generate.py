"""Writes the shop's traffic to a node that runs already: `python -m cdc_tail.local.generate`.

The node is the one of the settings (CASSANDRA_HOST, ...). It starts and stops nothing.
"""

from __future__ import annotations

import argparse

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster

from cdc_tail import config
from cdc_tail.local.shop import Shop
from cdc_tail.local.traffic import run_traffic


def main() -> None:
    """Create the shop's tables where they are missing, write, and say how much was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long to write")
    parser.add_argument("--rate", type=float, default=200, help="writes per second")
    parser.add_argument("--seed", type=int, default=1, help="of the random shop")
    options = parser.parse_args()
    cassandra = config.load().cassandra
    auth = (
        PlainTextAuthProvider(cassandra.user, cassandra.password.get_secret_value())
        if cassandra.user and cassandra.password
        else None
    )
    cluster = Cluster([cassandra.host], port=cassandra.port, auth_provider=auth)
    try:
        shop = Shop(cluster.connect(), seed=options.seed)
        shop.create()
        report = run_traffic(
            shop,
            writes_per_second=options.rate,
            writes=int(options.rate * options.seconds),
            evolve=False,
        )
    finally:
        cluster.shutdown()
    print(f"{report.acknowledged} writes acknowledged, {report.writes_per_second:.0f} per second")
    for error, count in report.failures.items():
        print(f"{count} failed with {error}")


if __name__ == "__main__":
    main()
