#!/usr/bin/env bash
# Jinja2 computes constant parts of a template while it compiles it, by rules that are not those of the rendering: the
# same expression gives another text, or none of the error, when a variable is replaced by its value.
#
# * Under autoescape, `~` of constants joins them as plain texts, so Markup among them is escaped once more; with a
#   variable among them it is kept.
# * A slice of a constant that has no slices is undefined, and prints nothing; of a variable it is an error.
#
# Whoever runs Jinja's templates elsewhere (chat templates, say) and compares with Jinja meets this in the tests first:
# what is written for a test with literals is not what users' templates do with variables.
#
# Seen with Jinja2 3.1.6 and MarkupSafe 3.0.4:
#   {{ "<" ~ (">"|safe) }}    &lt;&gt;    {{ a ~ (">"|safe) }}    &lt;>
#   {{ 5[1:] }}               (empty)     {{ n[1:] }}             TypeError
# Exits 1 if constants and variables agree on one of them, 2 if they differ otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q jinja2==3.1.6 markupsafe==3.0.4
"$work/venv/bin/python" - <<'PY'
import importlib.metadata, sys

import jinja2

environment = jinja2.Environment(autoescape=True)

def rendered(template):
    try:
        return environment.from_string(template).render(a="<", n=5)
    except Exception as error:
        return type(error).__name__

print("Jinja2", importlib.metadata.version("jinja2"))
seen = []
for constant, variable in [('{{ "<" ~ (">"|safe) }}', '{{ a ~ (">"|safe) }}'), ("{{ 5[1:] }}", "{{ n[1:] }}")]:
    seen.append((rendered(constant), rendered(variable)))
    print(constant, repr(seen[-1][0]), "  ", variable, repr(seen[-1][1]))
if any(constant == variable for constant, variable in seen):
    sys.exit(1)
sys.exit(0 if seen == [("&lt;&gt;", "&lt;>"), ("", "TypeError")] else 2)
PY
