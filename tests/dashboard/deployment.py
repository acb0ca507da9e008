"""A deployment with accounts, asked as a browser asks: cookies, forms with their tokens, no script."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

from fastapi.testclient import TestClient
from httpx2 import Response

from functions.http.api_app import create_api_app
from shared.accounts.accounts import Accounts, open_accounts
from shared.accounts.audit_log import Actor
from shared.accounts.types import ApiKey, Project
from shared.config.settings import Settings
from shared.storage.base import CompletionStore
from shared.storage.location import open_store

ORIGIN = "https://pilot.test"
_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')
_MAIN = re.compile(r"<main.*</main>", re.DOTALL)


@dataclass
class Browser:
    """A browser with cookies of its own, which follows redirects itself."""

    app: Any
    origin: str = ORIGIN
    client: TestClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = TestClient(self.app, base_url=self.origin, follow_redirects=False)

    def get(self, path: str, **options: Any) -> Response:
        """A page, without following redirects."""
        headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
        headers.update(options.pop("headers", {}))
        return self.client.get(path, headers=headers, **options)

    def follow(self, path: str, response: Response) -> str:
        """Where a redirect of the page at ``path`` leads, as a browser resolves it."""
        url = urlsplit(urljoin(f"{self.origin}{path}", response.headers["location"]))
        assert f"{url.scheme}://{url.netloc}" == self.origin
        return f"{url.path}?{url.query}" if url.query else url.path

    def token(self, path: str) -> str:
        """The CSRF token of a page's form."""
        found = _TOKEN.search(self.get(path).text)
        assert found is not None, path
        return found[1]

    def post(
        self,
        path: str,
        form: dict[str, Any] | None = None,
        *,
        token_of: str | None = None,
        **headers: str,
    ) -> Response:
        """A form that is sent from the page ``token_of``, or from its own."""
        fields = {"csrf_token": self.token(token_of or path), **(form or {})}
        sent = {"origin": self.origin, "sec-fetch-site": "same-origin", **headers}
        return self.client.post(path, data=fields, headers=sent)

    def sign_in(self, key: str, next_page: str | None = None) -> Response:
        """Paste a key."""
        form = {"key": key, **({"next": next_page} if next_page is not None else {})}
        return self.post("/dashboard/sign-in", form)

    @property
    def cookie(self) -> str:
        """The session's cookie."""
        return self.client.cookies["pilotlight_session"]


@dataclass
class Deployment:
    """Accounts, a store, and the app of what needs no model."""

    settings: Settings
    accounts: Accounts
    store: CompletionStore
    app: Any
    admin_key: str

    @classmethod
    def make(cls, **settings: Any) -> Deployment:
        """One with an admin key; ``settings`` say where its store is."""
        made = Settings(accounts=True, **settings)
        accounts = open_accounts(made.store, made.data_dir)
        accounts.initialize()
        store = open_store(made.store, made.data_dir)
        assert store is not None
        _, secret = accounts.keys.issue(Actor(), "operator", None)
        return cls(made, accounts, store, create_api_app(made), secret)

    def browser(self, key: str | None = None, origin: str = ORIGIN) -> Browser:
        """A new browser, with a session where there is a ``key``."""
        browser = Browser(self.app, origin)
        if key is not None:
            assert browser.sign_in(key).status_code == 303
        return browser

    def project(self, name: str = "shop") -> tuple[Project, ApiKey, str]:
        """A new project, its key and that key's secret."""
        project = self.accounts.projects.create(Actor(), name)
        account = self.accounts.service_accounts.create(Actor(), project.id, "web", role="member")
        return (project, *self.accounts.keys.issue(Actor(), "web", account))

    def close(self) -> None:
        """Let go of stores."""
        self.app.state.server.close()
        self.accounts.close()
        self.store.close()


def text_of(response: Response) -> str:
    """What a page shows within ``main``, without markup."""
    main = _MAIN.search(response.text)
    assert main is not None
    apart = re.sub(r"</?(?:t[dhr]|d[td]|h\d|p|li|div|summary|option)\b[^>]*>", " ", main[0])
    return unescape(re.sub(r"<[^>]*>", "", apart))
