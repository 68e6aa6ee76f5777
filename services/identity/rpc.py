"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.identity.v1 import service_pb2, service_pb2_grpc

from kernel import context
from services.identity import handlers, members, queries
from services.identity.handlers import NAME, Means


class IdentityService(service_pb2_grpc.IdentityServiceServicer):
    """Answers ``yunku.identity.v1.IdentityService``."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def IssuePhoneCode(self, request: service_pb2.IssuePhoneCodeRequest, _: Any) -> service_pb2.IssuePhoneCodeResponse:
        return await handlers.issue_phone_code(self._means, request, context.current())

    async def RegisterAccount(self, request: service_pb2.RegisterAccountRequest, _: Any) -> service_pb2.RegisterAccountResponse:
        return await handlers.register_account(self._means, request, context.current())

    async def IssueChallenge(self, request: service_pb2.IssueChallengeRequest, _: Any) -> service_pb2.IssueChallengeResponse:
        return await handlers.issue_challenge(self._means, request, context.current())

    async def IssueQrLogin(self, request: service_pb2.IssueQrLoginRequest, _: Any) -> service_pb2.IssueQrLoginResponse:
        return await handlers.issue_qr_login(self._means, request, context.current())

    async def GetQrLogin(self, request: service_pb2.GetQrLoginRequest, _: Any) -> service_pb2.GetQrLoginResponse:
        return await handlers.get_qr_login(self._means, request, context.current())

    async def ApproveQrLogin(self, request: service_pb2.ApproveQrLoginRequest, _: Any) -> service_pb2.ApproveQrLoginResponse:
        return await handlers.approve_qr_login(self._means, request, context.current())

    async def OpenSession(self, request: service_pb2.OpenSessionRequest, _: Any) -> service_pb2.OpenSessionResponse:
        return await handlers.open_session(self._means, request, context.current())

    async def RenewSession(self, request: service_pb2.RenewSessionRequest, _: Any) -> service_pb2.RenewSessionResponse:
        return await handlers.renew_session(self._means, request, context.current())

    async def Authenticate(self, request: service_pb2.AuthenticateRequest, _: Any) -> service_pb2.AuthenticateResponse:
        handlers.require_gateway(context.current())
        return await queries.authenticate(self._means.log.pool, request.token, self._means.clock())

    async def PickSubject(self, request: service_pb2.PickSubjectRequest, _: Any) -> service_pb2.PickSubjectResponse:
        return await handlers.pick_subject(self._means, request, context.current())

    async def CloseSession(self, request: service_pb2.CloseSessionRequest, _: Any) -> service_pb2.CloseSessionResponse:
        await handlers.close_session(self._means, request, context.current())
        return service_pb2.CloseSessionResponse()

    async def GetAccountNames(self, request: service_pb2.GetAccountNamesRequest, _: Any) -> service_pb2.GetAccountNamesResponse:
        means = self._means
        names = await queries.account_names(means.log.pool, means.keyring, request.account_ids, NAME)
        return service_pb2.GetAccountNamesResponse(names=names)

    async def ListMembers(self, request: service_pb2.ListMembersRequest, _: Any) -> service_pb2.ListMembersResponse:
        return await members.list_members(self._means, request, context.current())

    async def AddMember(self, request: service_pb2.AddMemberRequest, _: Any) -> service_pb2.AddMemberResponse:
        return await members.add_member(self._means, request, context.current())

    async def ChangeMemberRole(self, request: service_pb2.ChangeMemberRoleRequest, _: Any) -> service_pb2.ChangeMemberRoleResponse:
        return await members.change_role(self._means, request, context.current())

    async def RemoveMember(self, request: service_pb2.RemoveMemberRequest, _: Any) -> service_pb2.RemoveMemberResponse:
        await members.remove(self._means, request, context.current())
        return service_pb2.RemoveMemberResponse()

    async def GrantRole(self, request: service_pb2.GrantRoleRequest, _: Any) -> service_pb2.GrantRoleResponse:
        return await handlers.grant_role(self._means, request, context.current())

    async def RevokeRole(self, request: service_pb2.RevokeRoleRequest, _: Any) -> service_pb2.RevokeRoleResponse:
        await handlers.revoke_role(self._means, request, context.current())
        return service_pb2.RevokeRoleResponse()

    async def ListRoleHolders(self, request: service_pb2.ListRoleHoldersRequest, _: Any) -> service_pb2.ListRoleHoldersResponse:
        return await handlers.role_holders(self._means, request, context.current())

    async def EraseAccount(self, request: service_pb2.EraseAccountRequest, _: Any) -> service_pb2.EraseAccountResponse:
        await handlers.erase_account(self._means, request, context.current())
        return service_pb2.EraseAccountResponse()
