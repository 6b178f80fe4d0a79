"""Roles and groups: who is asked first, what a change does, what may not be, what a restart and an export keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from emqx_auth_mnesia.roles import MAX_NAME, MAX_SIZE
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from trioemqx.plugin import ClientInfo, PluginError
from trioemqx.testing import Client, TestBroker

NAME = "emqx_auth_mnesia"
DENIED = 0x87
HOSTILE = ['<img src=x onerror="x">', "a/b", "%2F", "ü中", "#", "+", "$all", " ", "x" * MAX_NAME, "'; --", "..."]


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"auth": {"mnesia": getattr(request, "param", {})}}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


def plugin(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


def rules(*lines: str) -> list[dict[str, str]]:
    """Rules written as `t/# pub allow`."""
    return [dict(zip(("topic", "action", "access"), line.split(), strict=True)) for line in lines]


def role(broker: TestBroker, name: str, *lines: str) -> None:
    plugin(broker).roster.add_role(name, "", rules(*lines))


async def member(broker: TestBroker, what: str, owner: str, *names: str) -> None:
    """Add members, written as `clientid c`."""
    members = [tuple(name.split(" ", 1)) for name in names]
    assert await plugin(broker).roster.add_members(what, owner, members) == [""] * len(names)


async def group(broker: TestBroker, name: str, roles: str, *names: str, priority: int = 0) -> None:
    plugin(broker).roster.add_group(name, "", priority, roles.split())
    await member(broker, "groups", name, *names)


async def may(client: Client, action: str, topic: str) -> bool:
    code = await client.publish(topic, qos=1) if action == "publish" else (await client.subscribe(topic))[0]
    assert code in (0, 0x10, DENIED)
    return code != DENIED


async def again(broker: TestBroker) -> None:
    """As after a restart: everything is read from the store."""
    await broker.node.plugins.unload(NAME)
    await broker.node.plugins.load(NAME)


# -- who is asked first ----------------------------------------------------------------------------------------------


async def test_rows_then_direct_roles_then_groups_then_all(broker: TestBroker) -> None:
    """Each step decides where the one before has nothing to say."""
    mine = plugin(broker)
    steps = {topic: number for number, topic in enumerate(["c", "u", "role_c", "role_u", "high", "low", "all"])}

    def says(step: str) -> list[str]:
        """A rule that allows the step's own topic, after a denial for the topics of all later ones."""
        later = [topic for topic, number in steps.items() if number > steps[step]]
        return [f"t/{step}/{topic} pub deny" for topic in later] + [f"t/+/{step} pub allow"]

    for kind, name in (("clientid", "c"), ("username", "u")):
        for line in says(name):
            topic, action, access = line.split()
            assert mine.add_acl(kind, name, topic, action, access) == "ok"
    for name in ("role_c", "role_u", "high", "low"):
        role(broker, name, *says(name))
    await member(broker, "roles", "role_c", "clientid c")
    await member(broker, "roles", "role_u", "username u")
    await group(broker, "A", "low", "clientid c", priority=-1)
    await group(broker, "Z", "high", "username u", priority=7)
    assert mine.add_acl("all", "", "#", "pub", "deny") == "ok"
    client = await broker.client("c", username="u")
    for step, number in steps.items():
        for topic, other in steps.items():
            if step != "all" and topic != "all":
                # The step's own denial comes first for a later topic; an earlier topic is allowed by an earlier step.
                assert await may(client, "publish", f"t/{step}/{topic}") is (other <= number), (step, topic)
    assert not await may(client, "publish", "t/x/all")


async def test_what_comes_first_decides_in_each_step(broker: TestBroker) -> None:
    role(broker, "yes", "t pub allow")
    role(broker, "no", "t pub deny")
    client = await broker.client("c", username="u")
    await group(broker, "b", "yes no", "clientid c")
    assert await may(client, "publish", "t"), "the order of a group's roles"
    await group(broker, "a", "no", "username u")
    assert not await may(client, "publish", "t"), "groups of one priority by name"
    plugin(broker).roster.update_group("b", priority=1)
    assert await may(client, "publish", "t"), "the higher priority"
    await member(broker, "roles", "no", "username u")
    assert not await may(client, "publish", "t"), "held directly"
    await member(broker, "roles", "yes", "username u")
    assert await may(client, "publish", "t"), "what was given last"
    await member(broker, "roles", "no", "clientid c")
    assert not await may(client, "publish", "t"), "the client identifier's before the user name's"
    await broker.ctl("acl add username u t pub allow")
    assert await may(client, "publish", "t"), "rows before roles"
    await again(broker)
    assert await may(client, "publish", "t")
    await broker.ctl("acl del username u t")
    assert not await may(client, "publish", "t")


