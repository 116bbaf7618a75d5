#!/usr/bin/env python3
"""Takes a new snapshot of the price catalogue that `src/cost` embeds.

    python3 -m venv /tmp/prices && /tmp/prices/bin/pip install genai-prices
    /tmp/prices/bin/python scripts/update-prices.py

The data is that of the installed package `genai-prices` (MIT), reduced to what a chat or an embedding can be billed by.
Two files are written:

- `src/cost/catalogue.json`: one line per model, in the package's order, because the first model that matches wins;
- `__test__/fixtures/prices.json`: what the package itself says some answers cost, for the test that compares.

Left out: prices of the past that no call can meet any more, and the prices (not the names) of models that are billed by
something the pool does not count, such as images, pages or hours: their cost is unknown.
"""

import importlib.metadata
import json
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / 'src/cost/catalogue.json'
EXPECTED = ROOT / '__test__/fixtures/prices.json'

# Price of the package -> field of ours. Every one that can meet a field of `Usage`.
PRICES = {
    'input_mtok': 'input',
    'cache_read_mtok': 'cached',
    'cache_write_mtok': 'cache_write',
    'cache_write_1h_mtok': 'cache_write_1h',
    'input_audio_mtok': 'input_audio',
    'output_mtok': 'output',
    'output_audio_mtok': 'output_audio',
    'output_reasoning_mtok': 'reasoning',
    'requests_kcount': 'requests',
}
# Billed beside the tokens of an answer, and never part of its cost here: fees of tools. Cached audio needs a count that
# no provider's chat reply gives; citations need one that only a single model has.
BESIDE = {
    'web_searches_kcount',
    'social_searches_kcount',
    'storage_searches_kcount',
    'cache_audio_read_mtok',
    'output_citation_mtok',
}


def number(value):
    """Decimal -> the shortest JSON number that reads back as it."""
    return int(value) if value == value.to_integral_value() else float(value)


def price(value):
    if isinstance(value, types.TieredPrices):
        return {'base': number(value.base), 'tiers': [[tier.start, number(tier.price)] for tier in value.tiers]}
    return number(value)


def prices(model_price):
    """None: billed by something that is not counted."""
    given = {key: value for key, value in vars(model_price).items() if value is not None and not key.startswith('_')}
    if given.keys() - PRICES.keys() - BESIDE:
        return None
    return {PRICES[key]: price(value) for key, value in given.items() if key in PRICES}


def period(conditional):
    constraint = conditional.constraint
    entry = {}
    if isinstance(constraint, types.StartDateConstraint):
        start = datetime.combine(constraint.start_date, datetime.min.time(), timezone.utc)
        entry['from_unix_ms'] = int(start.timestamp() * 1000)
    elif isinstance(constraint, types.TimeOfDateConstraint):
        entry['between_minutes'] = [minutes(constraint.start_time), minutes(constraint.end_time)]
    found = prices(conditional.prices)
    return None if found is None else {**entry, **found}


def minutes(time):
    """Minute of the UTC day."""
    assert time.utcoffset() is None or time.utcoffset().total_seconds() == 0, time
    return time.hour * 60 + time.minute


def periods(model, now):
    """The periods that can still come, in order; the last active one counts. None: not billed by tokens."""
    listed = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    reachable = []
    for conditional in reversed(listed):
        reachable.insert(0, conditional)
        constraint = conditional.constraint
        lasting = constraint is None or isinstance(constraint, types.StartDateConstraint)
        if lasting and (constraint is None or constraint.active(now)):
            break
    if reachable and isinstance(reachable[0].constraint, types.StartDateConstraint) and reachable[0].constraint.active(now):
        reachable[0] = types.ConditionalPrice(prices=reachable[0].prices)
    found = [period(conditional) for conditional in reachable]
    return None if not found or None in found else found


def match(clause):
    """A text = equals, a list = any of them, an object = an operator."""
    kind = type(clause).__name__
    if kind == 'ClauseOr':
        return [match(part) for part in clause.or_]
    if kind == 'ClauseAnd':
        return {'all': [match(part) for part in clause.and_]}
    if kind == 'ClauseEquals':
        return clause.equals.lower()
    if kind == 'ClauseRegex':
        return {'regex': clause.regex}
    key = {'ClauseStartsWith': 'starts_with', 'ClauseEndsWith': 'ends_with', 'ClauseContains': 'contains'}[kind]
    return {key: getattr(clause, key).lower()}


def line(model, now):
    entry = {'match': match(model.match)}
    if model.context_window is not None:
        entry['context_window'] = model.context_window
    found = periods(model, now)
    if found is not None:
        entry['prices'] = found
    return json.dumps(entry, separators=(',', ':'), ensure_ascii=False)


def write_catalogue(snapshot, version, now):
    distribution = importlib.metadata.distribution('genai-prices')
    license_file = next(file for file in distribution.files if file.name == 'LICENSE')
    header = {
        'source': 'https://github.com/pydantic/genai-prices',
        'package': 'genai-prices',
        'version': version,
        'taken': now.date().isoformat(),
        'license': license_file.read_text().strip(),
    }
    providers = []
    for provider in snapshot.providers:
        models = ',\n'.join(line(model, now) for model in provider.models)
        about = json.dumps({'url': provider.api_pattern, 'fallback': provider.fallback_model_providers or []})
        providers.append(f'{json.dumps(provider.id)}:{about[:-1]}, "models": [\n{models}\n]}}')
    text = json.dumps(header, indent=0)[:-2] + ',\n"providers": {\n' + ',\n'.join(providers) + '\n}\n}\n'
    json.loads(text)
    CATALOGUE.write_text(text)


