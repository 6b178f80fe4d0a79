"""How a connection's states meet: paused, waiting for an answer, blocked, closing, left over from the last turn.

Sockets and poller are in memory and nothing runs by itself, so each test says exactly what happens when.
"""

from __future__ import annotations

import pytest
from turn_bench import Bench, Tap, connect

from trioemqx.codec.control import Disconnect, Pingreq
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import Publish, make_publish
from trioemqx.core.broker import WORK_LIMIT
from trioemqx.core.limiter import TokenBucket
from trioemqx.core.states import CONNECTED
from trioemqx.listeners.link import FULL, PAUSED, QUESTION, READ, WRITE
from trioemqx.listeners.turn import ENDING, SHARE
from trioemqx.listeners.writing import CLOCK_EVERY, SEND_SIZE, SENDS_PER_FLUSH
from trioemqx.types import Message, SubOpts

PING = encode(Pingreq(), 5)
SHARES = 4
"""What fits into a turn of a clock that goes a millisecond at each look."""


@pytest.fixture
def bench() -> Bench:
    return Bench()


def limited(bench: Bench, clientid: str, *filters: str):
    """A client whose next PUBLISH is handled and followed by a pause of ten seconds."""
    tap = bench.client(clientid, *filters)
    tap.channel.messages_bucket = TokenBucket(1, 10.0)
    tap.channel.messages_bucket.take(1, bench.broker.now)
    return tap


def block(bench: Bench, tap) -> None:
    """Fill the kernel's buffer, then the outbox above its high mark."""
    tap.socket.room = 0
    for _ in range(2):
        bench.broker.publish(Message("t", bytes(2000)))
        bench.round()
    assert tap.channel.out.full()


def wide_flood(bench: Bench, count: int = 50):
    """Messages of one client to all who listen to `wide`."""
    flood = bench.client("flood")
    flood.link.size = 65536
    flood.feed(encode(make_publish("wide", b"x", 0, False, False, 0, None), 5) * count)
    return flood


def passed(coming: list[Tap], ending: list[Tap]) -> tuple[int, int]:
    """How many are connected by now, and how many have gone."""
    return sum(tap.channel.state == CONNECTED for tap in coming), sum(tap.socket.closed for tap in ending)


def tick(bench: Bench) -> None:
    """From now on each look at the clock is a millisecond later."""
    ticks = iter(range(100_000))
    bench.turn.clock = lambda: next(ticks) * 0.001


class TestPaused:
    def test_a_link_over_its_rate_is_not_read_until_the_debt_is_paid(self, bench):
        tap = limited(bench, "me")
        tap.publish("a")
        bench.settle()
        tap.feed(PING)
        for _ in range(9):
            bench.later(1.0)
            bench.round()
            assert not tap.reading()
        bench.later(1.0)
        bench.settle()
        assert tap.sent() == b"\xd0\x00"

    def test_an_answer_does_not_end_a_pause(self, bench):
        """The answered question used to turn reading on, and each read put the link on the list once more."""
        tap = limited(bench, "me")
        bench.door.asks = True
        tap.publish("a")
        bench.round()
        assert tap.link.held == QUESTION
        bench.turn.answered(tap.link, [True])
        assert tap.link.held == PAUSED
        assert not tap.reading()
        assert len(bench.turn.pauses) == 1

    def test_a_drained_outbox_does_not_end_a_pause(self, bench):
        tap = limited(bench, "me", "t")
        block(bench, tap)
        tap.publish("a")
        bench.round()
        assert tap.link.held == PAUSED | FULL
        tap.socket.room = 10_000
        bench.settle()
        assert tap.link.held == PAUSED
        assert not tap.reading()

    def test_the_end_of_a_pause_does_not_end_a_full_outbox(self, bench):
        tap = limited(bench, "me", "t")
        block(bench, tap)
        tap.publish("a")
        bench.round()
        bench.later(20.0)
        bench.round()
        assert tap.link.held == FULL
        assert not tap.reading()
        tap.socket.room = 10_000
        bench.settle()
        assert tap.reading()

    def test_paused_blocked_and_asking_at_once(self, bench):
        """All three reasons have to go, in whatever order they do."""
        tap = limited(bench, "me", "t")
        block(bench, tap)
        bench.door.asks = True
        tap.publish("a")
        bench.round()
        assert tap.link.held == QUESTION | FULL
        tap.socket.room = 10_000
        bench.settle()
        assert tap.link.held == QUESTION
        bench.turn.answered(tap.link, [True])
        bench.settle()
        assert tap.link.held == PAUSED
        assert not tap.reading()
        bench.later(10.0)
        bench.settle()
        assert tap.link.held == 0
        assert tap.reading()

    def test_what_waits_in_the_framer_goes_on_after_the_pause(self, bench):
        watcher = bench.client("w", "#")
        tap = limited(bench, "me")
        frames = [encode(make_publish("a", payload, 0, False, False, 0, None), 5) for payload in (b"1", b"2")]
        tap.feed(b"".join(frames))
        bench.settle()
        assert [each.payload for each in watcher.packets()] == [b"1"]
        bench.later(10.0)
        bench.settle()
        assert [each.payload for each in watcher.packets()] == [b"2"]

    def test_a_paused_client_is_not_late_with_its_keep_alive(self, bench):
        tap = limited(bench, "me")
        tap.channel.keepalive = 1.5
        tap.publish("a")
        bench.settle()
        tap.feed(PING)
        for _ in range(10):
            bench.later(1.0)
            bench.broker.registry.check(tap.channel, bench.broker.now)  # the sweeper comes first
            bench.settle()
        assert tap.sent() == b"\xd0\x00"
        assert not tap.channel.closing

    def test_clients_that_leave_while_paused_are_forgotten(self, bench):
        """Long debts, and a new client each time: what waits for the end of a pause must not pile up."""
        for number in range(300):
            tap = limited(bench, f"c{number}")
            tap.publish("a")
            bench.settle()
            assert len(bench.turn.pauses) == 1
            bench.turn.drop(tap.link, "closed")
        assert len(bench.turn.pauses) == 0
        assert bench.turn.pauses.next() is None


