"""S3 beyond the contract: versions, markers, locks, uploads, neighbours, replicas, rights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from retention.connectors.base import Connector, Level, Outcome, Proof, Record, Ref, Result, Target
from retention.connectors.s3.settings import S3Location, S3System
from retention.errors import CredentialsRefused, PermanentFailure
from tests.connectors.s3_world import NUMBERS, location, open_s3
from tests.servers.s3 import S3

SOON = datetime(2099, 1, 1, tzinfo=UTC)


class Bucket:
    """A fresh bucket and another client of it."""

    def __init__(self, server: S3, *, versioned: bool = True, lock: bool = False) -> None:
        self.server = server
        self.name = f"own-{next(NUMBERS)}"
        self.client = server.client()
        self.client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=lock)
        if versioned:
            self.versioning("Enabled")

    def versioning(self, status: str) -> None:
        said = {"Status": status}
        self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration=said)

    def put(self, *keys: str, **more: Any) -> None:
        for key in keys:
            self.client.put_object(Bucket=self.name, Key=key, Body=b"x", **more)

    def drop(self, key: str) -> None:
        """As a person deletes: a marker hides what is there."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def places(self) -> list[str]:
        """The key of every version and marker."""
        said = self.client.list_object_versions(Bucket=self.name)
        return sorted(
            item["Key"] for item in (*said.get("Versions", ()), *said.get("DeleteMarkers", ()))
        )

    def uploads(self) -> list[str]:
        said = self.client.list_multipart_uploads(Bucket=self.name)
        return [item["Key"] for item in said.get("Uploads", ())]

    def open(self, **more: Any) -> Connector:
        return open_s3(self.server, self.name, **more)

    def found(self, target: Target | None = None, **more: Any) -> dict[str, Record]:
        connector = self.open(**more)
        try:
            pages = list(connector.find(target or location()))
        finally:
            connector.close()
        return {r.ref.key: r for page in pages for r in page.records}

    def erase(self, refs: Sequence[Ref], **more: Any) -> dict[str, Outcome]:
        connector = self.open(**more)
        try:
            return {o.key: o for o in connector.erase(location(), refs)}
        finally:
            connector.close()

    def proofs(self, refs: Sequence[Ref], **more: Any) -> dict[str, Proof]:
        connector = self.open(**more)
        try:
            return {p.key: p for p in connector.verify(location(), refs, None)}
        finally:
            connector.close()


@pytest.fixture
def bucket(s3_server: S3) -> Bucket:
    return Bucket(s3_server)


def test_a_key_goes_with_all_its_versions_and_its_neighbours_stay(bucket: Bucket) -> None:
    """`a` begins like `ab` and `a/b`: only what is the key itself is deleted and proved."""
    for _ in range(3):
        bucket.put("a", "ab", "a/b", "a b")
    bucket.drop("a")
    ref = bucket.found()["a"].ref
    assert bucket.erase([ref]) == {"a": Outcome("a", Result.DISPOSED)}
    assert set(bucket.places()) == {"ab", "a/b", "a b"}
    assert len(bucket.places()) == 9
    assert bucket.proofs([ref])["a"].level is Level.GONE


def test_what_a_marker_hides_is_a_record(bucket: Bucket) -> None:
    """Deleted by a person, readable by version: found, dated by the marker, then really gone."""
    bucket.put("hidden")
    bucket.drop("hidden")
    record = bucket.found(location(fields=("size", "versions")))["hidden"]
    assert (record.fields["size"], record.fields["versions"]) == (1, 2)
    assert bucket.proofs([record.ref])["hidden"].level is Level.MARKED
    assert bucket.erase([record.ref])["hidden"].result is Result.DISPOSED
    assert bucket.places() == []


def test_the_date_is_the_latest_of_all(bucket: Bucket) -> None:
    """An old key with a new version is as young as that one; `created` tells the first."""
    bucket.put("a")
    bucket.put("a")
    record = bucket.found(location(dates=("last_modified", "created")))["a"]
    first, last = record.dates["created"], record.dates["last_modified"]
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    assert first <= last


