"""Projects, keys and signing secrets in the database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from calendar_pipeline.db.schema import api_key, project_counter, webhook_secret
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.projects import model, store

BROUGHT = "abcdefghijklmnopqrstuvwxyz012345"


def test_a_project_begins_to_count_at_nought(db, clock) -> None:
    with db.begin() as conn:
        made = store.create(conn, "ours", now=clock())
        assert conn.execute(sa.select(project_counter.c.project_id, project_counter.c.n)).all() == [(made.id, 0)]
        assert store.all_projects(conn) == [made]


def test_only_the_digest_of_a_key_is_kept(db, tenant, clock) -> None:
    with db.begin() as conn:
        row = conn.execute(sa.select(api_key)).one()
        assert store.find_key(conn, tenant.key, now=clock()) is not None
    assert row.key_hash == model.digest(tenant.key)
    assert row.last_four == tenant.key[-4:]
    assert tenant.key not in repr(row)


def test_a_key_can_be_brought_along_once(db, tenant, stranger, clock) -> None:
    with db.begin() as conn:
        made = store.create_key(conn, tenant.id, now=clock(), secret=BROUGHT)
        assert made.secret == BROUGHT
        assert BROUGHT not in repr(made)
        with pytest.raises(SetupError, match="in use"):
            store.create_key(conn, stranger.id, now=clock(), secret=BROUGHT)
        assert store.find_key(conn, BROUGHT, now=clock()) == made.key
        assert (made.key.prefix, made.key.last_four) == ("", BROUGHT[-4:])
        assert {key.id for key in store.keys(conn, tenant.id)} > {made.key.id}


def test_keys_belong_to_projects_that_exist(db, clock) -> None:
    with db.begin() as conn, pytest.raises(NotFound):
        store.create_key(conn, "proj_nowhere", now=clock())


def test_a_revoked_key_is_not_found(db, tenant, stranger, clock) -> None:
    with db.begin() as conn:
        key = store.find_key(conn, tenant.key, now=clock())
        with pytest.raises(NotFound):
            store.revoke_key(conn, stranger.id, key.id, now=clock())
        store.revoke_key(conn, tenant.id, key.id, now=clock())
        first = clock()
        clock.pass_by(days=1)
        store.revoke_key(conn, tenant.id, key.id, now=clock())
        assert store.find_key(conn, tenant.key, now=clock()) is None
        assert store.keys(conn, tenant.id)[0].revoked_at == first


def test_a_new_signing_secret_retires_the_former(db, tenant, stranger, keyring, clock) -> None:
    with db.begin() as conn:
        theirs = store.set_webhook_secret(conn, keyring, stranger.id, now=clock())
        first = store.set_webhook_secret(conn, keyring, tenant.id, now=clock())
        second = store.set_webhook_secret(conn, keyring, tenant.id, now=clock(), secret="c2VjcmV0c2VjcmV0c2VjcmV0")
        assert store.webhook_secrets(conn, keyring, tenant.id) == [second]
        assert store.webhook_secrets(conn, keyring, stranger.id) == [theirs]
        sealed = conn.execute(sa.select(webhook_secret.c.secret)).scalars().all()
    assert len(sealed) == 3
    assert not any(text.encode() in blob for blob in sealed for text in (first, second, theirs))


def test_of_two_new_signing_secrets_at_once_the_one_told_last_is_left(db, tenant, keyring, clock) -> None:
    """Two people pressed the button: both secrets were told, both stayed, and the header kept to the wrong one."""

    def rotate() -> str:
        with db.begin() as conn:
            return store.set_webhook_secret(conn, keyring, tenant.id, now=clock(), overlap=timedelta(hours=24))

    rotate()
    with ThreadPoolExecutor(1) as pool:
        with db.begin() as conn:
            store.set_webhook_secret(conn, keyring, tenant.id, now=clock(), overlap=timedelta(hours=24))
            later = pool.submit(rotate)
            while not _somebody_waits(db):
                assert not later.done()
        told = later.result(30)
    with db.single() as conn:
        assert store.webhook_secrets(conn, keyring, tenant.id) == [told]


def _somebody_waits(db) -> bool:
    with db.single() as conn:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return conn.execute(sa.text(query)).scalar_one() > 0


@pytest.mark.parametrize("secret", ["", "short", "bm90IGxvbmc=", "c2VjcmV0c2VjcmV0c2VjcmV0!", "é" * 40])
def test_weak_signing_secrets_are_refused(db, tenant, keyring, clock, secret) -> None:
    with db.begin() as conn, pytest.raises(SetupError):
        store.set_webhook_secret(conn, keyring, tenant.id, now=clock(), secret=secret)