class TestFairness:
    def test_a_share_at_a_time(self, bench):
        """Two clients with thousands of packets in their buffers, and one with a single packet behind them."""
        floods = [bench.client(f"flood{number}") for number in range(2)]
        canary = bench.client("canary")
        for flood in floods:
            flood.link.size = 65536
            flood.feed(PING * 30_000)
        canary.feed(PING)
        bench.real = 0.0
        ticks = iter(range(10_000))
        bench.turn.clock = lambda: next(ticks) * 0.001  # each look at the clock is a millisecond later
        bench.round()
        assert canary.sent() == b"\xd0\x00"
        assert all(0 < len(flood.sent()) <= 2 * SHARES * SHARE for flood in floods)

    def test_left_over_work_is_shared_out_in_turn(self, bench):
        """The first of those that were not finished used to take the next turn, and the one after that, alone."""
        floods = [bench.client(f"flood{number}") for number in range(3)]
        for flood in floods:
            flood.link.size = 65536
            flood.feed(PING * 30_000)
        answers = [0, 0, 0]
        for _ in range(10):
            ticks = iter(range(10_000))
            bench.turn.clock = lambda ticks=ticks: next(ticks) * 0.001
            bench.round()
            answers = [count + len(flood.sent()) for count, flood in zip(answers, floods, strict=True)]
        assert max(answers) - min(answers) <= 2 * SHARES * SHARE
        assert min(answers) > 0

    @pytest.mark.parametrize(("receivers", "read"), [(1, 16), (65, 40)])
    def test_few_outboxes_are_written_before_more_sockets_are_read(self, bench, receivers, read):
        """Their owners can then work while we read on; a wide fan-out is cheaper written once."""
        for number in range(receivers):
            bench.client(f"sub{number}", "t")
        publishers = [bench.client(f"pub{number}") for number in range(40)]
        for publisher in publishers:
            publisher.publish("t", b"x")
        bench.round(flush=False)
        assert bench.turn.next_ready == read

    def test_new_events_do_not_wait_for_left_over_work(self, bench):
        flood = bench.client("flood")
        canary = bench.client("canary")
        flood.link.size = 65536
        flood.feed(PING * 30_000)
        ticks = iter(range(10_000))
        bench.turn.clock = lambda: next(ticks) * 0.001
        bench.round()
        assert bench.turn.again
        canary.feed(PING)
        bench.round()
        assert canary.sent() == b"\xd0\x00"

    def test_a_link_that_waits_for_its_outbox_is_not_run_over_and_over(self, bench):
        """A queue that refills the outbox waits for the flush; the turn must not spend its time on asking again."""
        tap = bench.client("me", "t")
        block(bench, tap)
        for _ in range(50):
            bench.broker.publish(Message("t", bytes(500)))
        tap.socket.room = 1_000_000
        looks = 0

        def clock() -> float:
            nonlocal looks
            looks += 1
            return 0.0

        bench.turn.clock = clock
        bench.round(flush=False)
        assert tap.link.again
        assert looks <= 3
        bench.settle()
        assert len(tap.packets()) == 52

    def test_one_message_to_a_thousand_does_not_come_before_each_event(self, bench):
        """It costs as much as all others need: there was one for each of them, so they came a few at a time."""
        receivers = [bench.client(f"sub{number}", "wide", high=1_000_000) for number in range(1000)]
        others = [bench.client(f"other{number}") for number in range(10)]
        flood = wide_flood(bench)
        bench.poll()
        bench.turn.work()
        for _ in range(3):
            sent = flood.link.channel.recv_pkt
            for other in others:
                other.feed(PING)
            tick(bench)
            bench.poll()
            bench.turn.work()
            bench.turn.flush(1.0)
            assert all(other.sent() == b"\xd0\x00" for other in others)
            assert flood.link.channel.recv_pkt == sent, "the others have their answers before it goes on"
            bench.turn.rest()
        bench.turn.clock = lambda: 0.0
        bench.settle()
        assert [len(receiver.packets()) for receiver in receivers] == [50] * 1000
        assert not flood.link.again

    def test_what_goes_to_a_thousand_is_written_between_the_turns_of_others(self, bench):
        """A thousand system calls take as long as a hundred turns of a client that wants one answer."""
        receivers = [bench.client(f"sub{number}", "wide", high=1_000_000) for number in range(1000)]
        other = bench.client("other")
        wide_flood(bench, 1)
        bench.poll()
        bench.turn.work()
        bench.turn.flush(1.0)
        answered = 0
        while bench.turn.busy():
            other.feed(PING)
            bench.poll()
            tick(bench)
            bench.turn.work()
            bench.turn.flush(1.0)
            answered += other.sent() == b"\xd0\x00"
            written = sum(bool(receiver.socket.sent) for receiver in receivers)
            tick(bench)
            bench.turn.rest()
            assert sum(bool(receiver.socket.sent) for receiver in receivers) <= written + 4 * CLOCK_EVERY
        assert answered > 20
        assert all(len(receiver.packets()) == 1 for receiver in receivers)

    def test_heavy_pieces_wait_until_the_last_ones_are_written(self, bench):
        """Else they would pile up in outboxes faster than the kernel is given them."""
        receiver = bench.client("sub", "wide", high=1_000_000)
        for number in range(999):
            bench.client(f"sub{number}", "wide", high=1_000_000)
        wide_flood(bench, 1000)
        most = 0
        while not bench.turn.bulk:
            tick(bench)
            bench.round(flush=False)
        for _ in range(100):
            tick(bench)
            bench.poll()
            bench.turn.work()
            most = max(most, len(receiver.channel.out.parts))
            bench.turn.flush(1.0)
            bench.turn.rest()
        assert 0 < most < 50

    def test_a_wide_fan_out_is_not_starved_by_the_others(self, bench):
        """They keep every turn busy to its end; it has as much time as they."""
        receiver = bench.client("sub", "wide", high=1_000_000)
        for number in range(999):
            bench.client(f"sub{number}", "wide", high=1_000_000)
        busy = bench.client("busy")
        busy.link.size = 65536
        wide_flood(bench, 20)
        for _ in range(60):
            busy.feed(PING * 5000)
            tick(bench)
            bench.poll()
            bench.turn.work()
            bench.turn.flush(1.0)
            bench.turn.rest()
        assert len(receiver.packets()) == 20

    def test_who_connects_or_ends_comes_after_those_who_are_here(self, bench):
        """A connection costs as much as dozens of messages: a flood of them was a pause for everybody else."""
        here = [bench.client(f"here{number}") for number in range(5)]
        ending = [bench.client(f"ending{number}", "t") for number in range(100)]
        coming = [bench.accept() for _ in range(100)]
        for number in range(100):
            ending[number].feed(b"")
            coming[number].feed(connect(f"new{number}"))
        began = ended = 0
        for _ in range(1000):
            for client in here:
                client.feed(PING)
            tick(bench)
            bench.poll()
            bench.turn.work()
            bench.turn.flush(1.0)
            assert all(client.sent() == b"\xd0\x00" for client in here)
            assert (began, ended) == passed(coming, ending)
            bench.turn.rest()
            before, (began, ended) = began + ended, passed(coming, ending)
            assert before <= began + ended <= before + 2 * ENDING, "some of them, then the others again"
            if began + ended == 200:
                break
        assert (began, ended) == (100, 100)
        bench.turn.clock = lambda: 0.0
        bench.settle()
        assert all(tap.sent().startswith(b"\x20") for tap in coming)

    def test_what_somebody_says_before_it_leaves_is_heard(self, bench):
        """Its last words and the end may come in one event."""
        watcher = bench.client("watcher", "t")
        leaving = bench.client("leaving")
        leaving.publish("t", b"last words")
        leaving.feed(b"")
        bench.settle()
        assert watcher.packets()
        assert leaving.socket.closed

    def test_the_shared_limit_is_of_one_share(self, bench):
        assert bench.broker.work_limit == SHARE < WORK_LIMIT


