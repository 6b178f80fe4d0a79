"""`/clients`: lists with filters and pages, look-ups, kick, ACL cache, limits, keep-alive."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import trio

from trioemqx.testing import Closed, TestBroker


async def ids(broker: TestBroker, query: str) -> list[str]:
    return [row["clientid"] for row in (await broker.api("GET", f"/clients?{query}")).data]


async def test_a_client_is_shown_with_every_field(broker: TestBroker) -> None:
    """GET /clients/{clientid} GET /nodes/{node}/clients/{clientid}"""
    client = await broker.client("c/1", username="u", keepalive=60, version=4)
    await client.subscribe("a/#", qos=1)
    (row,) = (await broker.api("GET", "/clients/c%2F1")).data
    assert (row["clientid"], row["username"], row["proto_name"], row["proto_ver"]) == ("c/1", "u", "MQTT", 4)
    assert (row["connected"], row["keepalive"], row["subscriptions_cnt"]) == (True, 60, 1)
    assert row["mountpoint"] == "undefined"
    assert "disconnected_at" not in row
    assert len(row) == 47
    node = broker.node.node
    assert (await broker.api("GET", f"/nodes/{node}/clients/c%2F1")).data[0]["clientid"] == "c/1"
    assert (await broker.api("GET", "/clients/nobody")).data == []
    assert (await broker.api("GET", f"/nodes/{node}/clients/nobody")).data == []


async def test_a_list_counts_and_pages(broker: TestBroker) -> None:
    """GET /clients GET /nodes/{node}/clients"""
    for number in range(5):
        await broker.client(f"c{number}", username="even" if number % 2 == 0 else "odd")
    answer = await broker.api("GET", "/clients?_page=2&_limit=2")
    assert [row["clientid"] for row in answer.data] == ["c2", "c3"]
    assert answer.json()["meta"] == {"page": 2, "limit": 2, "count": 5, "hasnext": True}
    answer = await broker.api("GET", f"/nodes/{broker.node.node}/clients?username=even&_limit=2")
    assert [row["clientid"] for row in answer.data] == ["c0", "c2"]
    assert answer.json()["meta"] == {"page": 1, "limit": 2, "count": -1, "hasnext": True}
    assert (await broker.api("GET", "/clients?_page=9")).data == []
    assert (await broker.api("GET", "/clients?_page=0&_limit=1")).json()["meta"]["page"] == 0
    assert (await broker.api("GET", "/clients?_limit=0")).json()["meta"]["hasnext"] is True


async def test_filters(broker: TestBroker) -> None:
    """GET /clients"""
    await broker.client("alpha", username="ann", version=4)
    beta = await broker.client("beta", username="bob", clean_start=False, expiry=100)
    await beta.disconnect()
    await trio.sleep(1)
    assert await ids(broker, "conn_state=connected") == ["alpha"]
    assert await ids(broker, "conn_state=disconnected") == ["beta"]
    assert await ids(broker, "proto_ver=4") == ["alpha"]
    assert await ids(broker, "_like_clientid=et&_like_username=o") == ["beta"]
    assert await ids(broker, "clean_start=false") == ["beta"]
    assert await ids(broker, "ip_address=127.0.0.1") == ["alpha", "beta"]
    assert await ids(broker, "_gte_created_at=0&_lte_created_at=1") == []
    assert await ids(broker, "unknown=1") == ["alpha", "beta"]
    (row,) = (await broker.api("GET", "/clients/beta")).data
    assert row["connected"] is False
    assert row["disconnected_at"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("proto_ver=abc", 'Can\'t convert <<"abc">> to integer type'),
        ("_gte_created_at=x", 'Can\'t convert <<"x">> to timestamp type'),
        ("ip_address=::1", 'Can\'t convert <<"::1">> to ip type'),
        ("_page=abc", 'Can\'t convert <<"abc">> to integer type'),
        ("_limit=-1", 'Can\'t convert <<"-1">> to integer type'),
        ("_limit=99999999999999999999", 'Can\'t convert <<"99999999999999999999">> to integer type'),
    ],
)
async def test_what_cannot_be_converted(broker: TestBroker, query: str, message: str) -> None:
    """GET /clients"""
    answer = await broker.api("GET", f"/clients?{query}")
    assert (answer.status, answer.json()) == (200, {"code": 108, "message": message})


async def test_by_username(broker: TestBroker) -> None:
    """GET /clients/username/{username} GET /nodes/{node}/clients/username/{username}"""
    await broker.client("one", username="ann/x")
    await broker.client("two", username="ann/x")
    await broker.client("three")
    found = (await broker.api("GET", "/clients/username/ann%2Fx")).data
    assert [row["clientid"] for row in found] == ["one", "two"]
    assert len((await broker.api("GET", f"/nodes/{broker.node.node}/clients/username/ann%2fx")).data) == 2
    assert (await broker.api("GET", "/clients/username/acl_cache")).data == []


async def test_kick(broker: TestBroker) -> None:
    """DELETE /clients/{clientid}"""
    client = await broker.client("c", clean_start=False, expiry=100)
    assert (await broker.api("DELETE", "/clients/c")).json() == {"code": 0}
    with pytest.raises(Closed):
        await client.message()
    assert (await broker.api("GET", "/clients/c")).data == []
    assert (await broker.api("DELETE", "/clients/c")).json() == {"code": 0}


class TestAclCache:
    """What was decided about a client's topics."""

    @pytest.fixture
    def broker_config(self) -> dict[str, object]:
        return {"modules": {"load": ["emqx_mod_acl_internal"]}, "acl_file": "etc/acl.toml"}

    async def test_cache(self, broker: TestBroker) -> None:
        """GET /clients/{clientid}/acl_cache DELETE /clients/{clientid}/acl_cache"""
        client = await broker.client("c")
        await client.publish("t/1", b"x")
        await client.subscribe("t/2")
        rows = (await broker.api("GET", "/clients/c/acl_cache")).data
        assert sorted((row["access"], row["topic"], row["result"]) for row in rows) == [
            ("publish", "t/1", "allow"),
            ("subscribe", "t/2", "allow"),
        ]
        assert all(abs(row["updated_time"] / 1000 - broker.node.wall()) < 60 for row in rows)
        assert (await broker.api("DELETE", "/clients/c/acl_cache")).json() == {"code": 0}
        assert (await broker.api("GET", "/clients/c/acl_cache")).data == []
        for method in ("GET", "DELETE"):
            answer = await broker.api(method, "/clients/nobody/acl_cache")
            assert answer.json() == {"code": 112, "message": "not_found"}


