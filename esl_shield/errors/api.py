"""Errors of the HTTP API and of its keys; ``status`` is the HTTP status they are answered with."""

from __future__ import annotations

from typing import ClassVar

from esl_shield.errors import DependencyAway, InputRejected, NegativeAnswer, ShieldError


class ApiError(ShieldError):
    """The group of what a request to the HTTP API is refused with."""

    status: ClassVar[int]


class ApiBadRequest(ApiError, InputRejected):
    """What came is not plainly one HTTP request, or its body did not come as its head said."""

    error_id = "api.bad_request"
    sentence = "That was no plain HTTP request, or its body came broken or too slowly; the connection is closed."
    status = 400


class ApiUnauthorized(ApiError, NegativeAnswer):
    """No key, or one that is unknown, revoked or over."""

    error_id = "api.unauthorized"
    sentence = (
        "The request has no valid key: send Authorization: Bearer with a key of esl-shield apikey add, or a token."
    )
    status = 401


class ApiForbidden(ApiError, NegativeAnswer):
    """The key's scopes do not let it do this."""

    error_id = "api.forbidden"
    sentence = "The key lacks the scope {scope}, which this operation takes."
    status = 403


class ApiNotFound(ApiError, NegativeAnswer):
    """Nothing is there; what belongs to another tenant is not there either."""

    error_id = "api.not_found"
    sentence = "There is no such {what}."
    status = 404


class ApiMethod(ApiError, InputRejected):
    """The path is known and not with this method."""

    error_id = "api.method"
    sentence = "This path does not take that method; see the header Allow and /v1/openapi.json."
    status = 405


class ApiTooLarge(ApiError, InputRejected):
    """A request's body is too long."""

    error_id = "api.too_large"
    sentence = "The body is longer than {most} bytes; send fewer rows at a time."
    status = 413


class ApiMediaType(ApiError, InputRejected):
    """A body is not JSON, or its length is not said."""

    error_id = "api.media_type"
    sentence = "The body must be JSON, sent with Content-Type: application/json."
    status = 415


class ApiInvalid(ApiError, InputRejected):
    """A request is not of the form the API's document gives; ``where`` and ``problem`` repeat nothing of it."""

    error_id = "api.invalid"
    sentence = "The request was not taken: {where} {problem}; /v1/openapi.json says what this operation takes."
    status = 422


class ApiRowRejected(ApiError, InputRejected):
    """A number, or what came with it, was not taken; ``reason`` is ``area.reason``, the number is masked."""

    error_id = "api.row_rejected"
    sentence = "The number {masked} got no token ({reason}); nothing was changed."
    status = 422


class ApiRepeatedOtherwise(ApiError, InputRejected):
    """The idempotency key came before, with another request."""

    error_id = "api.idempotency_key"
    sentence = "This Idempotency-Key was used within a day for another request; draw a new one for each request."
    status = 422


class ApiInProgress(ApiError, DependencyAway):
    """The same request with the same idempotency key came before and is not answered yet."""

    error_id = "api.in_progress"
    sentence = "The same request with this Idempotency-Key is under way; wait a second and send it again."
    status = 409


class ApiTooMany(ApiError, DependencyAway):
    """The key's requests come faster than it may, or an address's with keys nobody made."""

    error_id = "api.too_many"
    sentence = "This key, or this address with unknown keys, asks more than {rate} times a second; wait {seconds} s."
    status = 429


class ApiUnexpected(ApiError):
    """A mistake of ours; the log says where."""

    error_id = "api.unexpected"
    sentence = "The request ended in a way that should not be; the log of the process says where."
    status = 500


class ApiBusy(ApiError, DependencyAway):
    """There is no room for another connection."""

    error_id = "api.busy"
    sentence = "As many callers as there is room for are connected; try again."
    status = 503


class TokeniserAway(ApiError, DependencyAway):
    """The process with the keys did not answer."""

    error_id = "api.tokeniser_away"
    sentence = "The process that makes tokens does not answer; nothing else is affected. Try again later."
    status = 503


class TokenKeysAway(ApiError, DependencyAway):
    """The authorization server's keys could not be read for long."""

    error_id = "api.token_keys_away"
    sentence = "The authorization server's keys cannot be read, so no access token can be checked; try again later."
    status = 503


class ApiKeyUnknown(NegativeAnswer):
    """The tenant has no such key, or it is over."""

    error_id = "apikey.unknown"
    sentence = "Tenant {tenant} has no key {key} of the HTTP API that is in use; see esl-shield apikey list."


class ApiKeyRejected(InputRejected):
    """A key cannot be made as asked."""

    error_id = "apikey.rejected"
    sentence = "No key was made: {problem}."
