"""Chat templates are Jinja as transformers runs it: some 430 templates of our own, which use every
construct of Jinja's manual for template designers, give the same text, or an error where they do.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_template_corpus.py
"""

import datetime
import json

import pytest

pytest.importorskip("transformers")
chat_template_utils = pytest.importorskip("transformers.utils.chat_template_utils")

import template_corpus  # noqa: E402
from text_peer import Peer  # noqa: E402

MESSAGES = [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi"}]
NOW = datetime.datetime(2024, 12, 30, 3, 4, 5)
TOOLS = template_corpus.VARIABLES["tools"]
VARIABLES = {name: value for name, value in template_corpus.VARIABLES.items() if name != "tools"}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


@pytest.fixture(scope="module")
def peer():
    with Peer() as peer:
        yield peer


def theirs(template: str, messages=MESSAGES) -> str | Exception:
    try:
        return chat_template_utils.render_jinja_template([messages], tools=TOOLS, chat_template=template, **VARIABLES)[0][0]
    except Exception as error:  # whatever Python raises: ours must be an error too
        return error


def ours(peer: Peer, template: str, spans: bool = False) -> dict:
    answer = peer.ask("template", source=template)
    if "error" in answer:
        return answer
    seconds = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())
    return peer.ask("chat", messages=json.dumps(MESSAGES), tools=json.dumps(TOOLS), variables=json.dumps(VARIABLES),
                    prompt=False, spans=spans, now=seconds)


def has_address(text: str | Exception) -> bool:
    """Python shows an object of no text of its own by its class or its place in memory; ours is an error."""
    return isinstance(text, str) and (" at 0x" in text or "<class " in text)


def test_every_construct_of_the_manual_renders_as_in_transformers(peer):
    different, texts = [], 0
    for template in template_corpus.templates():
        right, answer = theirs(template), ours(peer, template)
        texts += isinstance(right, str)
        if has_address(right):
            assert "error" in answer, template
        elif answer.get("text") != (right if isinstance(right, str) else None):
            different.append((template, right, answer))
    assert not different, different[:3]
    print(f"{texts} templates give a text and {len(template_corpus.templates()) - texts} an error in both")
    assert texts > 200


def test_every_error_names_its_line(peer):
    for template in ["{{ 1 / 0 }}", "{{ none | length }}", "{% for i in none %}{% endfor %}", "{{ missing.x }}", "{{ (1 }}"]:
        answer = ours(peer, "\n\n" + template)
        assert "line 3" in answer["error"], answer


def test_what_the_assistant_wrote_is_found_whatever_surrounds_it(peer, tmp_path):
    (tmp_path / "text").write_text("in one and in two and in three\n" * 9)
    peer.get("train", kind="bpe", texts=[str(tmp_path / "text")], size=260, special=[], to=str(tmp_path / "tokenizer.json"))
    peer.get("tokenizer", path=str(tmp_path / "tokenizer.json"))
    for template in ["{% macro m(x) %}<{% generation %}{{ x }}{% endgeneration %}>{% endmacro %}{{ m('in ' ~ 1.0) }}",
                     "{% set t %}a{% generation %}in 1.0{% endgeneration %}b{% endset %}{{ t }}",
                     "{% for c in 'ab' %}{% if loop.last %}{% generation %}in {{ 1.0 }}{% endgeneration %}{% endif %}{{ c }}{% endfor %}",
                     "{% macro m() %}{{ caller('in') }}{% endmacro %}{% call(x) m() %}{% generation %}{{ x }} 1.0{% endgeneration %}{% endcall %}"]:
        answer = ours(peer, template, spans=True)
        text = answer["text"].encode()
        assert [text[begin:end].decode() for begin, end in answer["spans"]] == ["in 1.0"], template
        assert answer["text"] == theirs(template)
