from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest

from feature_registry.errors import Exhausted, RegistryError
from feature_registry.registry.ledger import Ledger


def test_many_charges_share_a_transaction_and_none_is_lost() -> None:
    batches: list[Mapping[str, Sequence[int]]] = []

    def commit(sizes: Mapping[str, Sequence[int]]) -> Mapping[str, RegistryError]:
        time.sleep(0.01)
        batches.append(sizes)
        return {}

    async def main() -> None:
        ledger = Ledger(commit)
        await asyncio.gather(*(ledger.charge(f"g{number % 3}", number) for number in range(100)))
        await ledger.charge("g0", 5)

    asyncio.run(main())
    assert sum(sum(asked) for batch in batches for asked in batch.values()) == sum(range(100)) + 5
    assert len(batches) < 10


def test_a_refusal_reaches_only_the_grant_that_it_names() -> None:
    async def main() -> None:
        ledger = Ledger(lambda sizes: {"poor": Exhausted("over")} if "poor" in sizes else {})
        rich, poor = await asyncio.gather(ledger.charge("rich", 1), ledger.charge("poor", 1), return_exceptions=True)
        assert rich is None
        assert poor == Exhausted("over")

    asyncio.run(main())


def test_a_failing_transaction_is_heard_by_all_who_wait_and_the_next_one_works() -> None:
    failures = [OSError("disk"), None]

    def commit(sizes: Mapping[str, Sequence[int]]) -> Mapping[str, RegistryError]:
        failure = failures.pop(0)
        if failure:
            raise failure
        return {}

    async def main() -> None:
        ledger = Ledger(commit)
        with pytest.raises(OSError, match="disk"):
            await ledger.charge("g", 1)
        await ledger.charge("g", 1)

    asyncio.run(main())
