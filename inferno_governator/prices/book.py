"""All prices that are known, in memory: which is in force when, and what waits to be confirmed."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median_low

from inferno_governator.prices.offers import ANYWHERE, Kind, Offer, OfferKey, Quote


@dataclass(frozen=True, slots=True)
class Known:
    """A price that the store holds: in force from a minute on, or set aside.

    ``seen_micros`` says when it became known, ``replaced_micros`` when another took its place (Unix microseconds).
    """

    quote: Quote
    from_minute: int
    seen_micros: int
    waits: bool = False
    replaced_micros: int | None = None


@dataclass(slots=True)
class Entry:
    """One offer: its prices in the order in which they came into force, and those set aside."""

    offer: Offer
    history: list[Known] = field(default_factory=list)
    waiting: list[Known] = field(default_factory=list)

    def at(self, minute: int) -> Known | None:
        """The price in force in a minute."""
        found = bisect.bisect_right(self.history, minute, key=lambda known: known.from_minute)
        return self.history[found - 1] if found else None


class PriceBook:
    """Entries by offer. Of several prices of one offer from the same minute on, the one given last counts."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._entries: dict[OfferKey, Entry] = {}
        self._by_gpu: dict[tuple[str, Kind], list[Entry]] = defaultdict(list)
        for each in known:
            self.add(each)

    def add(self, known: Known) -> None:
        """Take a price in."""
        entry = self._entry(known.quote.offer)
        if known.waits:
            entry.waiting.append(known)
        else:
            bisect.insort_right(entry.history, known, key=lambda one: one.from_minute)

    def renew(self, known: Known, quote: Quote) -> None:
        """Note that a price in force is said again, of a later day."""
        history = self._entry(quote.offer).history
        history[history.index(known)] = replace(
            known, quote=replace(known.quote, as_of=quote.as_of, source=quote.source)
        )

    def entries(self) -> Iterator[Entry]:
        """All of them."""
        return iter(self._entries.values())

    def entry(self, key: OfferKey) -> Entry | None:
        """The entry of this very offer."""
        return self._entries.get(_plain(key))

    def find(self, key: OfferKey, minute: int) -> Known | None:
        """The price in force for a machine: of its region, else of its cloud where that is the same in every region."""
        for region in (key.region, ANYWHERE):
            entry = self.entry(key._replace(region=region))
            known = entry.at(minute) if entry else None
            if known:
                return known
        return None

    def gpu_micros(self, gpu: str, kind: Kind, minute: int, cloud: str, region: str) -> tuple[int, str] | None:
        """What one GPU of a family costs here, elsewhere in this cloud, or anywhere: the median of the nearest such
        prices, and where they are from."""
        entries = self._by_gpu[gpu, kind]
        for where, near in (
            (f"in {cloud} {region}", [each for each in entries if _of(each, cloud, region)]),
            (f"in {cloud}", [each for each in entries if _of(each, cloud)]),
            ("of all clouds", entries),
        ):
            prices = [known.quote.gpu_micros for known in (each.at(minute) for each in near) if known]
            if prices:
                return median_low(prices), where
        return None

    def _entry(self, offer: Offer) -> Entry:
        entry = self._entries.get(_plain(offer.key))
        if entry is None:
            entry = self._entries[_plain(offer.key)] = Entry(offer)
            self._by_gpu[offer.gpu, offer.key.kind].append(entry)
        return entry


def _plain(key: OfferKey) -> OfferKey:
    return key._replace(instance_type=key.instance_type.lower())


def _of(entry: Entry, cloud: str, region: str | None = None) -> bool:
    key = entry.offer.key
    return key.cloud == cloud and (region is None or key.region == region)