async def test_within_a_role_the_first_rule_that_fits_decides(broker: TestBroker) -> None:
    role(broker, "r", "t/1 pub deny", "t/# pubsub allow", "# pubsub deny")
    await group(broker, "g", "r", "clientid c")
    client = await broker.client("c")
    assert not await may(client, "publish", "t/1")
    assert await may(client, "subscribe", "t/1")
    assert await may(client, "publish", "t/2")
    assert not await may(client, "publish", "u")
    stranger = await broker.client("stranger")
    assert await may(stranger, "publish", "u"), "nothing changes for who has no groups"


async def test_placeholders_are_the_clients_own(broker: TestBroker) -> None:
    role(broker, "own", "c/%c/# pubsub allow", "u/%u pub allow", "# pubsub deny")
    await group(broker, "g", "own", "clientid me", "clientid +", "clientid nameless")
    client = await broker.client("me", username="alice")
    assert await may(client, "publish", "c/me/deep")
    assert await may(client, "subscribe", "c/me/#")
    assert await may(client, "publish", "u/alice")
    assert not await may(client, "publish", "c/other/x")
    nameless = await broker.client("nameless")
    assert not await may(nameless, "publish", "u/%u")
    wild = await broker.client("+")
    assert not await may(wild, "subscribe", "c/+/#")


async def test_a_wider_filter_does_not_get_round_a_denial(broker: TestBroker) -> None:
    role(broker, "r", "secret/1 sub deny")
    await group(broker, "g", "r", "clientid c")
    client = await broker.client("c")
    for filter in ("secret/1", "secret/#", "#", "$share/g/secret/+"):
        assert not await may(client, "subscribe", filter)
    assert await may(client, "subscribe", "secret/2")


async def test_a_member_by_both_names_has_a_group_once(broker: TestBroker) -> None:
    role(broker, "r", "t pub deny")
    await group(broker, "g", "r", "clientid c", "username u")
    client = await broker.client("c", username="u")
    assert not await may(client, "publish", "t")
    await broker.ctl("acl group clientid del g c")
    assert not await may(client, "publish", "t")
    await broker.ctl("acl group user del g u")
    assert await may(client, "publish", "t")


async def test_a_role_without_rules_and_a_group_without_roles_say_nothing(broker: TestBroker) -> None:
    role(broker, "empty")
    await group(broker, "g", "empty", "clientid c")
    await group(broker, "h", "", "clientid c")
    await broker.ctl("acl add _all t pub deny")
    client = await broker.client("c")
    assert not await may(client, "publish", "t")
    assert await may(client, "publish", "u")


# -- changes ---------------------------------------------------------------------------------------------------------


async def test_every_change_is_felt_at_once(broker: TestBroker) -> None:
    """By a client whose decisions are remembered."""
    roster = plugin(broker).roster
    client = await broker.client("c", username="u")
    expected = True

    async def holds() -> bool:
        return all([await may(client, "publish", "t") is expected for _ in range(2)])

    assert await holds()
    role(broker, "r", "t pub deny")
    await group(broker, "g", "r", "clientid c")
    expected = False
    assert await holds(), "became a member"
    roster.update_role("r", rules=rules("t pub allow"))
    expected = True
    assert await holds(), "the rules of the role"
    role(broker, "no", "t pub deny")
    roster.update_group("g", roles=["no", "r"])
    expected = False
    assert await holds(), "the roles of the group"
    await group(broker, "h", "r", "username u", priority=1)
    expected = True
    assert await holds(), "a group that is asked before"
    roster.update_group("h", priority=-1)
    expected = False
    assert await holds(), "priorities"
    assert await roster.delete_group("g")
    expected = True
    assert await holds(), "the group is gone"
    await member(broker, "roles", "no", "clientid c")
    expected = False
    assert await holds(), "a role of its own"
    assert await roster.remove_members("roles", "no", [("clientid", "c")]) == [""]
    expected = True
    assert await holds(), "taken from it"


