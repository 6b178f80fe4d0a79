"""`config check`, `config show` and `version`, and the exit codes of a start that cannot be."""

from __future__ import annotations

import json
import socket

import pytest
from broker_process import OPEN, TCP, BrokerProcess, command

import trioemqx

BROKEN = [
    pytest.param(
        OPEN + "[zone.default]\nmax_inflght = 5\n" + TCP,
        "broker.toml:4: zone.default.max_inflght: unknown key (did you mean max_inflight?)",
        id="unknown-key",
    ),
    pytest.param(
        OPEN + '[zone.default]\n\nmax_inflight = "many"\n' + TCP,
        "broker.toml:5: zone.default.max_inflight: ",
        id="wrong-type",
    ),
    pytest.param(OPEN + "[listener.tcp\n", "broker.toml:3: ", id="bad-toml"),
    pytest.param(OPEN + "[listener.tpc]\nmain = 1883\n", "listener.tpc: unknown key (did you mean tcp?)", id="table"),
    pytest.param(
        OPEN + '[listener.tcp.main]\nbind = "127.0.0.1:0"\nzone = "elsewhere"\n',
        "broker.toml:5: listener.tcp.main.zone: there is no zone 'elsewhere'",
        id="unknown-zone",
    ),
]


@pytest.mark.parametrize(("config", "line"), BROKEN)
def test_a_bad_configuration_is_one_line_and_78(launch, config, line):
    broker = launch(config)

    assert broker.wait_end() == 78
    assert len(broker.lines) == 1
    assert broker.lines[0].startswith("trioemqx: ")
    assert line in broker.lines[0]
    assert not (broker.folder / "data").exists()

    checked = command("config", "check", "-c", "broker.toml", cwd=broker.folder, code=78)
    assert checked.stdout == ""
    assert checked.stderr == broker.lines[0].removeprefix("trioemqx: ") + "\n"


def test_every_mistake_is_told_at_once(launch):
    broker = launch(
        OPEN + "acl_nomtach = 1\n[zone.default]\nmax_inflight = -1\n" + TCP, env={"EMQX_LOG__LEVEL": "loud"}
    )

    assert broker.wait_end() == 78
    assert len(broker.lines) == 3
    assert "broker.toml:3: acl_nomtach: unknown key (did you mean acl_nomatch?)" in broker.output
    assert "broker.toml:5: zone.default.max_inflight: " in broker.output
    assert "environment EMQX_LOG__LEVEL: log.level: " in broker.output


def test_a_missing_configuration_file_is_78(tmp_path):
    done = command("start", "-c", "missing.toml", cwd=tmp_path, code=78)

    assert done.stderr == "trioemqx: missing.toml: cannot be read: No such file or directory\n"


def _closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_71_and_nothing_is_half_started(launch):
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        broker = launch(OPEN + f'[listener.tcp]\nfirst = "127.0.0.1:{other}"\nsecond = "127.0.0.1:{port}"\n')

        assert broker.wait_end() == 71
        assert broker.output == f"trioemqx: listener.tcp.second: 127.0.0.1:{port} is in use"
        assert _closed(other)


@pytest.mark.parametrize("content", [None, "this is no certificate"], ids=["missing", "garbage"])
def test_an_unreadable_certificate_is_71(launch, tmp_path, content):
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_text(content)
    broker = launch(
        OPEN + TCP + f'[listener.ssl.main]\nbind = "127.0.0.1:0"\nkeyfile = "{file}"\ncertfile = "{file}"\n'
    )

    assert broker.wait_end() == 71
    assert len(broker.lines) == 1
    assert broker.lines[0].startswith(f"trioemqx: listener.ssl.main: certfile/keyfile {file}")