def test_a_new_version_is_a_change(bucket: Bucket) -> None:
    """Nothing of the key is touched, not even what was there before."""
    bucket.put("a", "b")
    refs = [r.ref for r in bucket.found().values()]
    bucket.put("a")
    assert {k: o.result for k, o in bucket.erase(refs).items()} == {
        "a": Result.CHANGED,
        "b": Result.DISPOSED,
    }
    assert bucket.places() == ["a", "a"]


def test_an_older_version_that_went_is_no_change(bucket: Bucket) -> None:
    """After half an act, or a lifecycle rule, the same ref finishes the rest."""
    bucket.put("a")
    bucket.put("a")
    ref = bucket.found()["a"].ref
    versions = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    (older,) = (v["VersionId"] for v in versions if not v["IsLatest"])
    bucket.client.delete_object(Bucket=bucket.name, Key="a", VersionId=older)
    assert bucket.erase([ref])["a"].result is Result.DISPOSED
    assert bucket.places() == []


def test_suspended_versioning_keeps_old_versions_and_they_go_too(bucket: Bucket) -> None:
    """The `null` version and those from before."""
    bucket.put("a")
    bucket.versioning("Suspended")
    bucket.put("a")
    ref = bucket.found()["a"].ref
    assert bucket.erase([ref])["a"].result is Result.DISPOSED
    assert bucket.places() == []
    assert bucket.proofs([ref])["a"].level is Level.GONE


def test_versions_are_removed_older_first_and_never_by_key_alone(bucket: Bucket) -> None:
    """A delete without a version would only add a marker; none is ever sent."""
    bucket.put("a")
    bucket.drop("a")
    ref = bucket.found()["a"].ref
    asked = len(bucket.server.asked)
    bucket.erase([ref])
    acts = [line for line in bucket.server.asked[asked:] if line.startswith(("DELETE", "POST"))]
    assert len(acts) == 2
    assert all("delete" in act for act in acts)


# --- locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_retention_is_the_vendors_lock_and_names_its_day(s3_server: S3, mode: str) -> None:
    """Nothing of the key goes, not even the versions that are free; nothing is bypassed."""
    bucket = Bucket(s3_server, versioned=False, lock=True)
    bucket.put("a", "free")
    bucket.put("a", ObjectLockMode=mode, ObjectLockRetainUntilDate=SOON)
    bucket.put("a")
    refs = [r.ref for r in bucket.found().values()]
    outcomes = bucket.erase(refs)
    assert outcomes["a"] == Outcome("a", Result.LOCKED_BY_VENDOR, mode.lower()[:12], SOON)
    assert outcomes["free"].result is Result.DISPOSED
    assert bucket.places() == ["a"] * 3
    assert not any("bypass" in line.lower() for line in s3_server.asked)


def test_a_legal_hold_has_no_day(s3_server: S3) -> None:
    """It holds until somebody lifts it."""
    bucket = Bucket(s3_server, versioned=False, lock=True)
    bucket.put("a", ObjectLockLegalHoldStatus="ON")
    ref = bucket.found()["a"].ref
    locked = Outcome("a", Result.LOCKED_BY_VENDOR, "legal_hold", None)
    assert bucket.erase([ref])["a"] == locked
    assert bucket.places() == ["a"]


def test_a_server_that_fails_when_asked_for_locks_refuses_the_act_itself(s3_server: S3) -> None:
    """Whatever it answers to the questions, what is locked stays, and nothing is claimed."""
    bucket = Bucket(s3_server, versioned=False, lock=True)
    bucket.put("a", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=SOON)
    ref = bucket.found()["a"].ref
    broken = [500, "InternalError"]
    words = ("HEAD /", "?retention", "&retention", "retention=", "legal-hold", "object-lock")
    with s3_server.trouble(status=dict.fromkeys(words, broken)):
        assert bucket.erase([ref])["a"].result is Result.FAILED_PERMANENT
    assert bucket.places() == ["a"]


