"""Projects with keys, limits, budgets and a month of usage, and their completions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from sample_store.completions import Prices, priced, stored
from sample_store.conversations import KINDS, Conversation
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.key_format import hash_of
from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from shared.accounts.limits import CENT
from shared.storage.base import CompletionStore

DAY = 86400
N_DAYS = 30
PRICES: Prices = {"small": (200, 50, 600), "large": (2500, 250, 10_000), "coder": (600, 150, 1800)}
OWN_MODELS = ("small",)
CONFIGURATION = """\
[prices.small]
prompt = 0.2
cached = 0.05
completion = 0.6

[models.large]
upstream = "https://models.example.com/v1"
mode = "adapter"
price = { prompt = 2.5, cached = 0.25, completion = 10 }

[models.coder]
upstream = "https://models.example.com/v1"
mode = "adapter"
price = { prompt = 0.6, cached = 0.15, completion = 1.8 }
"""
"""Of a server that has these models, as a file ``pilotlight.toml``; ``small`` is its own."""


class Clock:
    """A clock that is set, so that a month can pass in a second."""

    now = 0.0

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@dataclass(frozen=True, slots=True)
class _Plan:
    """A project to make.

    - ``keys``: names, and how much each is used.
    - ``tasks``: of conversations; empty for all.
    - ``used``: part of its budget that is spent; None for no budget.
    - ``requests``: on a working day, which are counted.
    """

    name: str
    keys: dict[str, float]
    models: dict[str, float]
    tasks: Sequence[str]
    requests: int
    used: float | None
    tokens_per_minute: int | None = None


_PLANS = (
    _Plan(
        "shop",
        {"web site": 1.0, "review classifier": 0.7, "staging": 0.06},
        {"small": 0.8, "large": 0.2},
        ("review-sentiment", "product-question", "product-texts", "translations"),
        2600,
        0.64,
        120_000,
    ),
    _Plan(
        "support desk",
        {"chat widget": 1.0, "mail assistant": 0.45},
        {"small": 0.35, "large": 0.65},
        ("order-status", "product-question"),
        900,
        0.93,
        60_000,
    ),
    _Plan(
        "research",
        {"notebooks": 0.8, "nightly batch": 1.0},
        {"large": 0.3, "coder": 0.7},
        ("summaries", "estimates", "code-review", "stories"),
        420,
        None,
    ),
)


@dataclass(slots=True)
class _Project:
    plan: _Plan
    id: str
    keys: dict[str, str]
    secrets: list[str]


class SampleOrganization:
    """Fills accounts and a store; the same for a seed, but for ids and secrets of accounts."""

    def __init__(self, accounts: Accounts, store: CompletionStore, clock: Clock, seed: int) -> None:
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._rng = Random(seed)

    def fill(self, n_completions: int) -> dict[str, str]:
        """Make everything, up to the clock's time; secrets of keys, by what they are for."""
        end = self._clock.now
        start = end - N_DAYS * DAY
        self._clock.now = start - DAY
        admin, admin_secret = self._accounts.keys.issue(Actor(), "operator", None)
        actor = Actor(key_id=admin.id)
        projects = [self._project(actor, plan) for plan in _PLANS]
        events = sorted(
            [
                *((at, None) for at in self._days(start)),
                *((at, at) for at in self._moments(start, end, n_completions)),
            ]
        )
        for at, moment in events:
            self._clock.now = at
            if moment is None:
                for project in projects:
                    self._use(project, at)
            else:
                self._complete(self._rng.choices(projects, (5, 4, 3))[0], at)
        self._clock.now = end
        for project in projects:
            self._finish(actor, project)
        secrets = {"admin": admin_secret}
        return secrets | {project.plan.name: project.secrets[0] for project in projects}

    def _project(self, actor: Actor, plan: _Plan) -> _Project:
        accounts = self._accounts
        made = accounts.projects.create(actor, plan.name)
        keys, secrets = {}, []
        for name in plan.keys:
            owner = accounts.service_accounts.create(actor, made.id, name)
            expires = 120 * DAY if name == "staging" else None
            key, secret = accounts.keys.issue(actor, name, owner, expires)
            keys[name] = key.id
            secrets.append(secret)
        if plan.tokens_per_minute is not None:
            accounts.projects.limit_rates(
                actor,
                made.id,
                "small",
                requests_per_minute=600,
                tokens_per_minute=plan.tokens_per_minute,
            )
        return _Project(plan, made.id, keys, secrets)

    def _days(self, start: float) -> Sequence[float]:
        """Moments at which usage is counted: twice a day."""
        return [start + (half / 2 + 0.45) * DAY for half in range(2 * N_DAYS)]

    def _moments(self, start: float, end: float, n: int) -> Sequence[float]:
        """When completions were made: more of them lately."""
        return [start + (end - start - 60) * math.sqrt(self._rng.random()) for _ in range(n)]

    def _use(self, project: _Project, at: float) -> None:
        """Count half a day of requests that were not stored."""
        rng, plan = self._rng, project.plan
        is_weekend = int(at // DAY + 3) % 7 >= 5
        for name, weight in plan.keys.items():
            for model, share in plan.models.items():
                busy = weight * share * rng.uniform(0.7, 1.3) * (0.35 if is_weekend else 1)
                requests = int(plan.requests / 2 * busy / sum(plan.keys.values()))
                if requests:
                    prompt = requests * rng.randrange(300, 800)
                    cached = int(prompt * rng.uniform(0.2, 0.6))
                    completion = requests * rng.randrange(80, 260)
                    usage = priced(requests, prompt, cached, completion, PRICES[model])
                    self._settle(project, name, model, usage)

    def _complete(self, project: _Project, at: float) -> None:
        rng, plan = self._rng, project.plan
        conversation = self._conversation(plan)
        key = rng.choices(list(plan.keys), list(plan.keys.values()))[0]
        model = rng.choices(list(plan.models), list(plan.models.values()))[0]
        metadata = {"task": conversation.task, "stage": "test" if key == "staging" else "live"}
        if rng.random() < 0.4:
            metadata["rating"] = rng.choices(("good", "bad"), (5, 1))[0]
        completion, usage = stored(
            rng,
            conversation,
            tenant=project.id,
            key_id=project.keys[key],
            model=model,
            is_own=model in OWN_MODELS,
            prices=PRICES,
            made_at=at,
            metadata=metadata,
        )
        self._store.put(completion)
        self._settle(project, key, completion.model, usage)

    def _conversation(self, plan: _Plan) -> Conversation:
        makers, weights = zip(*KINDS, strict=True)
        while True:
            made: Conversation = self._rng.choices(makers, weights)[0](self._rng)
            if made.task in plan.tasks:
                return made

    def _settle(self, project: _Project, key: str, model: str, usage: Usage) -> None:
        asked = Reservation(
            id=f"{self._rng.getrandbits(64):x}", model=model, tokens=0, cost=0, expires_at=0
        )
        group = Group(key_id=project.keys[key], model=model, tier="default")
        self._accounts.ledger.settle(project.id, asked, group, usage)

    def _finish(self, actor: Actor, project: _Project) -> None:
        """Set the budget, of which a part is spent already, and note when keys were used."""
        plan, accounts = project.plan, self._accounts
        if plan.used is not None:
            spent = accounts.ledger.counters(project.id).spent_in_month(self._clock())
            dollars = max(round(spent / plan.used / CENT / 100), 1)
            accounts.limit_spending(actor, project.id, dollars * 100)
        for name, secret in zip(plan.keys, project.secrets, strict=True):
            if name != "staging":
                accounts.keys.holder(hash_of(secret.encode()))
