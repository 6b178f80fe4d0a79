"""Resources: the connections that actions share. Each is connected again and again until somebody deletes it."""

from __future__ import annotations

import logging
from typing import Final

import attrs
import trio

from trioemqx.rules import files, links, resource_requests
from trioemqx.rules.errors import RuleError, bad_arguments, no_resource
from trioemqx.rules.guarded import guarded
from trioemqx.rules.records import Records, ResourceRecord, checked_text
from trioemqx.rules.resource_entries import ResourceEntry, ResourceHost
from trioemqx.rules.terms import term
from trioemqx.services.rulekit import Resource, ResourceFailed

log = logging.getLogger("trioemqx.rules")

RETRY_SECONDS: Final = 15.0
"""Between two tries to connect a resource that has never been up since it was made."""
POLL_SECONDS: Final = 10.0
"""Between two looks at a resource that has a connection."""
MAX_RESOURCES: Final = 1000


class Resources:
    """All of them, by identifier, in the order in which they were made."""

    def __init__(self, host: ResourceHost, records: Records) -> None:
        self._host = host
        self._records = records
        self._entries: dict[str, ResourceEntry] = {}
        self._nursery: trio.Nursery | None = None
        self._running = trio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[ResourceEntry]:
        """All of them."""
        return list(self._entries.values())

    def find(self, resource_id: str) -> ResourceEntry | None:
        """One of them."""
        return self._entries.get(resource_id)

    def link(self, resource_id: str) -> Resource | None:
        """The connection of one; None while it has never had one."""
        entry = self._entries.get(resource_id)
        return None if entry is None else entry.link

    async def load(self) -> None:
        """Read what an earlier run stored; nothing is connected yet."""
        found = [record async for record in self._records.resources()]
        for record in sorted(found, key=lambda record: (record.created_at, record.id)):
            self._entries[record.id] = ResourceEntry(record)

    def take(self, record: ResourceRecord) -> ResourceEntry:
        """Enter one as it is, in place of another of the same identifier, without a connection. `renew` makes it."""
        before = self._entries.pop(record.id, None)
        entry = self._entries[record.id] = ResourceEntry(record)
        if before is not None:
            before.deleted = True
            entry.changing = before.changing
            entry.scope, before.scope = before.scope, None
            entry.leaving, before.leaving = before.leaving, []
            if before.link is not None:
                entry.leaving.append(before.link)
            self._host.alarms.deactivate(before.alarm)
        return entry

    def wake(self) -> None:
        """Connect what is not connected, now."""
        if self._nursery is not None:
            for entry in self.entries():
                if entry.link is None and not entry.changing.locked():
                    self._nursery.start_soon(self._try, entry)

    # -- what people ask for -----------------------------------------------------------------------------------------

    async def create(
        self, kind: object, config: object, description: object = "", chosen: object = None
    ) -> ResourceRecord:
        """Make one, under the identifier that was `chosen` or a new one. It is kept also when there is no connection
        now. Raises RuleError."""
        record = resource_requests.record(self._host, kind, config, description, chosen, self._entries)
        if len(self._entries) >= MAX_RESOURCES:
            raise bad_arguments(f"{{too_many_resources,{MAX_RESOURCES}}}")
        entry = self._entries[record.id] = ResourceEntry(record)
        durable = self._records.keep(record)
        await self._try(entry)
        await durable.wait()
        return record

    async def test(self, kind: object, config: object) -> None:
        """Connect, look, and forget. Raises RuleError."""
        found = resource_requests.type_of(self._host, kind)
        settings = resource_requests.settings(found, config)
        await links.probe(found, settings, self._host.data_dir, "Init resource failure!")

    async def update(self, resource_id: str, config: object = None, description: object = None) -> None:
        """Change one. A new configuration has to work before it takes the place of the old one. Raises RuleError."""
        entry = self._entries.get(resource_id)
        self._check_free(resource_id)
        if entry is None:
            raise RuleError(400, f"Resource not found:{resource_id}")
        record = entry.record
        if description is not None:
            record = attrs.evolve(record, description=checked_text(description, "description"))
        if config is not None and config != {}:
            kind = resource_requests.type_of(self._host, record.type)
            settings = resource_requests.settings(kind, config)
            await links.probe(kind, settings, self._host.data_dir, f"Init resource failure:{resource_id}")
            self._check_free(resource_id)
            record = attrs.evolve(record, config=settings)
        if entry.deleted:
            raise RuleError(400, f"Resource not found:{resource_id}")
        renewed = record.config is not entry.record.config
        entry.record = record
        durable = self._records.keep(record)
        if renewed:
            await self._try(entry)
        await durable.wait()

    async def delete(self, resource_id: str) -> None:
        """Forget one; nothing happens when there is none. Raises RuleError while an enabled rule uses it."""
        self._check_free(resource_id)
        entry = self._entries.pop(resource_id, None)
        if entry is None:
            return
        entry.deleted = True
        durable = self._records.drop(entry.record)
        self._host.alarms.deactivate(entry.alarm)
        async with entry.changing:
            await self._end(entry)
        if resource_id not in self._entries:
            await trio.to_thread.run_sync(files.remove_all, files.folder_of(self._host.data_dir, resource_id))
        await durable.wait()

    def drop_type(self, kind: str) -> list[str]:
        """A type is no longer there: its resources end, and wait for it. Returns their identifiers."""
        gone = [entry for entry in self._entries.values() if entry.record.type == kind and entry.link is not None]
        for entry in gone:
            link, entry.link = entry.link, None
            self._let_go(entry, link)
            self._down(entry, f"there is no resource type {kind} now")
        return [entry.record.id for entry in gone]

    def _check_free(self, resource_id: str) -> None:
        users = self._host.users_of(resource_id)
        if users:
            shown = ",".join(map(term, users[:100]))
            raise RuleError(400, f"Found rules [{shown}] depends on this resource, disable them first")

    async def renew(self, resource_id: str) -> None:
        """Connect again now. Raises RuleError; it is tried again later then."""
        entry = self._entries.get(resource_id)
        if entry is None:
            raise no_resource(resource_id)
        await self._try(entry)
        if entry.problem:
            raise bad_arguments(f"{{resource_down,{term(entry.problem)}}}")

    # -- connecting --------------------------------------------------------------------------------------------------

    async def _try(self, entry: ResourceEntry) -> None:
        """Connect anew. What goes wrong is kept in `problem`."""
        async with entry.changing:
            await self._end(entry)
            if entry.gone():
                return
            try:
                link = await self._connected(entry)
            except ResourceFailed as error:
                self._down(entry, str(error))
                return
            if entry.gone():
                await self._end(entry, link)
                return
            entry.link = link
            self._up(entry)
        self._host.resource_up(entry.record.id)

    async def _connected(self, entry: ResourceEntry) -> Resource:
        """A connection, with its background work. Raises ResourceFailed."""
        record = entry.record
        kind = self._host.resource_types.get(record.type)
        if kind is None:
            raise ResourceFailed(f"there is no resource type {record.type} now")
        link = await links.made(kind, record, self._host.data_dir)
        fine = False
        with trio.move_on_after(links.START_SECONDS):
            await self._running.wait()
        self._branch(entry, link)
        try:
            await links.started(link, record.id)
            fine = True
        finally:
            if not fine:
                await self._end(entry, link)
        return link

    async def _end(self, entry: ResourceEntry, link: Resource | None = None) -> None:
        """End its connection, if there is one, or the one that it nearly had, and what it is to end besides."""
        link, entry.link = link or entry.link, None
        leaving, entry.leaving = entry.leaving, []
        with trio.CancelScope(shield=True):
            for each in (*leaving, link):
                if each is not None:
                    await links.closed(each)
        self._cut(entry)

    def _let_go(self, entry: ResourceEntry, link: Resource | None) -> None:
        """End a connection that is no longer anybody's."""
        self._cut(entry)
        if self._nursery is not None and link is not None:
            self._nursery.start_soon(links.closed, link)

    def _cut(self, entry: ResourceEntry) -> None:
        """End its background work."""
        if entry.scope is not None:
            entry.scope.cancel()
            entry.scope = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect what is not connected, look at what is, for ever."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._running.set()
                for entry in self.entries():
                    if entry.link is not None:
                        self._branch(entry, entry.link)
                self._nursery.start_soon(self._poll)
                while True:
                    self.wake()
                    await trio.sleep(RETRY_SECONDS)
        finally:
            self._nursery = None
            self._running = trio.Event()

    async def close(self) -> None:
        """End every connection."""
        async with trio.open_nursery() as nursery:
            for entry in self.entries():
                nursery.start_soon(self._end, entry)

    def _branch(self, entry: ResourceEntry, link: Resource) -> None:
        """Start the background work of a connection. While the engine is not running that is left to `run`."""
        if self._nursery is not None:
            entry.scope = trio.CancelScope()
            self._nursery.start_soon(self._background, entry, link, entry.scope)

    async def _background(self, entry: ResourceEntry, link: Resource, scope: trio.CancelScope) -> None:
        name = entry.record.id
        with scope:
            error = await guarded(
                self._host, f"resource {name}", f"resource_crashed/{name}", link.run, "it is connected again"
            )
            if error is not None:
                self._down(entry, str(error))

    async def _poll(self) -> None:
        while True:
            await trio.sleep(POLL_SECONDS)
            async with trio.open_nursery() as nursery:
                for entry in self.entries():
                    if entry.link is not None:
                        nursery.start_soon(self._look, entry, entry.link)

    async def _look(self, entry: ResourceEntry, link: Resource) -> None:
        alive = await links.is_alive(link)
        if entry.link is link and not entry.deleted:
            if alive:
                self._up(entry)
            else:
                self._down(entry, "it does not answer")

    def _up(self, entry: ResourceEntry) -> None:
        entry.alive, entry.problem = True, ""
        self._host.alarms.deactivate(entry.alarm)
        self._host.alarms.deactivate(f"resource_crashed/{entry.record.id}")

    def _down(self, entry: ResourceEntry, problem: str) -> None:
        entry.alive, entry.problem = False, problem
        if entry.deleted:
            return
        record = entry.record
        if self._host.alarms.activate(entry.alarm, {"id": record.id, "type": record.type}):
            log.error("resource %s of type %s is down: %s", record.id, record.type, problem)
