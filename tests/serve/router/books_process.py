"""A process that only keeps books, for tests that kill it: ``python books_process.py DATABASE HUB``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import replace
from random import Random

from test_serve_tab import bill

from commonweal.core.database import connect
from commonweal.core.errors import InsufficientCredits
from commonweal.serve.billing.books import BookOptions, Books


async def work(books: Books, hub: str) -> None:
    random = Random(hub)
    names = [f"user-{number}" for number in range(7)] + ["poor"]
    for number in range(10**6):
        with contextlib.suppress(InsufficientCredits):
            most = random.randint(1, 1000)
            reservation = await books.reserve(random.choice(names), most)
            made = bill(f"{hub}-{number}", random.randint(0, most), f"member:{number % 3}")
            books.settle(reservation, replace(made, account=reservation.tab.account))
        if number % 50 == 49:
            await books.flush()
            print("settled", number, flush=True)


def main(url: str, hub: str) -> None:
    asyncio.run(work(Books(connect(url), time.time, hub, BookOptions(chunk=20_000, idle=0.05)), hub))


if __name__ == "__main__":
    main(*sys.argv[1:])