def test_a_second_factor_is_refused_before_the_act(bucket: Bucket) -> None:
    """No service has one: the outcome says so, and doctor says what to do."""
    bucket.put("a")
    ref = bucket.found()["a"].ref
    told = "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"
    with bucket.server.trouble(answer={"versioning": told + "</VersioningConfiguration>"}):
        assert bucket.erase([ref])["a"] == Outcome("a", Result.FAILED_PERMANENT, "mfa_delete")
        assert not _findings(bucket.open(), location())["mfa delete"][0]
    assert bucket.places() == ["a"]


# --- unfinished uploads -------------------------------------------------------------------------


def test_unfinished_uploads_of_a_key_are_ended(bucket: Bucket) -> None:
    """They hold data of it; those of other keys go on."""
    bucket.put("a")
    for key in ("a", "ab", "only"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    found = bucket.found()
    assert set(found) == {"a", "ab", "only"}
    refs = [found["a"].ref, found["only"].ref]
    assert {o.result for o in bucket.erase(refs).values()} == {Result.DISPOSED}
    assert bucket.uploads() == ["ab"]
    assert {p.level for p in bucket.proofs(refs).values()} == {Level.GONE}


def test_an_upload_that_was_begun_since_is_a_change(bucket: Bucket) -> None:
    """Somebody is writing that key right now."""
    bucket.put("a")
    ref = bucket.found()["a"].ref
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="a")
    assert bucket.erase([ref])["a"].result is Result.CHANGED
    assert (bucket.places(), bucket.uploads()) == (["a"], ["a"])


def test_uploads_that_may_not_be_seen_are_not_claimed(bucket: Bucket) -> None:
    """The proof says what was looked at, and doctor names the missing right."""
    bucket.put("a")
    ref = bucket.found()["a"].ref
    with bucket.server.trouble(deny=["?uploads", "&uploads"]):
        assert bucket.erase([ref])["a"].result is Result.DISPOSED
        assert "uploads not visible" in bucket.proofs([ref])["a"].how
        bucket.put("b")
        assert not _findings(bucket.open(), location())["location files/store: uploads"][0]


# --- without versions ---------------------------------------------------------------------------


def test_without_versions_the_deletion_has_a_condition(s3_server: S3) -> None:
    """The server compares the tag itself where it can; its refusal is a change."""
    bucket = Bucket(s3_server, versioned=False)
    bucket.put("a")
    ref = bucket.found()["a"].ref
    with s3_server.trouble(if_match=412):
        assert bucket.erase([ref])["a"].result is Result.CHANGED
    assert bucket.places() == ["a"]


def test_a_server_without_conditions_is_looked_at_right_before(s3_server: S3) -> None:
    """It says so (501); then the look just made is what there is."""
    bucket = Bucket(s3_server, versioned=False)
    bucket.put("a", "b")
    refs = [r.ref for r in bucket.found().values()]
    bucket.client.put_object(Bucket=bucket.name, Key="b", Body=b"changed")
    with s3_server.trouble(if_match=501):
        results = {k: o.result for k, o in bucket.erase(refs).items()}
    assert results == {"a": Result.DISPOSED, "b": Result.CHANGED}
    assert bucket.places() == ["b"]


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("InternalError", Result.FAILED_TEMPORARY),
        ("SlowDown", Result.FAILED_TEMPORARY),
        ("AccessDenied", Result.FAILED_PERMANENT),
        ("SomethingNew", Result.FAILED_PERMANENT),
        ("NoSuchVersion", Result.DISPOSED),
        ("", Result.UNKNOWN),
    ],
)
def test_each_key_has_its_own_answer(bucket: Bucket, code: str, result: Result) -> None:
    """One request deletes many; what the server says of one key is that key's outcome."""
    bucket.put("a", "b")
    refs = {k: r.ref for k, r in bucket.found().items()}
    items = {
        v["Key"]: v["VersionId"]
        for v in bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    }
    wrong = f"<Error><Key>a</Key><VersionId>{items['a']}</VersionId><Code>{code}</Code></Error>"
    told = f"<DeleteResult><Deleted><Key>b</Key><VersionId>{items['b']}</VersionId></Deleted>"
    told += (wrong if code else "") + "</DeleteResult>"
    with bucket.server.trouble(answer={"POST /": told}):
        outcomes = bucket.erase(list(refs.values()))
    assert {k: o.result for k, o in outcomes.items()} == {"a": result, "b": Result.DISPOSED}