class TestWriting:
    def test_a_flush_ends_although_outboxes_get_dirty_meanwhile(self, bench):
        """A client whose queue refills its outbox as fast as it is written must not hold the pump in `flush`."""
        tap = bench.client("me", "t")
        refills = 0

        def send(data: bytes) -> int:
            nonlocal refills
            refills += 1
            tap.channel.out.put(b"\xd0\x00" * 100)
            return len(data)

        tap.socket.send = send
        tap.channel.out.put(b"\xd0\x00")
        bench.turn.flush(1.0)
        assert refills == SENDS_PER_FLUSH
        assert bench.turn.busy()

    def test_a_flush_out_of_time_leaves_the_rest_to_be_drained(self, bench):
        taps = [bench.client(f"c{number}") for number in range(40)]
        for tap in taps:
            tap.channel.out.put(b"\xd0\x00")
        ticks = iter(range(100))
        bench.turn.clock = lambda: float(next(ticks))
        bench.turn.flush(0.5)
        done = sum(bool(tap.socket.sent) for tap in taps)
        assert 0 < done < 40
        taps[0].channel.out.put(b"\xd0\x00")  # in between
        bench.turn.flush(0.5)
        assert sum(bool(tap.socket.sent) for tap in taps) == done, "only what was added"
        while bench.turn.busy():
            bench.turn.drain(0.5)
        assert [tap.sent() for tap in taps] == [b"\xd0\x00\xd0\x00", *[b"\xd0\x00"] * 39]

    def test_a_receiver_known_to_take_nothing_is_not_tried_again(self, bench):
        tap = bench.client("slow", "t", high=100_000)
        tap.socket.room = 0
        before = len(tap.socket.offered)
        for _ in range(50):
            bench.broker.publish(Message("t", b"x"))
            bench.round()
        assert len(tap.socket.offered) == before + 1
        tap.socket.room = 10_000
        bench.settle()
        assert len([each for each in tap.packets() if isinstance(each, Publish)]) == 50

    def test_a_very_large_packet_goes_out_in_pieces(self, bench):
        """Slicing off what the kernel took costs the rest of the packet each time: quadratic in its size."""
        tap = bench.client("me", "t")
        tap.socket.offered.clear()
        payload = bytes(range(256)) * 20_000
        tap.socket.room = 70_000
        bench.broker.publish(Message("t", payload))
        bench.round()
        while tap.link.backlog():
            tap.socket.room = 70_000
            bench.round()
        assert max(tap.socket.offered) <= 2 * SEND_SIZE
        [packet] = tap.packets()
        assert packet.payload == payload

    def test_a_queue_goes_on_after_the_socket_took_everything(self, bench):
        tap = bench.client("me", "t")
        tap.socket.room = 0
        for number in range(100):
            bench.broker.publish(Message("t", b"%3d" % number * 30))
            bench.round()
        assert tap.channel.session.mqueue
        tap.socket.room = 1_000_000
        bench.settle()
        assert [each.payload[:3] for each in tap.packets()] == [b"%3d" % number for number in range(100)]

    def test_retained_messages_for_a_blocked_client_do_not_keep_the_turn_busy(self, bench):
        for number in range(100):
            bench.broker.publish(Message(f"r/{number}", bytes(500), 0, True))
        tap = bench.client("me")
        tap.socket.room = 0
        bench.broker.subscribe("me", "r/#", SubOpts())
        for _ in range(20):
            bench.round()
        assert not bench.turn.busy()
        tap.socket.room = 1_000_000
        bench.settle()
        assert len(tap.packets()) == 100


