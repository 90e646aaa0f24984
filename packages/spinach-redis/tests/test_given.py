from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import redis.asyncio
import redis.cluster

import spinach_redis
from spinach.const import DEFAULT_LEASE
from spinach.exc import InvalidArgument
from spinach_redis import RedisBroker
from spinach_redis.topology.user_settings import settings_of_client, settings_of_url

from .servers import Server


def address_of(broker: RedisBroker) -> str:
    return broker._process.client.topology.health.address


def test_package_exports_what_it_says() -> None:
    assert spinach_redis.__all__ == ["RedisBroker"]
    assert set(spinach_redis.__all__) <= set(dir(spinach_redis))


def test_broker_without_arguments_is_for_this_machine() -> None:
    assert address_of(RedisBroker()) == "localhost:6379"
    assert RedisBroker().lease == DEFAULT_LEASE


def test_keywords_reach_the_contract() -> None:
    broker = RedisBroker.from_url(
        "redis://there:1234/2", lease=timedelta(seconds=60), max_payload_bytes=7
    )
    assert (broker.lease, broker.max_payload_bytes) == (timedelta(seconds=60), 7)
    assert address_of(broker) == "there:1234"
    with pytest.raises(InvalidArgument):
        RedisBroker(lease=timedelta(seconds=1))


def test_client_that_decodes_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="decode_responses"):
        RedisBroker(redis.Redis(decode_responses=True))
    with pytest.raises(InvalidArgument, match="decode_responses"):
        RedisBroker.from_url("redis://localhost?decode_responses=True")


def test_timeout_that_would_cut_off_every_wait_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"socket_timeout=1\.5"):
        RedisBroker(redis.Redis(socket_timeout=1.5))
    with pytest.raises(InvalidArgument, match="socket_timeout"):
        RedisBroker.from_url("redis://localhost?socket_timeout=4")
    RedisBroker(redis.Redis(socket_timeout=5))
    RedisBroker(redis.Redis(socket_timeout=None))


def test_function_that_makes_connections_is_refused_with_what_to_pass() -> None:
    def make(**options: object) -> redis.Connection:
        return redis.Connection()

    # Any callable makes connections; redis-py's types know of classes only.
    pool = redis.ConnectionPool(connection_class=make)  # type: ignore[type-var]
    with pytest.raises(InvalidArgument, match=r"make at .* expected a class such as"):
        RedisBroker(redis.Redis(connection_pool=pool))


@pytest.mark.parametrize(
    "client", ["redis://localhost", 5, redis.asyncio.Redis(), redis.Redis, object()]
)
def test_anything_but_a_client_is_refused(client: object) -> None:
    with pytest.raises(InvalidArgument, match=r"expected a redis\.Redis"):
        RedisBroker(client)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "",
        "http://localhost",
        "redis:/localhost",
        "redis://localhost/letters",
        "redis://user:secret@localhost/letters",
        "redis://localhost:many",
        "unix://relative/path",
        "redis://localhost?no_such_option=1",
        "postgres://user:secret@localhost",
        b"redis://localhost",
        None,
    ],
)
def test_url_that_is_none_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        RedisBroker.from_url(url)
    assert "secret" not in str(caught.value)
    assert "Redis" in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+cluster", "sentinel"])
def test_url_for_several_servers_is_refused_with_the_way_to_name_them(scheme: str) -> None:
    with pytest.raises(InvalidArgument, match=r"Sentinel\(.*\)\.master_for.*RedisCluster\("):
        RedisBroker.from_url(f"{scheme}://there:26379/letters")


def test_client_and_url_together_are_refused_without_showing_the_password() -> None:
    with pytest.raises(InvalidArgument, match="Both a Redis client and a URL") as caught:
        RedisBroker(redis.Redis(), url="redis://user:secret@there")
    assert "secret" not in str(caught.value)


def test_url_stands_in_the_place_of_a_client() -> None:
    assert address_of(RedisBroker(url="redis://there:1234")) == "there:1234"


def test_library_retries_and_timeouts_are_not_taken_over() -> None:
    client = redis.Redis(
        host="there", protocol=3, health_check_interval=1, max_connections=3, username="me"
    )
    connection = settings_of_client(client).connection(7.0)
    assert (connection.host, connection.username) == ("there", "me")
    assert (connection.protocol, connection.health_check_interval) == (2, 0)
    assert connection.socket_timeout == 7.0
    assert connection.socket_connect_timeout == 2.0
    assert connection.retry._retries == 0


