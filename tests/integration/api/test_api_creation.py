"""POST ``/calendars``: each request and its answer as the contract has it."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from litestar.testing import TestClient

from api.app import create_app
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar
from calendar_pipeline.settings import Settings

GOOD = {
    "platform": "google",
    "client_id": "client",
    "client_secret": "hush-secret",
    "refresh_token": "hush-token",
}
FIELDS = [
    "id",
    "platform",
    "client_id",
    "platform_uuid",
    "state",
    "metadata",
    "deduplication_key",
    "connection_failure_data",
    "created_at",
    "updated_at",
    "last_successful_sync_at",
    "last_attempted_sync_at",
]
REQUIRED = ["This field is required."]
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
NOT_TEXT = ["Not a valid string."]
NUL = ["Null characters are not allowed."]
NO_OBJECT = ["Metadata must be an object not an array or other type"]


def stored(db: Database) -> sa.Row:
    with db.single() as conn:
        return conn.execute(sa.select(calendar)).one()


def test_a_new_calendar(client, clock) -> None:
    response = client.post("/calendars", json=GOOD)
    body = response.json()
    assert response.status_code == 201
    assert list(body) == FIELDS
    assert re.fullmatch(r"cal_[A-Za-z0-9]{16}", body.pop("id"))
    assert body == {
        "platform": "google",
        "client_id": "client",
        "platform_uuid": None,
        "state": "connected",
        "metadata": None,
        "deduplication_key": None,
        "connection_failure_data": None,
        "created_at": "2026-11-22T08:31:27.366061Z",
        "updated_at": "2026-11-22T08:31:27.366061Z",
        "last_successful_sync_at": None,
        "last_attempted_sync_at": None,
    }


def test_a_new_calendar_is_due_and_its_credentials_are_sealed(client, db, keyring, tenant, clock) -> None:
    client.post("/calendars", json=GOOD)
    row = stored(db)
    assert (row.requested_gen, row.synced_gen, row.next_sync_at, row.sync_token) == (1, 0, clock(), None)
    for column, secret in (("client_secret", "hush-secret"), ("refresh_token", "hush-token")):
        place = calendars.secret_place(column, row.id, tenant.id)
        assert secret.encode() not in getattr(row, column)
        assert keyring.open(getattr(row, column), place) == secret


def test_whole_seconds_have_no_fraction(client, clock) -> None:
    clock.now = clock.now.replace(microsecond=0)
    assert client.post("/calendars", json=GOOD).json()["created_at"] == "2026-11-22T08:31:27Z"


def test_texts_are_trimmed_and_numbers_written_out(client) -> None:
    given = GOOD | {"client_id": "  a b\n", "platform_uuid": 5, "deduplication_key": 1.5, "metadata": {"a": " x "}}
    body = client.post("/calendars", json=given).json()
    assert (body["client_id"], body["platform_uuid"], body["deduplication_key"]) == ("a b", "5", "1.5")
    assert body["metadata"] == {"a": " x "}


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"platform": "apple"}, {"platform": ['"apple" is not a valid choice.']}),
        ({"platform": "Google"}, {"platform": ['"Google" is not a valid choice.']}),
        ({"platform": ""}, {"platform": ['"" is not a valid choice.']}),
        ({"platform": True}, {"platform": ['"True" is not a valid choice.']}),
        ({"platform": []}, {"platform": NOT_TEXT}),
        ({"platform": None}, {"platform": NULL}),
        ({"client_id": ""}, {"client_id": BLANK}),
        ({"client_id": " \t\n"}, {"client_id": BLANK}),
        ({"client_id": None, "client_secret": ""}, {"client_id": NULL, "client_secret": BLANK}),
        ({"client_secret": True}, {"client_secret": NOT_TEXT}),
        ({"refresh_token": ["x"]}, {"refresh_token": NOT_TEXT}),
        ({"refresh_token": {"a": "x"}}, {"refresh_token": NOT_TEXT}),
        ({"refresh_token": "a\0b"}, {"refresh_token": NUL}),
        ({"platform_uuid": None}, {"platform_uuid": NULL}),
        ({"platform_uuid": ""}, {"platform_uuid": BLANK}),
        ({"deduplication_key": None}, {"deduplication_key": NULL}),
        ({"deduplication_key": "  "}, {"deduplication_key": BLANK}),
        ({"client_id": "x" * 256}, {"client_id": ["Ensure this field has no more than 255 characters."]}),
        ({"platform_uuid": "x" * 1025}, {"platform_uuid": ["Ensure this field has no more than 1024 characters."]}),
        (
            {"deduplication_key": "x" * 1025},
            {"deduplication_key": ["Ensure this field has no more than 1024 characters."]},
        ),
        ({"metadata": None}, {"metadata": NULL}),
        ({"metadata": ["a"]}, {"metadata": NO_OBJECT}),
        ({"metadata": "a"}, {"metadata": NO_OBJECT}),
        ({"metadata": 1}, {"metadata": NO_OBJECT}),
        ({"metadata": {}}, {"metadata": ["Metadata must have at least one key"]}),
        ({"metadata": {"a": 1}}, {"metadata": ["Value for key 'a' must be a string"]}),
        ({"metadata": {"a": None}}, {"metadata": ["Value for key 'a' must be a string"]}),
        ({"metadata": {"a": "x" * 992}}, {"metadata": ["Metadata must be less than 1000 characters"]}),
        ({"metadata": {"a": "é" * 200}}, {"metadata": ["Metadata must be less than 1000 characters"]}),
        ({"metadata": {"a": "\0"}}, {"metadata": NUL}),
        ({"metadata": {"\0": "a"}}, {"metadata": NUL}),
        (
            {"foo": 1, "bar": 2},
            {
                "non_field_errors": [
                    (
                        "Unexpected field(s): bar, foo. Allowed fields are: client_id, client_secret, "
                        "deduplication_key, metadata, platform, platform_uuid, refresh_token"
                    )
                ]
            },
        ),
        ({"foo": 1, "client_id": ""}, {"client_id": BLANK}),
    ],
)
def test_fields_that_are_refused(client, db, change, errors) -> None:
    response = client.post("/calendars", json=GOOD | change)
    assert (response.status_code, response.json()) == (400, errors)
    with db.single() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(calendar)).scalar_one() == 0


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        (b"{}", dict.fromkeys(("platform", "client_id", "client_secret", "refresh_token"), REQUIRED)),
        (b"", dict.fromkeys(("platform", "client_id", "client_secret", "refresh_token"), REQUIRED)),
        (b"[]", {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        (b'"a"', {"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]}),
        (b"5", {"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}),
        (b"null", {"non_field_errors": ["No data provided"]}),
    ],
)
def test_bodies_that_are_refused_as_a_whole(client, content, errors) -> None:
    response = client.post("/calendars", content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()) == (400, errors)


def test_limits_include_their_bound(client) -> None:
    given = {"client_id": "x" * 255, "platform_uuid": "x" * 1024, "metadata": {"a": "x" * 991}}
    assert client.post("/calendars", json=GOOD | given).status_code == 201


def test_metadata_rules_are_settings(db, keyring, tenant, clock) -> None:
    settings = Settings(_env_file=None, max_metadata_length=20, require_string_values_in_metadata=False)
    with TestClient(create_app(settings, db=db, keyring=keyring, clock=clock)) as client:

        def post(metadata: object):
            return client.post("/api/v1/calendars", json=GOOD | {"metadata": metadata}, headers=tenant.headers)

        assert post({"a": [1, None, {}]}).json()["metadata"] == {"a": [1, None, {}]}
        assert post({"a": 10**12}).json()["metadata"] == {"a": 10**12}
        assert post({"a": ["\0"]}).json() == {"metadata": NUL}
        assert post({"a": "x" * 20}).json() == {"metadata": ["Metadata must be less than 20 characters"]}


FORM = [pytest.param(lambda form: {"data": form}, id="urlencoded")]
FORM += [pytest.param(lambda form: {"files": {k: (None, v) for k, v in form.items()}}, id="multipart")]


@pytest.mark.parametrize("encode", FORM)
def test_forms_are_bodies_too(client, encode: Callable[[dict[str, str]], dict[str, object]]) -> None:
    form = GOOD | {"client_id": " ü ", "platform_uuid": "", "metadata": '{"a": "b"}'}
    body = client.post("/calendars", **encode(form)).json()
    assert (body["client_id"], body["platform_uuid"], body["metadata"]) == ("ü", None, {"a": "b"})


@pytest.mark.parametrize("encode", FORM)
@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"metadata": "no json"}, {"metadata": NO_OBJECT}),
        ({"metadata": "null"}, {"metadata": NO_OBJECT}),
        ({"client_id": ""}, {"client_id": BLANK}),
        ({"platform": ""}, {"platform": ['"" is not a valid choice.']}),
    ],
)
def test_forms_have_the_same_rules(client, encode, change, errors) -> None:
    response = client.post("/calendars", **encode(GOOD | change))
    assert (response.status_code, response.json()) == (400, errors)


def test_a_file_is_not_a_text(client) -> None:
    response = client.post("/calendars", data=GOOD, files={"platform_uuid": ("x.txt", b"x")})
    assert (response.status_code, response.json()) == (400, {"platform_uuid": NOT_TEXT})


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x",
            (
                b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
                b"Content-Type: text/plain; charset=nope\r\n\r\nb\r\n--x--\r\n"
            ),
        ),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(2000))),
    ],
)
def test_malformed_forms_are_told(client, content_type, content) -> None:
    response = client.post("/calendars", content=content, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]


def test_a_deduplication_key_is_had_once(client, stranger) -> None:
    keyed = GOOD | {"deduplication_key": "mine"}
    taken = {"deduplication_key": ["A calendar with this deduplication key already exists in this project."]}
    first = client.post("/calendars", json=keyed).json()
    again = client.post("/calendars", json=keyed)
    assert (again.status_code, again.json()) == (400, taken)
    assert client.post("/calendars", json=keyed, headers=stranger.headers).status_code == 201
    client.delete(f"/calendars/{first['id']}")
    assert client.post("/calendars", json=keyed).status_code == 201
    assert [client.post("/calendars", json=GOOD).status_code for _ in range(2)] == [201, 201]


def test_of_racing_duplicates_one_wins(client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: client.post("/calendars", json=GOOD | {"deduplication_key": "x"}), range(8))
        assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
