"""Both providers' words and ways by the provider's name."""

from collections.abc import Mapping

from sandbox.dialect import Dialect
from sandbox.faults import Provider
from sandbox.google import dialect as google
from sandbox.microsoft import dialect as microsoft

DIALECTS: Mapping[Provider, Dialect] = {"google": google, "microsoft": microsoft}
