"""Samples to Markdown tables: the median over the rounds, and its ratio to llama-server's."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.metrics import Sample
from benchmarks.peers import BASELINES


@dataclass(frozen=True)
class _Table:
    """One figure in all scenarios of a suite."""

    suite: str
    metric: str
    title: str
    scale: float = 1.0
    digits: int = 0
    scenario_part: str = ""
    """Only scenarios whose name has this in it."""
    ratios: bool = True
    higher_is_better: bool = False


_TABLES = (
    _Table("throughput", "tokens_per_s", "Throughput, tokens/s", digits=1, higher_is_better=True),
    _Table("throughput", "ttft_p50", "Time to first token, p50, ms", scale=1e3),
    _Table("throughput", "ttft_p95", "Time to first token, p95, ms", scale=1e3),
    _Table("throughput", "itl_p95", "Inter-token latency, p95, ms", scale=1e3),
    _Table(
        "overhead",
        "events_per_s",
        "Streamed events/s, tiny model",
        scenario_part="events",
        higher_is_better=True,
    ),
    _Table(
        "overhead",
        "tokens_per_s",
        "The same in tokens/s",
        scenario_part="events",
        higher_is_better=True,
    ),
    _Table(
        "overhead",
        "requests_per_s",
        "One-token requests/s, tiny model",
        scenario_part="requests",
        higher_is_better=True,
    ),
    _Table(
        "overhead", "client_cores", "Cores that the client used meanwhile", digits=2, ratios=False
    ),
    _Table("coldstart", "first_token", "Process start to first token, s", digits=2),
)


def markdown(samples: Sequence[Sample], machine: dict[str, str]) -> str:
    """The whole report."""
    sections = ["\n".join(f"- {name}: {value}" for name, value in machine.items())]
    sections += [_section(table, samples) for table in _TABLES]
    return "\n\n".join(section for section in sections if section) + "\n"


def as_json(samples: Sequence[Sample], machine: dict[str, str]) -> str:
    """Every sample of every round."""
    return json.dumps({"machine": machine, "samples": [asdict(s) for s in samples]}, indent=2)


def _section(table: _Table, samples: Sequence[Sample]) -> str:
    chosen = [s for s in samples if s.suite == table.suite and table.scenario_part in s.scenario]
    if not chosen:
        return ""
    scenarios = list(dict.fromkeys(sample.scenario for sample in chosen))
    contestants = list(dict.fromkeys(sample.contestant for sample in chosen))
    lines = [
        f"**{table.title}**",
        "",
        f"| | {' | '.join(scenarios)} |",
        "|---" * (len(scenarios) + 1) + "|",
    ]
    for contestant in contestants:
        cells = [_cell(table, chosen, contestant, scenario) for scenario in scenarios]
        lines.append(f"| {contestant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(table: _Table, samples: Sequence[Sample], contestant: str, scenario: str) -> str:
    value = _median(table.metric, samples, contestant, scenario)
    if value is None:
        return "fails"
    text = f"{value * table.scale:,.{table.digits}f}"
    baseline = _baseline(table, samples, scenario)
    if not table.ratios or not baseline or contestant in BASELINES:
        return text
    return f"{text} ({value / baseline:.2f})"


def _baseline(table: _Table, samples: Sequence[Sample], scenario: str) -> float | None:
    """The better one of the contestants that the ratios refer to."""
    values = [_median(table.metric, samples, name, scenario) for name in BASELINES]
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if table.higher_is_better else min(known)


def _median(metric: str, samples: Sequence[Sample], contestant: str, scenario: str) -> float | None:
    """The median over the rounds; None if any round failed: a server must survive them all."""
    rounds = [s for s in samples if s.contestant == contestant and s.scenario == scenario]
    values = [s.metrics[metric] for s in rounds if metric in s.metrics]
    return median(values) if values and len(values) == len(rounds) else None