def test_config_check_accepts_what_starts_and_names_missing_files(tmp_path):
    (tmp_path / "good.toml").write_text(OPEN + TCP)
    (tmp_path / "bad.toml").write_text(
        OPEN + '[listener.ssl.main]\nbind = 8883\nkeyfile = "k.pem"\ncertfile = "c.pem"\n'
    )

    assert command("config", "check", "-c", "good.toml", cwd=tmp_path).stdout == "good.toml is ok\n"
    assert command("config", "check", cwd=tmp_path).stdout == "shipped values is ok\n"
    answer = json.loads(command("config", "check", "-c", "bad.toml", "--json", cwd=tmp_path, code=78).stdout)
    assert answer["ok"] is False
    assert answer["errors"] == [
        "bad.toml:5: listener.ssl.main.keyfile: k.pem does not exist",
        "bad.toml:6: listener.ssl.main.certfile: c.pem does not exist",
    ]


def test_config_show_tells_where_each_value_comes_from(tmp_path):
    (tmp_path / "a.toml").write_text(
        OPEN + '[zone.default]\nmax_inflight = 7\n[listener.ssl.main]\nbind = 8883\nkeyfile = "k"\ncertfile = "c"\n'
        'key_password = "hush"\n'
    )
    env = {"EMQX_ZONE__DEFAULT__MAX_MQUEUE_LEN": "99"}

    plain = command("config", "show", "-c", "a.toml", "zone.default.max_", cwd=tmp_path, env=env).stdout
    assert "zone.default.max_inflight = 7\n" in plain
    assert "listener" not in plain

    origin = command("config", "show", "-c", "a.toml", "--origin", "zone.default.max_", cwd=tmp_path, env=env).stdout
    lines = dict(line.split(" = ", 1) for line in origin.splitlines())
    assert lines["zone.default.max_inflight"] == "7  # file a.toml:4"
    assert lines["zone.default.max_mqueue_len"] == "99  # environment EMQX_ZONE__DEFAULT__MAX_MQUEUE_LEN"
    assert lines["zone.default.max_awaiting_rel"] == "0  # default"

    shown = command("config", "show", "-c", "a.toml", "--json", "--origin", cwd=tmp_path, env=env).stdout
    values = json.loads(shown)
    assert values["zone.default.max_inflight"] == {"value": 7, "origin": "file a.toml:4"}
    assert "hush" not in shown
    assert (
        json.loads(command("config", "show", "-c", "a.toml", "--json", cwd=tmp_path).stdout)["acl_nomatch"] == "allow"
    )


def test_version_is_data_when_asked(tmp_path):
    found = json.loads(command("version", "--json", cwd=tmp_path).stdout)

    assert found["version"] == trioemqx.__version__
    assert isinstance(found["compiled"], bool)
    assert command("version", cwd=tmp_path).stdout.startswith(f"trioemqx {trioemqx.__version__} (")


def test_an_unknown_command_is_2(tmp_path):
    assert "No such command 'strat'" in command("strat", cwd=tmp_path, code=2).stderr


def test_a_start_that_fails_can_be_started_again(start, launch):
    """The data directory is given back."""
    broker = launch(OPEN + '[listener.tcp]\nmain = "192.0.2.1:1883"\n')
    assert broker.wait_end() == 71
    assert "listener.tcp.main: 192.0.2.1:1883 cannot be bound" in broker.output

    again: BrokerProcess = start()
    assert again.stop() == 0


def test_check_config_as_an_option(tmp_path):
    (tmp_path / "broker.toml").write_text(OPEN + TCP)
    done = command("--check-config", "-c", "broker.toml", cwd=tmp_path)
    assert done.stdout == "broker.toml is ok\n"
    (tmp_path / "broker.toml").write_text(OPEN + "acl_nomtach = 1\n")
    done = command("--check-config", "-c", "broker.toml", cwd=tmp_path, code=78)
    assert "acl_nomtach: unknown key" in done.stderr
    assert "comes after the command" in command("-c", "broker.toml", "start", cwd=tmp_path, code=2).stderr


def test_config_show_knows_what_there_is_not(tmp_path):
    (tmp_path / "broker.toml").write_text(OPEN + TCP)
    done = command("config", "show", "-c", "broker.toml", "mqtt.max_qos_alowed", cwd=tmp_path, code=78)
    assert done.stdout == ""
    assert done.stderr == "trioemqx: there is no setting mqtt.max_qos_alowed (did you mean mqtt.max_qos_allowed?)\n"
