"""Accounts, credentials, sessions, memberships and roles, and the audit of logins."""
