"""Runs the cases of the Autobahn test suite against a WebSocket that sends each message back.

usage: websocket_conformance.py URL. Exits with 0, or prints the failed cases.
"""

import asyncio
import sys

from kosoku import FailureError, run_fuzzingclient

# Compression (permessage-deflate), which the server does not offer.
NOT_OFFERED = ["12.*", "13.*"]


async def main(url: str) -> None:
    try:
        results = await run_fuzzingclient(url, exclude_cases=NOT_OFFERED, concurrency=4)
    except FailureError as failure:
        failed = [result for result in failure.results if not result.passed]
        for result in failed:
            print(f"{result.case_id}: {result.behavior.value}, close {result.behavior_close.value}: "
                  f"{result.result} {result.result_close}", file=sys.stderr)
        sys.exit(f"{len(failed)} cases failed")
    print(f"{len(results)} cases passed")


asyncio.run(main(sys.argv[1]))
