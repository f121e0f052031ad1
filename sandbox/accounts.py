"""Accounts and calendars: who has which, and who may read them with which token."""

from sandbox.dialects import DIALECTS
from sandbox.errors import Missing, Unusable
from sandbox.faults import Provider
from sandbox.ground import Ground, locked
from sandbox.model import Calendar, Client, Code, Grant, type_of_role
from sandbox.replies import Credentials, Json
from sandbox.tokens import code
from sandbox.when import zone_info


class Accounts(Ground):
    """What is done about accounts and calendars."""

    @locked
    def create_calendar(
        self,
        *,
        account: str | None = None,
        calendar_id: str | None = None,
        summary: str | None = None,
        zone: str = "Europe/Berlin",
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - a play secret
        refresh_token: str | None = None,
        scope: str | None = None,
        access_role: type_of_role = "owner",
        poll_only: bool = False,
        provider: Provider = "google",
    ) -> Credentials:
        """A calendar of a new or known account, and a refresh token for it. An account's first one is its primary."""
        zone_info(zone)
        state, dialect = self.state, DIALECTS[provider]
        self.changes += 1
        if account is None:
            state.made += 1
            account = f"person{state.made}@example.com"
        primary = account not in state.accounts
        if not primary and self._provider(account) != provider:
            message = f"{account} lives at {self._provider(account)}: choose another account, or that provider."
            raise Unusable(message)
        calendar_id = calendar_id or dialect.calendar_id(state, account, primary=primary)
        if calendar_id in state.calendars:
            message = f"There is a calendar {calendar_id} already: choose another id, or use that one."
            raise Unusable(message)
        if primary:
            state.accounts.append(account)
        state.calendars[calendar_id] = Calendar(
            calendar_id,
            account,
            summary or (account if primary and provider == "google" else "Calendar"),
            zone,
            self.now(),
            self.now(),
            primary=primary,
            access_role=access_role,
            poll_only=poll_only,
            provider=provider,
        )
        state.clients.setdefault(client_id, Client(client_id, client_secret))
        granted = self._grant(account, client_id, scope, refresh_token)
        return self._credentials(calendar_id, granted)

    @locked
    def create_client(
        self,
        client_id: str,
        *,
        client_secret: str = "sandbox-secret",  # noqa: S107 - a play secret
        redirect_uris: list[str] | None = None,
    ) -> None:
        """An OAuth client, or other redirect URIs for one; with none, any address on this machine will do."""
        self.changes += 1
        self.state.clients[client_id] = Client(client_id, client_secret, redirect_uris or [])

    @locked
    def issue_refresh_token(self, account: str, *, client_id: str = "sandbox-client", scope: str | None = None) -> str:
        """One more refresh token for an account, as after a reconnect."""
        self.changes += 1
        self._provider(account)
        self.state.clients.setdefault(client_id, Client(client_id, "sandbox-secret"))
        return self._grant(account, client_id, scope).refresh_token

    @locked
    def issue_access_token(self, account: str, *, scope: str | None = None) -> str:
        """An access token for trying things out by hand."""
        self.changes += 1
        dialect = DIALECTS[self._provider(account)]
        live = [one for one in self.state.grants.values() if one.account == account and not one.revoked]
        found = next((one for one in live if one.scope == (scope or dialect.SCOPE)), None)
        return dialect.access(self, found or self._grant(account, "sandbox-client", scope))

    @locked
    def issue_code(
        self,
        account: str,
        *,
        client_id: str,
        redirect_uri: str,
        scope: str | None = None,
        offline: bool = True,
        prompt_consent: bool = False,
        code_challenge: str | None = None,
        code_challenge_method: str = "plain",
    ) -> str:
        """What the consent screen hands to the callback.

        Google gives a refresh token only on the first consent, or if prompted for it; Microsoft if `offline_access`
        is in the scope.
        """
        self.changes += 1
        provider = self._provider(account)
        scope = scope or DIALECTS[provider].SCOPE
        live = [one for one in self.state.grants.values() if not one.revoked]
        again = any((one.account, one.client_id) == (account, client_id) for one in live)
        refreshable = "offline_access" in scope.split() if provider == "microsoft" else prompt_consent or not again
        made = Code(account, client_id, redirect_uri, scope, offline and refreshable, code_challenge)
        made.method, made.provider, made.issued_at = code_challenge_method, provider, self.now()
        return code(self.state, made)

    @locked
    def revoke(self, refresh_token: str) -> None:
        """The user removes the application: the token is dead, at Microsoft with all it was rotated to or from."""
        self.changes += 1
        granted = self.state.grants.get(refresh_token)
        if granted is None:
            message = "There is no such refresh token."
            raise Missing(message)
        for one in self.state.grants.values():
            same = (one.provider, one.account, one.client_id) == ("microsoft", granted.account, granted.client_id)
            one.revoked = one.revoked or one is granted or same

    @locked
    def revoke_account(self, account: str) -> int:
        """The user removes every application; how many refresh tokens died."""
        self.changes += 1
        live = [one for one in self.state.grants.values() if one.account == account and not one.revoked]
        for one in live:
            one.revoked = True
        return len(live)

    @locked
    def calendars(self) -> list[Json]:
        """All calendars, with their number of events."""
        return [
            {
                "id": one.id,
                "account": one.account,
                "summary": one.summary,
                "zone": one.zone,
                "events": len(one.events),
                "changes": one.seq,
                "primary": one.primary,
                "provider": one.provider,
            }
            for one in self.state.calendars.values()
        ]

    @locked
    def credentials(self, calendar_id: str) -> Credentials:
        """The living credentials of a calendar's account; raises `Missing` if all were revoked."""
        calendar = self.calendar(calendar_id)
        for one in reversed(self.state.grants.values()):
            if one.account == calendar.account and not one.revoked:
                return self._credentials(calendar.id, one)
        message = f"{calendar.account} has no living refresh token: use issue_refresh_token."
        raise Missing(message)

    @locked
    def set_zone(self, calendar_id: str, zone: str) -> None:
        """Change a calendar's zone, and no event is marked as changed. At Google its all-day events move along."""
        zone_info(zone)
        self.changes += 1
        self.calendar(calendar_id).zone = zone

    @locked
    def change_access(self, calendar_id: str, access_role: type_of_role | None = None) -> None:
        """Change who may do what: sync tokens and delta links issued before answer 410 from now on."""
        self.changes += 1
        calendar = self.calendar(calendar_id)
        calendar.access_role = access_role or calendar.access_role
        calendar.token_generation += 1

    @locked
    def delete_calendar(self, calendar_id: str) -> None:
        """The calendar answers 404 from now on."""
        self.changes += 1
        self.calendar(calendar_id).deleted = True

    # -- inside --------------------------------------------------------------------------------------------

    def _grant(self, account: str, client_id: str, scope: str | None, refresh_token: str | None = None) -> Grant:
        dialect = DIALECTS[self._provider(account)]
        return dialect.grant(
            self, account=account, client_id=client_id, scope=scope or dialect.SCOPE, refresh_token=refresh_token
        )

    def _credentials(self, calendar_id: str, granted: Grant) -> Credentials:
        secret = self.state.clients[granted.client_id].secret
        return Credentials(
            calendar_id,
            granted.account,
            granted.client_id,
            secret,
            granted.refresh_token,
            granted.scope,
            granted.provider,
        )

    def _provider(self, account: str) -> Provider:
        """Where the account lives; raises `Missing`."""
        for one in self.state.calendars.values():
            if one.account == account:
                return one.provider
        message = f"There is no account {account!r}: create_calendar makes one."
        raise Missing(message)