async def test_a_role_that_somebody_has_is_not_deleted(broker: TestBroker) -> None:
    role(broker, "r", "t pub deny")
    await group(broker, "g", "r")
    await member(broker, "roles", "r", "clientid c")
    assert await broker.ctl("acl role delete r") == ["Error: groups have this role: g"]
    assert await broker.ctl("acl group delete g") == ["ok"]
    assert await broker.ctl("acl role delete r") == ["Error: clients or users hold this role: 1"]
    assert not await may(await broker.client("c"), "publish", "t")
    assert await broker.ctl("acl role clientid del r c") == ["ok"]
    assert await broker.ctl("acl role delete r") == await broker.ctl("acl role delete r") == ["ok"]
    assert await broker.ctl("acl role list") == []


async def test_a_group_of_the_same_name_has_none_of_the_members_of_one_that_was_deleted(broker: TestBroker) -> None:
    role(broker, "r", "t pub deny")
    names = [f"clientid c{number}" for number in range(2500)]
    await group(broker, "g", "r", *names)
    await group(broker, "other", "", "clientid c0")
    roster = plugin(broker).roster
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roster.delete_group, "g")
        while "g" in roster.groups:
            await trio.lowlevel.checkpoint()
        assert roster.members.among("groups", "g"), "the last of them are still being taken out"
        assert await may(await broker.client("c2499"), "publish", "t"), "the group decides nothing any more"
        assert "just being deleted" in (await broker.ctl("acl group create g"))[0]
    for _ in range(2):
        assert list(roster.members.held) == [("clientid", "c0")]
        await again(broker)
        roster = plugin(broker).roster
    await group(broker, "g", "r", "clientid c1")
    await again(broker)
    assert await broker.ctl("acl group members g") == ['clientid = <<"c1">>']


async def everything(broker: TestBroker) -> list[str]:
    """What is there, in an order of its own."""
    return sorted(repr(row) for rows in (await exported(broker)).values() for row in rows)


async def test_all_of_it_survives_reload_and_restart(broker: TestBroker) -> None:
    for number, name in enumerate(HOSTILE):
        role(broker, name, "%c/1 pub deny", "t/# sub allow")
        await group(broker, name, "", f"clientid {name}", f"username {name}", priority=number)
        plugin(broker).roster.update_group(name, f"about {name}", None, [name])
        await member(broker, "roles", name, f"username {name}")
    before = await everything(broker)
    assert len(before) == 4 * len(HOSTILE)
    for restart in (False, True):
        await (again(broker) if restart else broker.reload_plugin(NAME))
        assert await everything(broker) == before
        for name in HOSTILE:
            assert list(plugin(broker).roster.members.among("roles", name)) == [("username", name)]
            assert plugin(broker).roster.check(ClientInfo(name), "subscribe", "t/1") is True


async def test_members_can_be_changed_after_a_reload(broker: TestBroker) -> None:
    role(broker, "r", "t pub deny")
    await group(broker, "g", "r", "clientid c")
    client = await broker.client("c")
    assert not await may(client, "publish", "t")
    before = plugin(broker)
    await broker.reload_plugin(NAME)
    assert plugin(broker) is not before
    assert not await may(client, "publish", "t")
    before.roster.update_role("r", rules=rules("t pub allow"))  # what was under way in the old one still counts
    assert await may(client, "publish", "t")
    await broker.ctl("acl group clientid del g c")
    await again(broker)
    assert await broker.ctl("acl group members g") == []


# -- the store -------------------------------------------------------------------------------------------------------

SECTIONS = ("acl_roles", "acl_groups", "acl_members")
GOOD_RULE = {"topic": "t", "action": "pub", "access": "deny"}