# === what the package says ===

# Our type -> the package's name, where they differ.
NAMES = {'xai': 'x-ai', 'gemini': 'google'}
MODELS = [
    ('openai', 'gpt-4o'),
    ('openai', 'gpt-4o-2024-08-06'),
    ('openai', 'gpt-4o-mini'),
    ('openai', 'gpt-4.1-nano'),
    ('openai', 'gpt-5'),
    ('openai', 'gpt-5.4'),
    ('openai', 'o3-mini'),
    ('openai', 'gpt-4o-audio-preview'),
    ('openai', 'text-embedding-3-small'),
    ('anthropic', 'claude-sonnet-4-5'),
    ('anthropic', 'claude-sonnet-4-20250514'),
    ('anthropic', 'claude-3-5-haiku-latest'),
    ('anthropic', 'claude-opus-4-1'),
    ('gemini', 'gemini-2.5-pro'),
    ('gemini', 'gemini-2.5-flash'),
    ('gemini', 'gemini-3.8-flash'),
    ('groq', 'llama-3.3-70b-versatile'),
    ('groq', 'openai/gpt-oss-120b'),
    ('mistral', 'mistral-large-latest'),
    ('mistral', 'mistral-small-latest'),
    ('deepseek', 'deepseek-chat'),
    ('deepseek', 'deepseek-v4-pro'),
    ('xai', 'grok-4'),
    ('xai', 'grok-3-mini'),
    ('cohere', 'command-r-plus'),
    ('cohere', 'command-a-03-2025'),
    ('together', 'meta-llama/Llama-3.3-70B-Instruct-Turbo'),
    ('fireworks', 'accounts/fireworks/models/deepseek-v3p2'),
    ('perplexity', 'sonar-pro'),
    ('perplexity', 'sonar-deep-research'),
    ('openrouter', 'anthropic/claude-sonnet-4.5'),
    ('openrouter', 'openai/gpt-4o-mini'),
    ('azure', 'gpt-4o'),
    ('azure', 'gpt-4.1'),
]
PLAIN = {'prompt': 12_345, 'completion': 678}
DETAILED = {'prompt': 250_001, 'completion': 4_321, 'cached': 100_000, 'cache_write': 2_000, 'reasoning': 3_000}
SPECIAL = [
    ('openai', 'gpt-4o-audio-preview', {'prompt': 900, 'completion': 400, 'prompt_audio': 700, 'completion_audio': 350}),
    ('gemini', 'gemini-2.5-flash', {'prompt': 900, 'completion': 400, 'prompt_audio': 700}),
    ('anthropic', 'claude-sonnet-4-5', {'prompt': 9_000, 'completion': 40, 'cache_write': 8_000, 'cache_write_1h': 6_000}),
    ('gemini', 'gemini-2.5-pro', {'prompt': 200_000, 'completion': 10}),
    ('gemini', 'gemini-2.5-pro', {'prompt': 200_001, 'completion': 10}),
]
# Two hours of one day: some models are cheaper in one of them.
HOURS = [datetime(2026, 12, 5, 2, 30, tzinfo=timezone.utc), datetime(2026, 12, 5, 20, 0, tzinfo=timezone.utc)]
COUNTS = {
    'prompt': 'input_tokens',
    'completion': 'output_tokens',
    'cached': 'cache_read_tokens',
    'cache_write': 'cache_write_tokens',
    'cache_write_1h': 'cache_write_1h_tokens',
    'reasoning': 'output_reasoning_tokens',
    'prompt_audio': 'input_audio_tokens',
    'completion_audio': 'output_audio_tokens',
}


def expected(snapshot):
    cases = [(kind, model, usage) for kind, model in MODELS for usage in (PLAIN, DETAILED)] + SPECIAL
    for kind, model, counts in cases:
        if model.startswith('text-embedding'):
            counts = {'prompt': counts['prompt'], 'completion': 0}
        for at in HOURS if kind == 'deepseek' else HOURS[:1]:
            usage = types.Usage(**{COUNTS[key]: value for key, value in counts.items()})
            total = snapshot.calc(usage, model, NAMES.get(kind, kind), None, at).total_price
            nano = int((total * Decimal(10**9)).to_integral_value(ROUND_HALF_UP))
            yield {'type': kind, 'model': model, 'unix_ms': int(at.timestamp() * 1000), **counts, 'nano_usd': nano}


def main():
    snapshot = get_snapshot()
    version = importlib.metadata.version('genai-prices')
    now = datetime.now(timezone.utc)
    write_catalogue(snapshot, version, now)
    lines = [json.dumps(case) for case in expected(snapshot)]
    head = json.dumps({'package': 'genai-prices', 'version': version})[:-1]
    EXPECTED.write_text(head + ', "cases": [\n' + ',\n'.join(lines) + '\n]}\n')
    print(f'genai-prices {version}: {CATALOGUE.stat().st_size} bytes, {len(lines)} cases')


if __name__ == '__main__':
    main()
