"""The composition root."""

from yunku.identity.v1 import service_pb2, service_pb2_grpc

from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.eventlog.store import EventLog, utc_now
from kernel.privacy import Keyring
from kernel.service import Runtime
from services.identity import adapters, consumers, queries, rpc
from services.identity.handlers import Means
from services.identity.ports import CodeSender
from services.identity.settings import Settings


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log and serves it."""
    log = await attach(runtime, declared("identity"), consumers.subscriptions)
    means = make_means(runtime, log)
    runtime.add_background("sweep", lambda: adapters.sweep(runtime.pool))
    # Sessions and memberships are nobody's company's: what a READER may do with them is decided here.
    own = service_pb2.DESCRIPTOR.services_by_name["IdentityService"].methods_by_name
    runtime.rpc.register(service_pb2_grpc.add_IdentityServiceServicer_to_server, rpc.IdentityService(means), open_to_readers=tuple(own))


def make_means(runtime: Runtime[Settings], log: EventLog) -> Means:
    """Everything that the commands need."""
    settings = runtime.settings
    keyring = Keyring(runtime.pool, settings.privacy_key)
    return Means(
        log=log,
        keyring=keyring,
        settings=settings,
        limits=adapters.RateLimits(runtime.pool),
        codes=adapters.PhoneCodes(runtime.pool, keyring.secret("phone codes")),
        challenges=adapters.Challenges(runtime.pool),
        qr_logins=adapters.QrLogins(runtime.pool),
        claims=keyring.secret("qr login claims"),
        passwords=adapters.Passwords(),
        trust=adapters.TrustStore(settings.trust_directory),
        sender=code_sender(settings),
        subjects=queries.SubjectDirectory(runtime.pool, runtime.peers),
        clock=utc_now,
    )


def code_sender(settings: Settings) -> CodeSender:
    """By the SMS gateway where one is set; else in the reply (development) or not at all (production)."""
    if settings.sms_url:
        return adapters.SmsGateway(settings.sms_url, settings.sms_token_file)
    return adapters.ShownInReply() if settings.profile == "development" else adapters.NoSms()