async def test_rate_limit(broker: TestBroker) -> None:
    """POST /clients/{clientid}/ratelimit DELETE /clients/{clientid}/ratelimit"""
    watcher = await broker.client("watcher", subscribe="t")
    client = await broker.client("c")
    limits = {"conn_messages_in": "2, 2s", "conn_bytes_in": "100KB, 10s"}
    assert (await broker.api("POST", "/clients/c/ratelimit", limits)).json() == {"code": 0}
    began = trio.current_time()
    for number in range(6):
        await client.publish("t", b"%d" % number)
    for number in range(6):
        assert await watcher.message() == ("t", b"%d" % number)
    assert trio.current_time() - began > 2.5
    assert (await broker.api("DELETE", "/clients/c/ratelimit")).json() == {"code": 0}
    began = trio.current_time()
    for _ in range(20):
        await client.publish("t", b"")
        await watcher.message()
    assert trio.current_time() - began < 30
    assert (await broker.api("POST", "/clients/nobody/ratelimit", limits)).code == 112
    assert (await broker.api("DELETE", "/clients/nobody/ratelimit")).code == 112
    assert (await broker.api("POST", "/clients/nobody/ratelimit", {})).json() == {"code": 0}


async def test_quota(broker: TestBroker) -> None:
    """POST /clients/{clientid}/quota DELETE /clients/{clientid}/quota"""
    await broker.client("c")
    assert (await broker.api("POST", "/clients/c/quota", {"conn_messages_routing": "1, 10s"})).json() == {"code": 0}
    assert (await broker.api("DELETE", "/clients/c/quota")).json() == {"code": 0}
    assert (await broker.api("POST", "/clients/x/quota", {"conn_messages_routing": "1, 10s"})).code == 112
    assert (await broker.api("DELETE", "/clients/x/quota")).code == 112


@pytest.mark.parametrize("value", ["", "100", "x, 10s", "100, 10", "0, 1s", "-1, 1s", "1KB 1y", 5, None, [], {}])
async def test_malformed_limits(broker: TestBroker, value: object) -> None:
    """POST /clients/{clientid}/ratelimit POST /clients/{clientid}/quota"""
    await broker.client("c")
    assert (await broker.api("POST", "/clients/c/ratelimit", {"conn_bytes_in": value})).code == 108
    assert (await broker.api("POST", "/clients/c/quota", {"conn_messages_routing": value})).code == 108


async def test_keepalive(broker: TestBroker) -> None:
    """PUT /clients/{clientid}/keepalive"""
    await broker.client("c", keepalive=10)
    assert (await broker.api("PUT", "/clients/c/keepalive?interval=1000", {"interval": "x"})).json() == {"code": 0}
    assert (await broker.api("GET", "/clients/c")).data[0]["keepalive"] == 1000
    await trio.sleep(600)
    assert (await broker.api("GET", "/clients/c")).data[0]["connected"] is True
    assert (await broker.api("PUT", "/clients/c/keepalive", {})).json() == {"code": 107, "message": "params_not_found"}
    for wrong in ("x", 1.5, True, None, []):
        assert (await broker.api("PUT", "/clients/c/keepalive", {"interval": wrong})).code == 108
    for wrong in (-1, 65536, 10**30):
        assert (await broker.api("PUT", "/clients/c/keepalive", {"interval": wrong})).code == 102
    assert (await broker.api("PUT", "/clients/nobody/keepalive", {"interval": 5})).code == 112


async def test_odd_names(broker: TestBroker) -> None:
    """GET /clients/{clientid}"""
    for name in ("a b", "a%b", "häß", "+#", '"', "{}", "..", "username"):
        await broker.client(name)
        assert (await broker.api("GET", f"/clients/{quote(name, safe='')}")).data[0]["clientid"] == name
    await broker.client(".")
    for name in (".", ".."):  # what a browser takes out of an address, unless it is escaped twice
        twice = quote(name.replace(".", "%2E"), safe="")
        assert (await broker.api("GET", f"/clients/{twice}")).data[0]["clientid"] == name
    assert (await broker.api("DELETE", "/clients/%252E%252e")).code == 0
    assert (await broker.api("GET", "/clients/..")).data == []
    for path in ("/clients/%", "/clients/%zz", "/clients/%ff", "/clients/a%2"):
        answer = await broker.api("GET", path)
        assert (answer.status, answer.body) == (400, b"")
    assert (await broker.api("GET", "/clients/%00")).data == []