@pytest.mark.parametrize(
    ("table", "row", "words"),
    [
        ("acl_roles", {"name": "r"}, "broken role"),
        ("acl_roles", {"name": "r", "rules": [{**GOOD_RULE, "access": "perhaps"}], "created_at": 1}, "broken role"),
        ("acl_groups", {"name": "g", "priority": 1.5, "roles": [], "created_at": 1}, "broken group"),
        ("acl_groups", {"name": "g", "roles": ["gone"], "created_at": 1}, "there is no role gone"),
        ("acl_members", {"type": "peerhost", "login": "x"}, "broken member"),
        ("acl_members", {"type": "clientid", "login": "c", "groups": ["gone"], "roles": []}, "groups gone"),
        ("acl_members", {"type": "clientid", "login": "c", "groups": [], "roles": ["gone"]}, "roles gone"),
    ],
)
async def test_what_cannot_be_read_keeps_everybody_out(
    broker: TestBroker, table: str, row: dict[str, object], words: str
) -> None:
    """It may be what keeps somebody out."""
    await broker.node.plugins.unload(NAME)
    broker.node.store.put(f"{NAME}_{table}", "x", {"key": "x", "row": row})
    with pytest.raises(PluginError, match=words):
        await broker.node.plugins.load(NAME)


@settings(max_acl_rules_per_role=3, max_acl_roles=2, max_acl_roles_each=2, max_acl_groups=2, max_acl_members=3,
          max_acl_groups_per_member=1)  # fmt: skip
async def test_everything_is_bounded(broker: TestBroker) -> None:
    full = "Error: full, auth.mnesia."
    for name in ("a", "b"):
        assert await broker.ctl(f"acl role create {name}") == ["ok"]
        assert await broker.ctl(f"acl group create {name}") == ["ok"]
    assert await broker.ctl("acl role create c") == [f"{full}max_acl_roles is 2"]
    assert await broker.ctl("acl group create c") == [f"{full}max_acl_groups is 2"]
    for topic in ("1", "2", "3"):
        assert await broker.ctl(f"acl role rule add a {topic} pub allow") == ["ok"]
    assert await broker.ctl("acl role rule add a 4 pub allow") == [f"{full}max_acl_rules_per_role is 3"]
    for name in ("1", "2", "3"):
        assert await broker.ctl(f"acl group clientid add a {name}") == ["ok"]
    assert await broker.ctl("acl group user add a 1") == [f"{full}max_acl_members is 3"]
    assert await broker.ctl("acl group clientid add b 1") == [f"{full}max_acl_groups_per_member is 1"]
    assert await broker.ctl("acl role clientid add a 1") == ["ok"], "known already"
    rows = [{"type": "clientid", "login": "4", "groups": ["a"]}]
    with pytest.raises(PluginError, match="max_acl_members is 3"):
        await plugin(broker).import_data({"acl_members": rows})
    assert len(plugin(broker).roster.members.held) == 3


@settings(max_acl_roles_each=1)
async def test_roles_of_one_are_bounded(broker: TestBroker) -> None:
    for name in ("a", "b"):
        role(broker, name)
    plugin(broker).roster.add_group("g", roles=["a"])
    assert await broker.ctl("acl group role add g b") == ["Error: full, auth.mnesia.max_acl_roles_each is 1"]
    await member(broker, "roles", "a", "clientid c")
    assert await broker.ctl("acl role clientid add b c") == ["Error: full, auth.mnesia.max_acl_roles_each is 1"]


