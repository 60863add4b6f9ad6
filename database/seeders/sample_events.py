"""The events of a small directory of services, as an API gateway would put them on the topic."""

from collections.abc import Iterator
from typing import Any

STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"

Event = tuple[str, dict[str, Any], str]  # the job, its data, the message's key

PROVIDERS = (
    ("harbour-trust", "Harbour Trust", "Boats, tea and company for everyone over sixty."),
    ("northside-law", "Northside Law Centre", "Free advice on housing, debt and benefits."),
    ("little-oaks", "Little Oaks Nursery", "Play and early learning from six months on."),
    ("open-kitchen", "Open Kitchen", "A warm meal, no questions asked."),
)
SERVICES = (
    ("tea-afternoon", "Tea afternoon", "harbour-trust", "over-60s", "free"),
    ("boat-trip", "Boat trip", "harbour-trust", "over-60s", "five-pounds"),
    ("debt-advice", "Debt advice", "northside-law", "everyone", "free"),
    ("housing-advice", "Housing advice", "northside-law", "everyone", "free"),
    ("play-group", "Play group", "little-oaks", "families", "two-pounds"),
    ("community-meal", "Community meal", "open-kitchen", "everyone", "free"),
)
VENUES = (
    ("quay-hall", "tea-afternoon", "harbour-trust", "Quay Hall", "1 Quay Street", "Ramp at the side door."),
    ("old-school", "play-group", "little-oaks", "The Old School", "12 Oak Lane", "Buggies stay in the hall."),
    ("canteen", "community-meal", "open-kitchen", "The Canteen", "80 Market Square", "First floor, with a lift."),
)
CONTACTS = (
    ("ines", "Ines Moreau", "ines@harbour-trust.example", "Coordinator"),
    ("sam", "Sam Okafor", "sam@northside-law.example", None),
    ("lia", "Lia Berg", "lia@little-oaks.example", "Head of nursery"),
)
EVENTS = (
    ("monday-tea", "Every Monday, cake included", "Mondays 14:00", "quay-hall"),
    ("friday-meal", "Two courses, one of them without meat", "Fridays 18:30", "canteen"),
)
COSTS = (("free", "Free"), ("two-pounds", "£2 a child"), ("five-pounds", "£5, concessions £2"))
ELIGIBILITIES = (("everyone", "Everyone"), ("over-60s", "People over 60"), ("families", "Families with children"))
TAXONOMIES = (("advice", "Advice"), ("food", "Food"), ("leisure", "Leisure"), ("children", "Children"))
SORTED = (
    ("debt-advice", "advice"),
    ("housing-advice", "advice"),
    ("community-meal", "food"),
    ("boat-trip", "leisure"),
    ("play-group", "children"),
)


def sample_events() -> Iterator[Event]:
    """Every event, in the order in which they are published: creates, updates, queries, and one that is refused."""
    yield from _creates()
    yield _update("harbour-trust", "provider", {"description": "Boats, tea and company for everyone."})
    yield _update("debt-advice", "service", {"description": "Drop in, or by appointment."})
    yield _select("harbour-trust", "provider")
    yield GET, {"type": "service", "queryType": "index", "limit": 3}, "page-of-services"
    yield STORE, {"type": "contact", "values": {"name": "Nobody"}}, "refused"


def _creates() -> Iterator[Event]:
    for id, name, description in PROVIDERS:
        yield _create(id, "provider", {"name": name, "description": description, "published": True})
    for id, text in COSTS:
        yield _create(id, "costoption", {"option": text})
    for id, text in ELIGIBILITIES:
        yield _create(id, "eligibility", {"eligibility": text})
    for id, name, provider, eligibility, cost in SERVICES:
        values = {"name": name, "provider_id": provider, "eligibility_id": eligibility, "costoption_id": cost}
        yield _create(id, "service", values)
    for id, service, provider, name, address, details in VENUES:
        values = {"service_id": service, "provider_id": provider, "name": name, "address": address, "details": details}
        yield _create(id, "venue", values)
    for id, name, email, position in CONTACTS:
        yield _create(id, "contact", {"name": name, "email": email, "position": position})
    for id, details, time, venue in EVENTS:
        yield _create(id, "event", {"details": details, "time": time, "venue_id": venue})
    for id, name in TAXONOMIES:
        yield _create(id, "taxonomy", {"name": name})
    for service, taxonomy in SORTED:
        yield _create(f"{service}-{taxonomy}", "taxonomy_ref", {"service_id": service, "taxonomy_id": taxonomy})


def _create(id: str, kind: str, values: dict[str, Any]) -> Event:
    return STORE, {"type": kind, "values": values}, id


def _update(id: str, kind: str, values: dict[str, Any]) -> Event:
    return UPDATE, {"type": kind, "id": id, "values": values}, id


def _select(id: str, kind: str) -> Event:
    return GET, {"type": kind, "queryType": "select", "id": id}, id