def test_refused_keys_are_told_without_the_servers_words(bucket: Bucket) -> None:
    """Wrong keys, a foreign bucket, another region: each has its cause and a hint."""
    for name, kind in {
        "SignatureDoesNotMatch": CredentialsRefused,
        "AccessDenied": CredentialsRefused,
        "NoSuchBucket": PermanentFailure,
        "PermanentRedirect": PermanentFailure,
    }.items():
        told = {f"/{bucket.name}": [400, name]}
        with bucket.server.trouble(status=told), pytest.raises(kind) as caught:
            bucket.found()
        assert "told so" not in str(caught.value)
        assert caught.value.place


def test_an_unordered_listing_is_refused(bucket: Bucket) -> None:
    """Versions are put together by order: where there is none, nothing is guessed."""
    entry = (
        "<Version><Key>{}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest>"
        "<LastModified>2024-01-01T00:00:00Z</LastModified><Size>1</Size></Version>"
    )
    page = "<ListVersionsResult><IsTruncated>{}</IsTruncated>{}"
    page += "<NextKeyMarker>a</NextKeyMarker></ListVersionsResult>"
    told = {
        "key-marker": page.format("false", entry.format("a")),
        "versions": page.format("true", entry.format("b")),
    }
    with bucket.server.trouble(answer=told), pytest.raises(PermanentFailure) as caught:
        bucket.found()
    assert caught.value.code == "unordered"


# --- finding ------------------------------------------------------------------------------------


def test_pages_and_cursors_over_several_prefixes(bucket: Bucket) -> None:
    """Two versions a key, two prefixes, small pages: each key once, from any cursor."""
    keys = [f"{prefix}k{n}" for prefix in ("a/", "b/x/") for n in range(7)]
    bucket.put(*keys, "ab/other", "other")
    bucket.put(*keys)
    target = location("b/x/", "a/", "a/inner/")
    connector = bucket.open(page=3)
    pages = list(connector.find(target))
    found = [r.ref.key for page in pages for r in page.records]
    assert found == keys
    for number, page in enumerate(pages):
        rest = [r.ref.key for p in connector.find(target, page.cursor) for r in p.records]
        assert rest == found[sum(len(p.records) for p in pages[: number + 1]) :]
    connector.close()


def test_overlapping_locations_share_containers(bucket: Bucket) -> None:
    """Also where only old versions or markers are left in a folder."""
    bucket.put("k/anna/1", "k/bo/x/y/2", "top", "/lead")
    bucket.drop("k/anna/1")
    connector = bucket.open(levels=2)
    whole, inner = (set(connector.containers(location(p))) for p in ("", "k/bo/"))
    connector.close()
    name = bucket.name
    assert whole == {f"{name}/", f"{name}//", f"{name}/k/", f"{name}/k/anna/", f"{name}/k/bo/"}
    assert inner == {f"{name}/k/bo/"}
    records = bucket.found(levels=2)
    assert {r.ref.container for r in records.values()} <= whole
    with pytest.raises(PermanentFailure, match="levels"):
        bucket.found(location("a/b/c/"), levels=2)