async def test_a_lowered_limit_removes_nothing(broker: TestBroker) -> None:
    role(broker, "r", *(f"t/{number} pub deny" for number in range(5)))
    await group(broker, "g", "r", "clientid c")
    assert plugin(broker).roster.limits.rules == 100
    await broker.node.plugins.unload(NAME)
    many = [{**GOOD_RULE, "topic": f"t/{number}"} for number in range(150)]
    row = {"name": "many", "description": "", "rules": many, "created_at": 1}
    broker.node.store.put(f"{NAME}_acl_roles", "many", {"key": "many", "row": row})
    await broker.node.plugins.load(NAME)
    assert plugin(broker).roster.roles.keys() == {"r", "many"}
    assert await broker.ctl("acl role rule add many x pub deny") == [
        "Error: full, auth.mnesia.max_acl_rules_per_role is 100"
    ]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "x" * (MAX_NAME + 1), "a\nb", "\0", "a\u202eb", "\ud800", None, 5, ["a"]]
)
async def test_names_that_may_not_be(broker: TestBroker, name: object) -> None:
    roster = plugin(broker).roster
    for add in (roster.add_role, roster.add_group):
        with pytest.raises(PluginError, match="a name has 1 to 128 printable characters"):
            add(name)
    assert not roster.roles
    assert not roster.groups


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([{**GOOD_RULE, "topic": "a/#/b"}], "rule 1: not a topic filter"),
        ([GOOD_RULE, {**GOOD_RULE, "topic": ""}], "rule 2: not a topic filter"),
        ([{**GOOD_RULE, "topic": "\ud800"}], "rule 1: not a topic filter"),
        ([{**GOOD_RULE, "action": "publish"}], "rule 1: the action is pub, sub or pubsub"),
        ([{**GOOD_RULE, "action": ["pub"]}], "rule 1: the action"),
        ([{**GOOD_RULE, "access": True}], "rule 1: the access is allow or deny"),
        (["t"], "rule 1"),
        ({"1": GOOD_RULE}, "rules are a list"),
        ("t", "rules are a list"),
        ([{**GOOD_RULE, "topic": "x" * 60_000}] * 4, f"more than {MAX_SIZE} bytes"),
    ],
)
async def test_rules_that_may_not_be(broker: TestBroker, given: object, words: str) -> None:
    roster = plugin(broker).roster
    with pytest.raises(PluginError, match=words):
        roster.add_role("r", "", given)
    role(broker, "r", "t pub deny")
    with pytest.raises(PluginError, match=words):
        roster.update_role("r", rules=given)
    assert roster.roles["r"][1] == (("t", "pub", "deny"),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"roles": ["gone"]}, "there is no role gone"),
        ({"roles": ["r", "r"]}, "a role is there twice"),
        ({"roles": "r"}, "roles are a list"),
        ({"roles": [["r"]]}, "a name has"),
        ({"priority": 1.5}, "a priority is a whole number"),
        ({"priority": True}, "a priority is a whole number"),
        ({"priority": 10**9}, "a priority is a whole number"),
        ({"description": "x" * 2000}, "a description is a text"),
        ({"description": "\ud800"}, "a description is a text"),
    ],
)
async def test_groups_that_may_not_be(broker: TestBroker, given: dict[str, object], words: str) -> None:
    role(broker, "r")
    roster = plugin(broker).roster
    with pytest.raises(PluginError, match=words):
        roster.add_group("g", **given)
    await group(broker, "g", "r", priority=3)
    before = roster.groups["g"]
    with pytest.raises(PluginError, match=words):
        roster.update_group("g", **given)
    assert roster.groups["g"] == before


# -- export and import -----------------------------------------------------------------------------------------------


async def exported(broker: TestBroker) -> dict[str, list[dict[str, object]]]:
    """The three sections, as JSON has them."""
    found = {section: [row async for row in plugin(broker).export_rows(section)] for section in SECTIONS}
    copy: dict[str, list[dict[str, object]]] = json.loads(json.dumps(found))
    return copy


async def test_export_and_import(broker: TestBroker) -> None:
    role(broker, "r", "%c/# pubsub allow", "# pubsub deny")
    await group(broker, "g", "r", "clientid c1", "username u", priority=3)
    await member(broker, "roles", "r", "clientid c2")
    data = await exported(broker)
    assert data["acl_groups"][0]["priority"] == 3
    assert data["acl_members"][0] == {"type": "clientid", "login": "c1", "groups": ["g"], "roles": []}
    plugin(broker).roster.update_role("r", rules=[])
    await plugin(broker).roster.delete_group("g")
    role(broker, "stays", "t pub deny")
    await group(broker, "later", "stays", "clientid c1", "clientid c3")
    client = await broker.client("c1")
    assert await may(client, "publish", "x")
    await plugin(broker).import_data({"version": "4.4", **data})
    assert not await may(client, "publish", "x")
    await again(broker)
    assert not await may(client, "publish", "x")
    assert await may(client, "publish", "c1/x")
    after = await exported(broker)
    assert [row for row in after["acl_roles"] if row["name"] == "r"] == data["acl_roles"]
    assert {row["login"]: row["groups"] for row in after["acl_members"]} == {
        "c1": ["g"], "u": ["g"], "c2": [], "c3": ["later"],
    }  # fmt: skip


