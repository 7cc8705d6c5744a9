"""The columns of :mod:`imagefilter.journal.history`: what of a record each of them is."""

from __future__ import annotations

# The fields that are read of a record. DuckDB skips all others, and reads a value of another type as NULL.
FIELDS = """
    id: 'VARCHAR',
    eventType: 'VARCHAR',
    eventTime: 'VARCHAR',
    action: 'VARCHAR',
    observer: 'STRUCT(host STRUCT(address VARCHAR))',
    initiator: 'STRUCT(
        id VARCHAR,
        name VARCHAR,
        user_domain_id VARCHAR,
        user_domain_name VARCHAR,
        authenticated BOOLEAN,
        project_id VARCHAR,
        project_name VARCHAR,
        project_domain_id VARCHAR,
        project_domain_name VARCHAR,
        roles VARCHAR[],
        audit_ids VARCHAR[],
        trust STRUCT(id VARCHAR, trustee_id VARCHAR, trustor_id VARCHAR),
        application_credential STRUCT(id VARCHAR, name VARCHAR),
        service_user STRUCT(id VARCHAR, name VARCHAR),
        request_id VARCHAR,
        global_request_id VARCHAR,
        forwarded_for VARCHAR,
        host STRUCT(address VARCHAR, agent VARCHAR)
    )',
    target: 'STRUCT(id VARCHAR)',
    attachments: 'STRUCT(content STRUCT(
        verdict_id VARCHAR,
        verdict VARCHAR,
        policy_digest VARCHAR,
        pid BIGINT,
        unrecorded BIGINT,
        configuration STRUCT(
            "section" VARCHAR,
            paste STRUCT("key" VARCHAR, "value" VARCHAR)[],
            files VARCHAR[],
            mode VARCHAR,
            stays_on VARCHAR[],
            journal VARCHAR,
            coordination VARCHAR,
            loaded VARCHAR,
            serial BIGINT,
            failure VARCHAR,
            process_started DOUBLE,
            process_namespace VARCHAR
        ),
        "action" VARCHAR,
        project_id VARCHAR,
        rule VARCHAR,
        message VARCHAR,
        mode VARCHAR,
        "limit" BIGINT,
        usage BIGINT,
        snapshot_usage STRUCT("server" BIGINT, project BIGINT, in_progress BIGINT),
        own_rule BOOLEAN,
        reason VARCHAR,
        facts STRUCT(field VARCHAR, "value" VARCHAR)[],
        snapshot_limits STRUCT("server" BIGINT, project BIGINT, in_progress BIGINT),
        image_quota STRUCT(
            image_count_total STRUCT("limit" BIGINT, usage BIGINT),
            image_size_total STRUCT("limit" BIGINT, usage BIGINT),
            image_count_uploading STRUCT("limit" BIGINT, usage BIGINT)
        ),
        lock_seconds DOUBLE,
        lookup_seconds DOUBLE,
        server_seconds DOUBLE,
        lost_lock BOOLEAN,
        method VARCHAR,
        path VARCHAR,
        media_type VARCHAR,
        image_name VARCHAR,
        image_name_type VARCHAR,
        metadata STRUCT("key" VARCHAR, "value" VARCHAR, "type" VARCHAR)[],
        backup_type VARCHAR,
        rotation BIGINT,
        metadata_keys VARCHAR[],
        metadata_count BIGINT,
        metadata_type VARCHAR,
        truncated STRUCT(field VARCHAR, "length" BIGINT)[],
        status BIGINT,
        image_id VARCHAR,
        seconds DOUBLE,
        error VARCHAR
    ))[]'
"""

# As imagefilter.journal.record.label() has it.
_LABEL = """CASE
    WHEN initiator.{kind}_domain_id = 'default' AND NOT contains({name}, '@') THEN {name}
    ELSE coalesce(
        {name} || '@' || coalesce(
            initiator.{kind}_domain_name, initiator.{kind}_domain_id, CASE WHEN contains({name}, '@') THEN '?' END
        ),
        {name},
        {id}
    )
END"""


def _label(kind: str, name: str, any_id: str) -> str:
    """Return the SQL of how to name a user or a project to people."""
    return _LABEL.format(kind=kind, name=name, id=any_id)


# Columns that come from the record of a verdict. Times are all of one form, in UTC, so they compare as texts.
VERDICT_COLUMNS = {
    "time": "eventTime",
    "verdict": "content.verdict",
    "policy_digest": "content.policy_digest",
    "pid": "content.pid",
    "action": 'content."action"',
    "project_id": "content.project_id",
    "rule": "content.rule",
    "refusal_status": "content.status",
    "message": "content.message",
    "mode": "content.mode",
    "quota_limit": 'content."limit"',
    "quota_usage": "content.usage",
    "snapshot_usage": "content.snapshot_usage",
    "own_rule": "content.own_rule",
    "reason": "content.reason",
    "facts": "content.facts",
    "server_seconds": "content.server_seconds",
    "snapshot_limits": "content.snapshot_limits",
    "image_quota": "content.image_quota",
    "lock_seconds": "content.lock_seconds",
    "lookup_seconds": "content.lookup_seconds",
    "method": "content.method",
    "path": "content.path",
    "media_type": "content.media_type",
    "image_name": "content.image_name",
    "image_name_type": "content.image_name_type",
    "backup_type": "content.backup_type",
    "rotation": "content.rotation",
    "metadata": "content.metadata",
    "metadata_keys": "content.metadata_keys",
    "metadata_count": "content.metadata_count",
    "metadata_type": "content.metadata_type",
    "truncated": "content.truncated",
    "user_id": "initiator.id",
    "user_name": "initiator.name",
    "user_domain_id": "initiator.user_domain_id",
    "user_domain_name": "initiator.user_domain_name",
    "user_label": _label("user", "initiator.name", "initiator.id"),
    "authenticated": "initiator.authenticated",
    "caller_project_id": "initiator.project_id",
    "project_name": "initiator.project_name",
    "project_domain_id": "initiator.project_domain_id",
    "project_domain_name": "initiator.project_domain_name",
    "project_label": _label("project", "initiator.project_name", "content.project_id"),
    "roles": "initiator.roles",
    "audit_ids": "initiator.audit_ids",
    "trust_id": "initiator.trust.id",
    "trustee_id": "initiator.trust.trustee_id",
    "trustor_id": "initiator.trust.trustor_id",
    "application_credential_id": "initiator.application_credential.id",
    "application_credential_name": "initiator.application_credential.name",
    "service_user_id": "initiator.service_user.id",
    "service_user_name": "initiator.service_user.name",
    "request_id": "initiator.request_id",
    "global_request_id": "initiator.global_request_id",
    "forwarded_for": "initiator.forwarded_for",
    "address": "initiator.host.address",
    "agent": "initiator.host.agent",
    "server_id": "target.id",
    "host": "observer.host.address",
}

# Columns that come from the record of its outcome.
OUTCOME_COLUMNS = {
    "status": "content.status",
    "image_id": "content.image_id",
    "error": "content.error",
    "seconds": "content.seconds",
}
