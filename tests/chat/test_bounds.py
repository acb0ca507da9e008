"""Templates that would take hours or gigabytes are refused, before they have."""

from __future__ import annotations

import pytest

from shared.chat.template import MAX_SOURCE, ChatTemplate, TemplateError

HELLO = [{"role": "user", "content": "Hello"}]
GROWING = [
    "{{ 10**(10**8) }}",
    "{% set n = 10 %}{{ n ** (n ** 8) }}",
    "{% set ns=namespace(n=10) %}{% for i in range(60) %}{% set ns.n = ns.n*ns.n %}{% endfor %}{{ ns.n }}",
    "{% set ns=namespace(n=2) %}{% for i in range(60) %}{% set ns.n = ns.n**2 %}{% endfor %}{{ ns.n }}",
    "{{ lipsum(10**6) }}",
    "{{ [1]|slice(10**9)|list }}",
    "{% for x in [1]|slice(10**9) %}{% endfor %}",
    "{{ [1]|batch(10**9,'x')|list }}",
    "{{ 'x' * 10**9 }}",
    "{% set a='x'*10**7 %}{{ a*100 }}",
    "{{ range(10**9)|list }}",
    "{% set ns=namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns=namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns=namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
    "{% set s='x'*3*10**7 %}{% for i in range(100000) %}{{ s }}{% endfor %}",
    "{{ 'a\n'|indent(10**9) }}",
    "{{ ('a\n'*10**6)|indent(1000) }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'.center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ 'a'.zfill(10**9) }}",
    "{{ ('\t'*1000).expandtabs(10**8) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1,w=10**9) }}",
    "{{ '%*d' % (10**9,1) }}",
    "{{ '%.1000000000f' % 1.5 }}",
    "{{ ('{0}'*10**5).format('x'*10**6) }}",
    "{{ ('%(a)s'*10**5) % {'a':'x'*10**6} }}",
    "{{ '{0:0>1000000000}'.format(1) }}",
    "{{ '{:.1000000000f}'.format(1.5) }}",
    "{{ '{a:1000000000}'.format_map({'a':1}) }}",
    "{{ ('{0[0]}'*10**5).format(['x'*10**6]) }}",
    "{{ ('%(a)s'*10**5)|format(a='x'*10**6) }}",
    "{{ '%(a)1000000000d' % {'a':1} }}",
    "{{ '%s %0999999999d' % ('x',1) }}",
    "{{ [1]|tojson(indent=10**9) }}",
    "{{ ([1]*10**5)|tojson(separators=('x'*10**6,'y')) }}",
    "{{ [1]|tojson(indent='x'*10**8) }}",
    "{{ ('a'*10**6)|replace('a','b'*10**6) }}",
    "{{ ('a'*10**6).replace('a','b'*10**6) }}",
    "{{ ('a'*10**6)|replace('','b'*10**6) }}",
    "{{ strftime_now('%1000000000d') }}",
    "{{ strftime_now('%c'*10**7) }}",
    "{{ ('1'*10**7)|int(base=2) }}",
    "{% set n = ('1'*4000)|int %}{% set ns=namespace(n=n) %}{% for i in range(100) %}{% set ns.n = ns.n * n %}{% endfor %}{{ ns.n % 7 }}",
    "{{ (1).to_bytes(10**9,'big') }}",
    "{{ (['x'*1000000]*10**6)|sum(start='') }}",
    "{{ (['x'*10**6]*10**5)|join }}",
    "{{ ''.join(['x'*10**6]*10**5) }}",
    "{{ ([1]*10**6)|join('x'*10**6) }}",
    "{{ 2.5|round(10**9,'floor') }}",
    "{{ ('a'*10**6).translate({97:'x'*10**6}) }}",
    "{{ ('é'*10**5).encode('punycode') }}",
    "{{ (['x']*1000)|map('center',10**9)|list }}",
    "{{ (['x'*1000]*1000)|map('replace','x','y'*10**6)|list }}",
    "{{ ('a.b@'*10**5)|urlize }}",
    "{{ ([[1]]*10**6)|pprint }}",
    "{% set s='x'*3*10**7 %}{% set ns=namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + [s + 'a'] %}{% endfor %}",
    "{% set s='x'*3*10**7 %}{% set ns=namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + [s[1:]] %}{% endfor %}",
    "{% set s='x'*3*10**7 %}{% set ns=namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + [s|upper] %}{% endfor %}",
    "{% set s='x'*3*10**7 %}{% set ns=namespace(l=[]) %}{% for i in range(10000) %}{% set b %}{{ s }}{% endset %}{% set ns.l = ns.l + [b] %}{% endfor %}",
    "{% set s='x'*3*10**7 %}{% set ns=namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + [s ~ 'a'] %}{% endfor %}",
]
NESTED = "{% set a = [1] %}{% set b = [1] %}" + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
TUPLE = "{% set a = (1, 2) %}" + "{% set a = (a, a) %}" * 60
OBJECT = "{% set a = {} %}" + "{% set a = {'x': a, 'y': a} %}" * 60
SPACE = "{% set a = namespace(b=[1]) %}" + "{% set a.b = [a.b, a.b] %}" * 60


def render(source: str) -> str:
    return ChatTemplate(source).render(HELLO)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("source", GROWING, ids=lambda source: source[:60])
def test_what_makes_much_of_little_is_refused(source: str) -> None:
    with pytest.raises(TemplateError):
        render(source)