class Veil:
    """A layer that marks what passes, says goodbye, and is over then; like TLS without the cryptography."""

    ended = None
    established = True
    transparent = False

    def __init__(self) -> None:
        self.said = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def write(self, data: bytes) -> bytes:
        if self.ended is not None:
            return b""
        return b"<" + data + b">"

    def output(self) -> bytes:
        return b""

    def close(self) -> bytes:
        if self.ended is not None:
            return b""
        self.ended = RuntimeError("closed")
        return b"[bye]"


def veiled(bench: Bench, clientid: str = "me"):
    tap = bench.accept(lambda peer: [Veil()], high=1000)
    tap.feed(connect(clientid))
    bench.settle()
    tap.sent()
    return tap


class TestClosing:
    def test_last_words_are_wrapped_before_the_farewell(self, bench):
        """A layer that has said goodbye wraps nothing any more: what was still in the outbox used to be lost."""
        tap = veiled(bench)
        tap.socket.room = 0
        tap.channel.out.put(b"x" * 3000)
        bench.round()
        tap.channel.close(0x98, "kicked")
        bench.round()
        assert tap.link.close_at > 0.0
        tap.socket.room = 10_000
        bench.settle()
        data = tap.sent()
        assert data.count(b"x") == 3000
        assert data.endswith(b"\xe0\x01\x98>[bye]")
        assert tap.socket.shut
        assert not tap.socket.closed

    def test_the_farewell_is_said_once(self, bench):
        tap = veiled(bench)
        tap.channel.close(0x98, "kicked")
        bench.settle()
        tap.link.out.touch()
        bench.settle()
        assert tap.sent().count(b"[bye]") == 1

    def test_a_peer_that_takes_nothing_is_cut_at_the_deadline(self, bench):
        tap = veiled(bench)
        tap.socket.room = 0
        tap.channel.out.put(b"x" * 3000)
        bench.round()
        tap.channel.close(0x98, "kicked")
        bench.round()
        bench.later(0.9)
        bench.turn.check(tap.link)
        assert not tap.socket.closed
        bench.later(0.2)
        bench.turn.check(tap.link)
        assert tap.socket.closed
        assert bench.ends == ["kicked"]

    def test_a_lingering_peer_is_cut_as_well(self, bench):
        tap = bench.client("me")
        tap.channel.close(0x98, "kicked")
        bench.settle()
        assert tap.socket.shut
        tap.feed(PING)
        bench.settle()
        assert tap.sent() == b"\xe0\x01\x98"  # and no PINGRESP
        bench.later(1.1)
        bench.turn.check(tap.link)
        assert tap.socket.closed

    @pytest.mark.parametrize("held", [PAUSED, QUESTION, FULL])
    def test_a_link_that_is_not_read_notices_the_peer_again_once_it_closes(self, bench, held):
        tap = limited(bench, "me", "t")
        bench.door.asks = held == QUESTION
        if held != PAUSED:
            tap.channel.messages_bucket = None
        if held == FULL:
            block(bench, tap)
        tap.publish("a")
        bench.round()
        assert tap.link.held == held
        tap.channel.close(0x98, "kicked")
        tap.socket.room = 100_000
        bench.settle()
        assert tap.reading()
        tap.feed(b"")
        bench.settle()
        assert tap.socket.closed
        assert bench.ends == ["kicked"]

    def test_disconnect_of_the_client_closes_at_once(self, bench):
        tap = bench.client("me")
        tap.feed(encode(Disconnect(0), 5))
        bench.settle()
        assert tap.socket.closed
        assert bench.ends == ["normal"]

    def test_an_answer_after_the_end_is_nobodys(self, bench):
        tap = bench.client("me")
        bench.door.asks = True
        tap.publish("a")
        bench.settle()
        bench.turn.drop(tap.link, "econnreset")
        bench.turn.answered(tap.link, [True])
        assert bench.crashes == []
        assert bench.broker.metrics.messages_publish == 0

    def test_an_answer_while_closing_changes_nothing(self, bench):
        watcher = bench.client("w", "#")
        tap = bench.client("me")
        bench.door.asks = True
        tap.publish("a")
        bench.settle()
        tap.channel.close(0x98, "kicked")
        bench.turn.answered(tap.link, [True])
        bench.settle()
        assert tap.sent() == b"\xe0\x01\x98"
        assert watcher.packets() == []

    def test_a_link_in_line_for_another_turn_may_end_before_it_comes(self, bench):
        tap = bench.client("me")
        tap.link.size = 65536
        tap.feed(PING * 30_000)
        ticks = iter(range(10_000))
        bench.turn.clock = lambda: next(ticks) * 0.001
        bench.round()
        assert tap.link.again
        bench.turn.drop(tap.link, "econnreset")
        bench.settle()
        assert bench.crashes == []

    def test_ending_one_connection_may_end_another(self, bench):
        """`registry.closed` runs hooks, and a hook may kick: re-entrant, in the middle of a round."""
        other = bench.client("other")

        def kick(client, reason):
            bench.broker.kick("other")

        bench.broker.hooks.client_disconnected = (("plugin", kick),)
        tap = bench.client("me")
        tap.feed(ConnectionResetError())
        bench.settle()
        assert other.sent() == b"\xe0\x01\x98"
        assert bench.ends == ["econnreset"]
        bench.later(2.0)
        bench.turn.check(other.link)
        assert bench.ends == ["econnreset", "kicked"]

    def test_who_takes_nothing_is_cut_by_a_reset(self, bench):
        """A plain close would leave what the kernel has of it, hundreds of kilobytes, to the kernel for minutes."""
        tap = bench.client("slow", "t")
        block(bench, tap)
        bench.later(14.0)
        bench.turn.check(tap.link)
        assert not tap.socket.closed
        bench.later(1.5)
        bench.turn.check(tap.link)
        assert tap.socket.closed
        assert tap.socket.reset
        assert bench.ends == ["timeout"]

    def test_ending_is_idempotent(self, bench):
        tap = bench.client("me")
        bench.turn.drop(tap.link, "closed")
        bench.turn.drop(tap.link, "econnreset")
        tap.channel.close(0, "kicked")
        bench.turn.check(tap.link)
        bench.settle()
        assert bench.ends == ["closed"]

    def test_a_stale_event_for_a_descriptor_that_is_somebody_elses_now(self, bench):
        """Between poll and handling a socket may close and the next accepted one get its number."""
        tap = bench.client("me")
        tap.feed(PING)
        bench.turn.ready = [(tap.link.fd, READ | WRITE)]
        bench.turn.next_ready = 0
        bench.turn.drop(tap.link, "closed")
        bench.poller.sockets.pop(tap.link.fd)
        fresh = bench.accept()
        assert fresh.link.fd == tap.link.fd
        bench.round()
        assert not fresh.link.gone
        assert bench.crashes == []


