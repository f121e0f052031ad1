"""The API against its own document: whatever schemathesis makes up from it, in all phases and under all checks."""

import os
import subprocess
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

from calendar_pipeline.calendars.model import PLATFORMS
from calendar_pipeline.connect import store as connect
from calendar_pipeline.db.connect import Database
from calendar_pipeline.secrets.keyring import KeyRing

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "3"))
SEED = os.environ.get("SCHEMA_SEED")
"""`make soak` makes up more, and other things each time; otherwise the same few are asked each time."""


def test_nothing_is_found(server, remote, tenant, store: Database, put, tmp_path: Path) -> None:
    calendar = remote.post(
        "/calendars", json={"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
    )
    put(tenant.id, calendar.json()["id"], [{}, {}])
    with store.begin() as conn:
        for platform in PLATFORMS:
            connect.register(
                conn,
                KeyRing.parse(server.ring),
                tenant.id,
                platform,
                client_id="c",
                client_secret="s",
                return_urls=["https://app.example.com/connected"],
                now=datetime.now(UTC),
            )
    chance = ["--seed", SEED] if SEED else ["--generation-deterministic"]
    done = subprocess.run(
        [
            str(Path(sysconfig.get_path("scripts")) / "schemathesis"),
            *("--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{server.url}/openapi.json", "--header", f"Authorization: Token {tenant.key}"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES), *chance),
            *("--continue-on-failure", "--no-color", "--request-timeout", "60"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "schema_reasons.py")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in " ".join(done.stdout.split()), done.stdout
    assert remote.get("/calendars").status_code == 200, "the key was revoked on the way, so little was tried"