def test_tls_settings_are_taken_over() -> None:
    settings = settings_of_url("rediss://there:1?ssl_cert_reqs=none")
    assert isinstance(settings.connection(1.0), redis.connection.SSLConnection)


def test_building_a_broker_opens_no_connection(server: Server) -> None:
    with server.client() as client:
        before = client.info("stats")["total_connections_received"]
        RedisBroker(redis.Redis(unix_socket_path=str(server.socket)))
        RedisBroker.from_url(server.url)
        assert client.info("stats")["total_connections_received"] == before


def test_broker_speaks_its_own_protocol_whatever_the_client_speaks(
    server: Server, namespace: str
) -> None:
    for client in (
        redis.Redis(unix_socket_path=str(server.socket), protocol=3),
        redis.Redis(port=server.port, protocol=3),
    ):
        broker = RedisBroker(client)
        broker.bind(namespace, object())
        assert broker.counts(["letters"])[0].ready == 0
        broker.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr?et@there/0",
        "redis://:s3cr#et@there/0",
        "redis://:s3cr/et@there/0",
        "redis://user:s3cr/et?w@there/0",
        "redis://:1234?s3cr@there",
    ],
)
def test_no_part_of_a_password_that_is_not_encoded_is_shown(url: str) -> None:
    with pytest.raises(InvalidArgument, match="Percent-encode") as caught:
        RedisBroker.from_url(url)
    assert "s3cr" not in str(caught.value)
    assert "et@there" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:p@ss@there:1/0",
        "redis://there:1/0?client_name=a@b",
        "redis://there/0?client_name=a@b",
        "redis://there:/0?client_name=a@b",
        "redis://[::1]/0?client_name=there@b",
        "unix:///there/x@y.sock",
        "unix:///there/with?client_name=a@b:c",
        "unix://user:pass@/there/x.sock",
    ],
)
def test_other_signs_in_a_url_are_fine(url: str) -> None:
    assert address_of(RedisBroker.from_url(url)).startswith(("there:", "/there/", "::1:"))


@pytest.mark.parametrize("host", ["redis..example", "a" * 64 + ".example"])
def test_host_that_cannot_be_one_is_refused(host: str) -> None:
    for make in (
        lambda: RedisBroker(redis.Redis(host=host)),
        lambda: RedisBroker.from_url(f"redis://{host}"),
    ):
        with pytest.raises(InvalidArgument, match="cannot be the name of a host"):
            make()


def test_names_of_hosts_are_not_looked_at_where_there_are_none() -> None:
    program = (
        "import sys\n"
        "from spinach_redis import RedisBroker\n"
        "for url in ('unix:///there/x.sock', 'redis://there'):\n"
        "    RedisBroker.from_url(url)\n"
        "    print('encodings.idna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"True"]


def test_certificate_that_is_not_there_is_named() -> None:
    client = redis.Redis(ssl=True, ssl_ca_certs="/no/such/ca.pem")
    with pytest.raises(InvalidArgument, match=r"ssl_ca_certs='/no/such/ca\.pem'.*no such file"):
        RedisBroker(client)


def test_key_in_the_place_of_its_path_is_not_shown() -> None:
    client = redis.Redis(ssl=True, ssl_keyfile="-----BEGIN PRIVATE KEY-----\nsecret\n" * 99)
    with pytest.raises(InvalidArgument, match="text as ssl_keyfile") as caught:
        RedisBroker(client)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout", ["soon", timedelta(seconds=10), [5]])
def test_timeout_that_is_no_number_is_refused(timeout: object) -> None:
    with pytest.raises(InvalidArgument, match="expected seconds as a number"):
        RedisBroker(redis.Redis(socket_timeout=timeout))


@pytest.mark.parametrize("text", ["False", "no", "0"])
def test_url_may_say_that_answers_are_not_decoded(text: str) -> None:
    RedisBroker.from_url(f"redis://localhost?decode_responses={text}")


def test_connection_to_a_socket_file_may_not_take_for_ever() -> None:
    assert settings_of_url("unix:///tmp/none").connection(9.0).socket_connect_timeout == 2.0


def test_certificate_that_goes_later_keeps_no_node_from_being_known(tmp_path: Path) -> None:
    """Connecting fails then, which passes."""
    ca = tmp_path / "ca.pem"
    ca.write_text("-")
    settings = settings_of_client(redis.Redis(ssl=True, ssl_ca_certs=str(ca)))
    ca.unlink()
    assert settings.at(("there", 1)).address == "there:1"