class TestCrashes:
    def test_a_layer_that_crashes_while_writing_ends_its_connection_alone(self, bench):
        """An exception out of `flush` used to end the pump."""
        tap = veiled(bench)
        other = bench.client("other")

        def broken(data: bytes) -> bytes:
            raise RuntimeError("bug in a layer")

        tap.link.transport.layers[0].write = broken
        tap.feed(PING)
        other.feed(PING)
        bench.settle()
        assert [str(error) for error in bench.crashes] == ["bug in a layer"]
        assert bench.ends == ["internal_error"]
        assert other.sent() == b"\xd0\x00"
        assert bench.broker.metrics.connection_crashed == 1

    def test_a_crash_while_reading_ends_its_connection_alone(self, bench):
        tap, other = veiled(bench), bench.client("other")
        tap.link.transport.layers[0].feed = lambda data: 1 / 0
        tap.feed(PING)
        other.feed(PING)
        bench.settle()
        assert len(bench.crashes) == 1
        assert other.sent() == b"\xd0\x00"

    def test_a_crash_on_the_way_out_is_reported_and_the_rest_goes_on(self, bench):
        tap, other = bench.client("me"), bench.client("other")
        tap.channel.will = Message("not/a/#/topic")  # publishing it raises
        tap.feed(b"")
        other.feed(PING)
        bench.settle()
        assert len(bench.crashes) == 1
        assert bench.ends == ["tcp_closed"]
        assert other.sent() == b"\xd0\x00"

    def test_a_crash_in_the_middle_of_a_turn_is_not_met_again(self, bench):
        """Should something crash that nothing guards, the supervisor runs the pump again: with the next event."""
        tap, other = bench.client("me"), bench.client("other")
        bench.turn.ended = lambda link, reason: 1 / 0
        tap.feed(b"")
        other.feed(PING)
        with pytest.raises(ZeroDivisionError):
            bench.round()
        bench.settle()
        assert other.sent() == b"\xd0\x00"
