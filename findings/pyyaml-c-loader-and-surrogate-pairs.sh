#!/bin/sh
# PyYAML 6.0.3: JSON that escapes a character beyond U+FFFF as a surrogate pair (as json.dumps does by default) is refused
# by the C loader ("invalid Unicode character escape code"), and read by the pure Python loader, which gives two lone
# surrogates in place of the character. So the same file of JSON lines, read as YAML, fails or gives text that cannot be
# encoded as UTF-8, depending on which loader is there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check pyyaml==6.0.3
"$folder/venv/bin/python" - <<'PYTHON'
import json

import yaml

text = json.dumps({"action": "echo \U0001f600"})
print("PyYAML", yaml.__version__, "reads", text)
assert json.loads(text)["action"] == "echo \U0001f600"
try:
    yaml.load(text, yaml.CSafeLoader)
except yaml.YAMLError as error:
    print("C loader:", str(error).splitlines()[1].strip())
else:
    raise SystemExit("changed: the C loader reads a surrogate pair")
found = yaml.load(text, yaml.SafeLoader)["action"]
print("Python loader:", ascii(found))
assert found == "echo \ud83d\ude00", "changed: the Python loader joins the pair"
try:
    found.encode()
except UnicodeEncodeError:
    print("which is no text: it cannot be encoded")
else:
    raise SystemExit("changed: it can be encoded")
PYTHON
