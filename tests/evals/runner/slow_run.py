"""A run in a process of its own, which says when each sample is finished: to be killed in the middle of it.

slow_run.py FOLDER COUNT [hang]     with "hang", the model stops answering after 20 requests
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import bench_of_one as b

from commonweal.core.completion import Completion, Request
from commonweal.core.errors import CommonwealError
from commonweal.evals.completers.mock import MockCompleter


class Telling(MockCompleter):
    async def complete(self, request: Request) -> Completion:
        if "hang" in sys.argv and self.asked >= 20:
            await asyncio.Event().wait()
        completion = await super().complete(request)
        await asyncio.sleep(0)
        print(request.prompt, flush=True)
        return completion


def main() -> None:
    bench = b.bench(Telling(b.adds), concurrency=4)
    try:
        b.run(b.planned(b.scenario(b.sums(int(sys.argv[2])))), Path(sys.argv[1]), bench)
    except CommonwealError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
