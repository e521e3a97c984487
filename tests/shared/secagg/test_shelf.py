"""The contract of a shelf, which each implementation's tests inherit; here the one in memory."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

from shared.secagg.collector import Collector
from shared.secagg.member import unmask
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.shelf import MemoryShelf, Shelf


class ShelfContract:
    """What a Collector relies on. A subclass says which shelf."""

    def shelf(self) -> AbstractContextManager[Shelf]:
        """A new, empty shelf."""
        raise NotImplementedError

    def test_what_was_put_comes_back(self) -> None:
        rows = {3: b"three", 0: bytes(range(256)), 399: b"\0\0", 7: b""}
        with self.shelf() as shelf:
            for number, data in rows.items():
                shelf.put(number, data)
            assert {number: shelf.get(number, 0, len(data)) for number, data in rows.items()} == rows

    def test_a_row_is_read_in_parts(self) -> None:
        with self.shelf() as shelf:
            shelf.put(1, b"before")
            shelf.put(2, b"abcdef")
            shelf.put(3, b"behind")
            assert [shelf.get(2, start, 2) for start in (0, 2, 4, 3)] == [b"ab", b"cd", b"ef", b"de"]
            assert shelf.get(2, 3, 0) == b""

    def test_nothing_lies_past_the_end_of_a_row(self) -> None:
        """Neither an error nor bytes of the next row: the caller's sizes decide, and it compares what it reads."""
        with self.shelf() as shelf:
            shelf.put(0, b"abc")
            shelf.put(1, b"next")
            assert shelf.get(0, 1, 9) == b"bc"
            assert shelf.get(0, 3, 1) == b""
            assert shelf.get(0, 99, 1) == b""

    def test_a_row_that_was_never_put_is_an_error(self) -> None:
        with self.shelf() as shelf:
            shelf.put(0, b"abc")
            with pytest.raises(KeyError):
                shelf.get(1, 0, 1)

    def test_of_a_row_put_again_the_later_one_counts(self) -> None:
        """A site that sent again after its first try failed half way."""
        with self.shelf() as shelf:
            shelf.put(0, b"first")
            shelf.put(1, b"other")
            shelf.put(0, b"second, longer")
            assert (shelf.get(0, 0, 99), shelf.get(1, 0, 99)) == (b"second, longer", b"other")

    def test_large_rows_come_back_to_the_last_byte(self) -> None:
        size = 3 << 20
        rows = [np.random.default_rng(seed).bytes(size) for seed in range(3)]
        with self.shelf() as shelf:
            for number, data in enumerate(rows):
                shelf.put(number, data)
            for number, data in enumerate(rows):
                assert shelf.get(number, 0, size) == data
                assert shelf.get(number, size - 5, 9) == data[-5:]
                assert shelf.get(number, size // 2, 1000) == data[size // 2 :][:1000]

    def test_two_shelves_are_apart(self) -> None:
        with self.shelf() as one, self.shelf() as two:
            one.put(0, b"one")
            two.put(0, b"two")
            assert (one.get(0, 0, 3), two.get(0, 0, 3)) == (b"one", b"two")

    def test_an_aggregate_with_a_drop_out_at_each_step_is_exact(self) -> None:
        """d never contributes and c never answers, so that seeds of both kinds are rebuilt from what lies here."""
        federation = Federation.of(5)
        plan = federation.plan(length=2)
        members = {
            h.name: federation.contribute(plan, h, np.full(2, 2**31 + 1, np.uint32)) for h in federation.hospitals
        }
        with self.shelf() as shelf:
            collector = Collector(plan, federation.roster, shelf)
            staying = [h for h in federation.hospitals if h.name != "d"]
            for hospital in staying:
                collector.add(members[hospital.name].contribution, members[hospital.name].vector)
            collector.close()
            federation.confirm(collector, {h: members[h.name].state for h in staying})
            for hospital in staying:
                if hospital.name != "c":
                    request = collector.request(hospital.name)
                    state = members[hospital.name].state
                    collector.answer(unmask(state, request, identity=hospital.identity, rules=SiteRules()))
            total = collector.finish()
            assert (total.counts.tolist(), total.words.tolist()) == ([4], [4, 4])
            assert collector.faults == []


class TestMemoryShelf(ShelfContract):
    def shelf(self) -> AbstractContextManager[Shelf]:
        return nullcontext(MemoryShelf())