@pytest.mark.slow
@pytest.mark.sweep(4)
@pytest.mark.parametrize(
    "use",
    [
        *("a", "a ~ ''", "a | string", "a | tojson", "[a] | join", "a | title", "'%s' % (a,)"),
        *("'{}'.format(a)", "'%s' | format(a)", "a | replace('1', '2')", "a is lower"),
        *("a == b", "a in [b]", "a is eq(b)", "[a, b] | sort", "[a, b] | min", "[a].index(b)"),
        *("{'a': a, 'b': b} | dictsort(by='value')", "[{'k': a}, {'k': b}] | groupby('k')"),
    ],
)
def test_objects_of_few_parts_that_read_as_billions(use: str) -> None:
    with pytest.raises(TemplateError, match="too much text"):
        render(f"{NESTED}{{{{ {use} }}}}")


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("use", ["{}[a]", "{a: 1}", "a in {}", "{}.get(a)", "dict([(a, 1)])"])
def test_keys_of_billions_of_parts(use: str) -> None:
    with pytest.raises(TemplateError, match="too much text"):
        render(f"{TUPLE}{{{{ {use} }}}}")


@pytest.mark.slow
@pytest.mark.parametrize("source", [OBJECT + "{{ a }}", SPACE + "{{ a }}"])
def test_other_objects_of_billions_of_parts(source: str) -> None:
    with pytest.raises(TemplateError, match="too much text"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% set a %}0123456789{% endset %}"
        + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40
        + "{{ a }}",
        "{% filter replace('x', 'xxxxxxxxxx') %}" * 9 + "xxxx" + "{% endfilter %}" * 9,
        "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
        + "{% call m() %}" * 16
        + "{{ '0123456789' * 1000 }}"
        + "{% endcall %}" * 16,
    ],
    ids=["set", "filter", "call"],
)
def test_blocks_that_grow(source: str) -> None:
    with pytest.raises(TemplateError):
        render(source)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "source",
    [
        "{{ a" + "+ a" * 2000 + " }}",
        "{{ messages" + ".a" * 5000 + " }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        "{{ " + "2**" * 3000 + "2 }}",
        "{#" * 1000,
        " " * (MAX_SOURCE + 1),
    ],
    ids=lambda source: source[:20],
)
def test_sources_that_can_not_be_compiled_are_refused(source: str) -> None:
    with pytest.raises(TemplateError, match="chat template"):
        render(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 2 ** 10 }} {{ 7 % 4 }} {{ 3 * 'ab' }} {{ -7 // 2 }}", "1024 3 ababab -4"),
        ("{{ 'a' + 'b' + 'c' + 'd' + 'e' + 'f' }}{{ 1 + 2 + 3 + 4 + 5 + 6 }}", "abcdef21"),
        ("{{ [1] + [2] }}{{ 'a' ~ 1 ~ none ~ [2] }}", "[1, 2]a1None[2]"),
        ("{{ '%s-%05.1f' % ('a', 1.25) }}{{ '%(x)s' % {'x': 1} }}", "a-001.2" + "1"),
        ("{{ '{0:>4}|{x}'.format(1, x=2) }}{{ '%d%%' | format(5) }}", "   1|25%"),
        ("{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ [1, 2, 3][:2] }}", "bccba[1, 2]"),
        ("{{ 'a,b'.split(',') }}{{ ' a '.strip() }}{{ 'ab'.replace('a', 'c') }}", "['a', 'b']acb"),
        ("{{ '-'.join(['a', 'b']) }}{{ 'a' | center(3) }}{{ 'x'.zfill(3) }}", "a-b a 00x"),
        ("{{ 'a\nb' | indent(2) }}{{ [1, 2, 3] | batch(2) | list }}", "a\n  b[[1, 2], [3]]"),
        ("{{ [1, 2, 3] | slice(2) | list }}{{ [1, 2] | sum }}", "[[1, 2], [3]]3"),
        ("{{ [{'n': 1}, {'n': 2}] | sum('n') }}{{ ['a', 'b'] | join('|') }}", "3a|b"),
        ("{{ [3, 1] | sort | join }}{{ 'é'.encode() | length }}{{ '12' | int }}", "13212"),
        ("{{ [1, 2] | map('string') | list }}{{ 2.5 | round(1) }}", "['1', '2']2.5"),
        ("{% set a = (1, 2) %}{{ {a: 1}[a] }}{{ a == (1, 2) }}{{ a in [a] }}", "1TrueTrue"),
        (
            "{{ {'a': 1}.items() | list }}{{ {'b': 2, 'a': 1} | dictsort }}",
            "[('a', 1)][('a', 1), ('b', 2)]",
        ),
    ],
)
def test_usual_operations_are_as_they_were(source: str, text: str) -> None:
    assert render(source) == text


def test_long_conversations_are_no_growth() -> None:
    """What a template copies of them, turn by turn, is far below the limit."""
    source = (
        "{% set ns = namespace(text='', seen=[]) %}{% for m in messages %}"
        "{% set ns.text = ns.text + m.content | trim + '|' %}{% set ns.seen = ns.seen + [m] %}"
        "{{ messages[loop.index0:] | length }}{% endfor %}{{ ns.text }}"
    )
    messages = [{"role": "user", "content": "x" * 200}] * 500
    assert len(ChatTemplate(source, time_limit_s=60).render(messages)) > 100_000