async def test_an_export_is_of_one_moment(broker: TestBroker) -> None:
    """What is added, or still being taken out, while it is written makes no file that cannot be imported."""
    role(broker, "r", "t pub deny")
    await group(broker, "g", "r", *(f"clientid c{number}" for number in range(2500)))
    await group(broker, "stays", "r", "clientid c2499")
    roster = plugin(broker).roster
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roster.delete_group, "g")
        while "g" in roster.groups:
            await trio.lowlevel.checkpoint()
        found = plugin(broker).export_roster()
        assert len(found["acl_members"]) > 1000
        role(broker, "later", "t pub deny")
        await group(broker, "latest", "later", "clientid c2499")
        data = {section: [row async for row in plugin(broker).export_rows(section, found)] for section in SECTIONS}
    assert [row["name"] for row in data["acl_roles"] + data["acl_groups"]] == ["r", "stays"]
    await plugin(broker).import_data(data)
    assert plugin(broker).roster.members.held == {("clientid", "c2499"): (("stays",), ())}


GOOD = {
    "acl_roles": [{"name": "r", "rules": [GOOD_RULE]}],
    "acl_groups": [{"name": "g", "roles": ["r"]}],
    "acl_members": [{"type": "clientid", "login": "c", "groups": ["g"], "roles": ["r"]}],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"acl_roles": {}}, "acl_roles: expected a list"),
        ({"acl_roles": [{"name": "r", "rules": [GOOD_RULE, {}]}]}, r"acl_roles\[0\]: rule 2"),
        ({"acl_roles": [{"name": "..", "rules": []}]}, r"acl_roles\[0\]: a name has"),
        ({"acl_roles": [{"name": "r", "rules": [], "created_at": "x"}]}, r"acl_roles\[0\]: .*created_at"),
        ({"acl_roles": []}, "there is no role r"),
        ({"acl_groups": [{"name": "g", "roles": ["r", "s"]}]}, "there is no role s"),
        ({"acl_groups": [5]}, r"acl_groups\[0\]: expected an object"),
        ({"acl_groups": []}, "clientid c has g, which there is not"),
        ({"acl_members": [{"type": "all", "login": "c"}]}, r"acl_members\[0\]: a member is"),
        ({"acl_members": [{"type": "clientid", "login": ""}]}, r"acl_members\[0\]: a member is"),
        ({"acl_members": [{"type": "clientid", "login": "c", "groups": ["g", "g"]}]}, "different names"),
        ({"acl_mnesia": [{"type": "all", "topic": "#", "action": "x", "access": "deny"}]}, r"acl_mnesia\[0\]"),
    ],
)
async def test_an_import_that_is_wrong_changes_nothing(
    broker: TestBroker, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(PluginError, match=words):
        await plugin(broker).import_data({**GOOD, **changes})
    assert await exported(broker) == {"acl_roles": [], "acl_groups": [], "acl_members": []}
    await plugin(broker).import_data(GOOD)
    assert not await may(await broker.client("c"), "publish", "t")


# -- how much it costs -----------------------------------------------------------------------------------------------


async def test_a_check_looks_at_its_own_groups_only(broker: TestBroker) -> None:
    """However many groups and members there are; steps are counted, not time."""
    role(broker, "r", "t pub deny")
    for number in range(200):
        await group(broker, f"g{number}", "r", *(f"clientid c{number}-{other}" for other in range(20)))
    roster = plugin(broker).roster

    class Counted(dict[Any, Any]):
        asked = 0

        def __getitem__(self, key: object) -> Any:
            Counted.asked += 1
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("a scan")

        items = values = keys = __iter__  # type: ignore[assignment]

    kept = roster.groups, roster.members.held, roster.roles
    roster.groups, roster.members.held, roster.roles = (Counted(table) for table in kept)
    assert roster.check(ClientInfo("c7-7", "u"), "publish", "t") is False
    assert roster.check(ClientInfo("nobody", "u"), "publish", "t") is None
    assert 0 < Counted.asked < 10
    roster.groups, roster.members.held, roster.roles = kept


TOPICS = st.lists(st.sampled_from(["a", "b", "%c", "+"]), min_size=1, max_size=3).map("/".join)
ROLES = st.lists(st.tuples(TOPICS, st.sampled_from(["allow", "deny"])), max_size=3)


@examples(deadline=None, max_examples=60)
@given(st.lists(ROLES, min_size=1, max_size=4), st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3))
def test_roles_one_after_the_other_are_one_long_role(roles: list[list[tuple[str, str]]], levels: list[str]) -> None:
    from emqx_auth_mnesia.acl import Ready

    client, topic = ClientInfo("c"), "/".join(levels)
    whole = Ready((filter, "pub", access) for one in roles for filter, access in one)
    parts = [Ready((filter, "pub", access) for filter, access in one) for one in roles]
    answers = [part.check(client, "publish", topic) for part in parts]
    assert whole.check(client, "publish", topic) == next((one for one in answers if one is not None), None)