def test_tags_and_names_are_sources(bucket: Bucket) -> None:
    """A tag that changes is another version of the record: the decision may rest on it."""
    bucket.put("k/2024-03-01 x.pdf", Tagging="state=ended")
    target = location(
        dates=("name_date",),
        fields=("tag:state", "name", "folder"),
        pattern="{YYYY}-{MM}-{DD}*",
    )
    (before,) = bucket.found(target).values()
    assert (before.fields["tag:state"], before.fields["folder"]) == ("ended", "k")
    assert str(before.dates["name_date"]) == "2024-03-01"
    tags = {"TagSet": [{"Key": "state", "Value": "active"}]}
    bucket.client.put_object_tagging(Bucket=bucket.name, Key="k/2024-03-01 x.pdf", Tagging=tags)
    (after,) = bucket.found(target).values()
    assert after.ref.version != before.ref.version
    for wrong in (location(dates=("modified",)), location(fields=("colour",))):
        with pytest.raises(PermanentFailure):
            bucket.found(wrong)


# --- copies -------------------------------------------------------------------------------------


def test_a_replica_is_not_gone(bucket: Bucket) -> None:
    """Deleting versions is never replicated: the proof says so unless the replica is listed."""
    other = Bucket(bucket.server)
    rule = {
        "ID": "all",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{other.name}"},
    }
    bucket.client.put_bucket_replication(
        Bucket=bucket.name,
        ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/r", "Rules": [rule]},
    )
    bucket.put("a")
    ref = bucket.found()["a"].ref
    bucket.erase([ref])
    assert bucket.proofs([ref])["a"].level is Level.VENDOR
    assert bucket.proofs([ref], replica_listed=True)["a"].level is Level.GONE
    bucket.put("b")
    assert not _findings(bucket.open(), location())["replication"][0]


# --- settings and doctor ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"endpoint": "http://s3.example.org"},
        {"endpoint": "https://key:secret@s3.example.org"},
        {"bucket": "a/b"},
        {"bucket": "own--x-s3"},
        {"secret": "written out"},
        {"region": "eu north"},
    ],
)
def test_settings_that_are_not_safe_are_refused(said: dict[str, str]) -> None:
    """In the policy file already."""
    good = {"bucket": "own", "access_key": {"env": "X"}, "secret": {"env": "Y"}}
    S3System.model_validate(good)
    with pytest.raises(ValidationError):
        S3System.model_validate({**good, **said})


def test_a_prefix_ends_with_a_slash() -> None:
    """`a` would take `ab` along."""
    with pytest.raises(ValidationError):
        S3Location.model_validate({"prefix": "a"})


def _findings(connector: Connector, *targets: Target) -> dict[str, tuple[bool, str]]:
    found = {f.check: (f.ok, f.detail) for f in connector.probe(targets)}
    connector.close()
    return found


def test_doctor_names_what_deletes_or_keeps_besides_us(bucket: Bucket) -> None:
    """Lifecycle rules, access logs, missing prefixes, rights beyond need."""
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    bucket.client.put_bucket_lifecycle_configuration(
        Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]}
    )
    bucket.put("a")
    found = _findings(bucket.open(), location(), location("typo/"))
    assert not found["lifecycle"][0] or "unfinished" in found["lifecycle"][1]
    assert "every version" in found["versioning"][1]
    assert "never bypassed" not in found.get("object lock", (True, ""))[1]
    assert not found["excess rights"][0]
    assert not found["location files/store"][0]
    quiet = ["lifecycle", "logging", "replication", "policy", "GET /?"]
    with bucket.server.trouble(deny=quiet):
        assert _findings(bucket.open(), location())["excess rights"][0]


def test_a_clock_that_is_wrong_is_noticed(bucket: Bucket) -> None:
    """Dates come from the server's clock."""

    class Wrong:
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(hours=3)

    connector = bucket.open()
    connector._clock = Wrong()  # type: ignore[attr-defined]  # the engine gives it as an extra
    assert not _findings(connector, location())["clock"][0]
