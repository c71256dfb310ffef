"""The sessions of BenchmarkSQLAlchemy on the original's stack, SQLAlchemy async.

Usage: sessions.py URL; each line on stdin is a number of sessions to run, and is
answered with the seconds that they took.
"""

import asyncio
import sys
import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import StaticPool

SELECT = text("select v from kv where k = :k")
UPDATE = text("update kv set v = :v where k = :k")


async def main(url):
    if url.startswith("sqlite"):
        engine = create_async_engine(url, poolclass=StaticPool)
        async with engine.connect() as connection:
            for pragma in ("journal_mode=wal", "synchronous=normal", "foreign_keys=on", "cache_size=-65536"):
                await connection.execute(text("pragma " + pragma))
    else:
        engine = create_async_engine(url, pool_size=20, max_overflow=10)
    n = 0
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            n += 1
            async with AsyncSession(engine) as session, session.begin():
                k = 1 + n % 1000
                v = (await session.execute(SELECT, {"k": k})).scalar_one()
                await session.execute(UPDATE, {"k": k, "v": v + 1})
        print(time.perf_counter() - start, flush=True)
    await engine.dispose()


asyncio.run(main(sys.argv[1]))
