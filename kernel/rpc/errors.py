"""Errors on their way through gRPC: what a failed call is to be called, and its form in the trailing metadata."""

from typing import Final

import grpc
import nats.errors
import nats.js.errors
import psycopg
import urllib3.exceptions
from minio.error import MinioException, S3Error, ServerError
from yunku.kernel.v1 import kernel_pb2

from kernel.errors import ERROR_CODES, FieldError, YunkuError

ERROR_METADATA: Final = "yunku-error-bin"
#: gRPC refuses metadata above its limit (:data:`MAX_METADATA`); errors beyond this are left out of a detail.
_MAX_DETAIL: Final = 24 * 1024
#: Bytes of metadata that both sides accept.
MAX_METADATA: Final = 64 * 1024


def as_yunku_error(error: BaseException) -> YunkuError:
    """What the caller is told about ``error``.

    A refusal stays what it is. Time run out is ``deadline_exceeded``; a database, broker or object store that doesn't
    answer is ``service_unavailable``; everything else is ``internal``, without any detail.
    """
    if isinstance(error, YunkuError):
        return error
    if is_unavailable(error):
        return YunkuError("service_unavailable")
    if isinstance(error, TimeoutError):
        return YunkuError("deadline_exceeded")
    return YunkuError("internal")


def is_unavailable(error: BaseException) -> bool:
    """Whether ``error`` says that a dependency is down, stopping or out of connections, so that trying again helps."""
    # SQLAlchemy wraps the driver's exception.
    original = getattr(error, "orig", None)
    if isinstance(original, BaseException):
        error = original
    if isinstance(error, psycopg.errors.QueryCanceled):
        return False
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return True
    if isinstance(error, nats.js.errors.APIError):
        return error.code is not None and error.code >= 500
    if isinstance(error, nats.errors.Error | urllib3.exceptions.HTTPError | ConnectionError | ServerError):
        return True
    if isinstance(error, S3Error):
        return error.code in {"InternalError", "ServiceUnavailable", "SlowDown"}
    return isinstance(error, MinioException) and isinstance(error.__cause__, urllib3.exceptions.HTTPError)


def grpc_status(error: YunkuError) -> grpc.StatusCode:
    """The status under which a refusal travels."""
    status: grpc.StatusCode = grpc.StatusCode[error.definition.grpc_status]
    return status


def encode(error: YunkuError) -> bytes:
    """The ErrorDetail of a refusal, for the trailing metadata."""
    detail = kernel_pb2.ErrorDetail(code=error.code, params=error.params)
    size = detail.ByteSize()
    for one in error.errors:
        message = kernel_pb2.FieldError(pointer=one.pointer, code=one.code, params=one.params)
        size += message.ByteSize() + 4
        if size > _MAX_DETAIL:
            break
        detail.errors.append(message)
    return detail.SerializeToString()


def decode(data: bytes) -> YunkuError:
    """The refusal of an ErrorDetail; codes that this release doesn't know become ``internal``.

    Raises google.protobuf.message.DecodeError when ``data`` is no ErrorDetail.
    """
    detail = kernel_pb2.ErrorDetail.FromString(data)
    if detail.code not in ERROR_CODES:
        return YunkuError("internal")
    # Params may be called like the constructor's own arguments ("field"), so they are set afterwards.
    error = YunkuError(
        detail.code,
        errors=[
            FieldError(one.pointer, one.code if one.code in ERROR_CODES else "value_invalid", dict(one.params)) for one in detail.errors
        ],
    )
    error.params = dict(detail.params)
    return error