# -- commands --------------------------------------------------------------------------------------------------------


async def test_commands(broker: TestBroker) -> None:
    assert await broker.ctl("acl role list") == await broker.ctl("acl group list") == []
    assert await broker.ctl("acl role create meter") == ["ok"]
    assert await broker.ctl("acl role create meter") == ["Error: there is one of this name already"]
    assert await broker.ctl("acl role rule add meter # pubsub deny") == ["ok"]
    assert await broker.ctl("acl role rule add meter m/%c/# pub allow 1") == ["ok"]
    assert await broker.ctl("acl role rule add meter t pub perhaps") == ["Error: rule 3: the access is allow or deny"]
    assert await broker.ctl("acl role rule add meter t pub deny 4") == ["Error: there are 2 rules"]
    shown = [
        'Role(<<"meter">> description = <<"">>)',
        '  1: topic = <<"m/%c/#">> action = pub access = allow',
        '  2: topic = <<"#">> action = pubsub access = deny',
    ]
    assert await broker.ctl("acl role show meter") == await broker.ctl("acl role list") == shown
    assert await broker.ctl("acl role show gone") == ["Error: there is no such role"]
    assert await broker.ctl("acl group create meters 5") == ["ok"]
    assert await broker.ctl("acl group create meters x") == ["Error: Priority is a whole number"]
    assert await broker.ctl("acl group role add meters gone") == ["Error: there is no role gone"]
    assert await broker.ctl("acl group role add meters meter") == ["ok"]
    assert await broker.ctl("acl group clientid add meters m1") == ["ok"]
    assert await broker.ctl("acl group clientid add meters m1") == ["ok"]
    assert await broker.ctl("acl group user add meters u1") == ["ok"]
    assert await broker.ctl("acl group user add gone u1") == ["Error: there is no such group"]
    assert await broker.ctl("acl group list") == [
        'Group(<<"meters">> priority = 5 roles = [<<"meter">>] description = <<"">>)'
    ]
    assert await broker.ctl("acl group members meters") == ['clientid = <<"m1">>', 'username = <<"u1">>']
    client = await broker.client("m1")
    assert await may(client, "publish", "m/m1/x")
    assert not await may(client, "publish", "m/m2/x")
    assert await broker.ctl("acl role rule del meter 2") == ["ok"]
    assert await may(client, "publish", "m/m2/x")
    assert await broker.ctl("acl role rule del meter 2") == ["Error: there are 1 rules"]
    assert await broker.ctl("acl group role del meters meter") == ["ok"]
    assert await broker.ctl("acl role user add meter u1") == ["ok"]
    assert await broker.ctl("acl role members meter") == ['username = <<"u1">>']
    assert await broker.ctl("acl role user del meter u1") == ["ok"]
    assert await broker.ctl("acl group members gone") == ["Error: there is no such group"]
    assert json.loads("\n".join(await broker.ctl("--json acl group members meters"))) == [
        {"clientid": "m1"},
        {"username": "u1"},
    ]


async def test_the_order_of_a_clients_roles_can_be_looked_at(broker: TestBroker) -> None:
    for name in ("a", "b", "c"):
        role(broker, name)
    await group(broker, "low", "a b", "clientid x", priority=-1)
    await group(broker, "high", "c a", "username u")
    await member(broker, "roles", "b", "username u")
    assert await broker.ctl("acl member show x u") == [
        'groups = [<<"high">>,<<"low">>]',
        'roles = [<<"b">>,<<"c">>,<<"a">>]',
    ]
    assert await broker.ctl("acl member show x") == ['groups = [<<"low">>]', 'roles = [<<"a">>,<<"b">>]']
    assert await broker.ctl("acl member show u") == ["groups = []", "roles = []"]


async def test_commands_are_in_the_audit_log_with_whom_they_are_about(broker: TestBroker) -> None:
    await broker.ctl("acl group create night")
    await broker.ctl("acl group clientid add night c1")
    paths = [deed.path for deed in broker.node.audit.deeds()]
    assert paths[:2] == ["acl group clientid add night c1", "acl group create night"]
