"""Schemathesis over the description: whatever is asked, there is no 5xx, and every answer is as described."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nearnext.serving.endpoints import Endpoints
from nearnext.serving.operations import operations
from serving_support import PATIENCE, Server

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
OF_WHAT_IS_READ = [negative_data_rejection, positive_data_acceptance]
RULES = {"where", "boost", "at_most", "after", "show", "attributes"}
"""Fields that name columns or event types of the model, which the description does not know."""


@pytest.fixture(scope="module")
def described(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def as_integers(value: Any) -> Any:
    """Whole floats as integers, which JSON Schema calls 5.0, but no client writes so."""
    if isinstance(value, list):
        return [as_integers(entry) for entry in value]
    if isinstance(value, dict):
        return {key: entry if key == "time" else as_integers(entry) for key, entry in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", operations(Endpoints), ids=lambda one: f"{one.method} {one.path}")
def test_every_answer_is_as_described(described: Any, operation: Any, mode: GenerationMode):
    found = described[operation.path][operation.method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        pytest.skip("nothing that could be wrong")

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        phases=[Phase.generate],
    )
    @given(case=found.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.body = as_integers(case.body)
        answer = case.call(timeout=PATIENCE)
        too_long = answer.status_code == 431  # refused before it is read, be it right or wrong
        given_rules = RULES.intersection([*(case.query or ()), *(case.body if isinstance(case.body, dict) else ())])
        unsaid = OF_WHAT_IS_READ if too_long else [positive_data_acceptance] if given_rules else []
        case.validate_response(answer, checks=[check for check in CHECKS if check not in unsaid])

    check()
