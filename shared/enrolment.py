"""How a hospital comes in: what travels between its IT and the consortium's operator. Pure: callers do the I/O.

1. The operator hands over an `Invite`: whom to dial, what to trust, and a one-time token.
2. The hospital makes its keys at home and answers with a `JoinRequest`: its public keys, proven by the token (which
   does not travel back) and signed by its new identity.
3. Both read the same `fingerprint` to each other by telephone: it binds everything either side was given, the
   federation's root and certificate authority included, so one comparison uncovers a change in either direction.
4. Later a `RotationRequest`, signed by the old and the new identity, replaces keys; it names the identity it replaces,
   so it works once.

Guarantees: a file read by `read_invite` or `read_request` has every field within its pattern; one that `to_text` wrote
reads back as the very same record, so no name, host or certificate can smuggle in a line.
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.crypto.identity import Identity, verify
from shared.crypto.node_key import checked
from shared.crypto.roster import SiteName
from shared.crypto.secret import SecretRecord
from shared.errors import InputError, PeerError
from shared.toml import load_toml, parse_toml
from shared.wire import Record, digest

JOIN_LABEL = "konsil/join-request/v1"
ROTATE_LABEL = "konsil/rotation-request/v1"
FINGERPRINT_LABEL = "konsil/fingerprint/v1"

#: No invite or request is larger: a certificate, a few keys and some comments.
LIMIT = 1 << 16
TOKEN_BYTES = 32
#: 30 decimal digits: 99 bits.
DIGITS = 30

Key32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Signature = Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]
HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
Address = Annotated[str, Meta(pattern=rf"\A(?:{HOST}|\[[0-9a-fA-F:.]{{2,45}}\]):[0-9]{{1,5}}\Z")]
NodeKey = Annotated[str, Meta(pattern=r"\Aecdsa-sha2-nistp256 [A-Za-z0-9+/]{1,200}={0,2}\Z")]
Certificate = Annotated[
    str,
    Meta(pattern=r"\A-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n){1,100}-----END CERTIFICATE-----\n\Z"),
]


class Invite(SecretRecord, frozen=True):
    """What the operator hands to one hospital. Whoever reads `token` can ask in its name: send it privately."""

    name: SiteName
    #: host:port
    coordinator: Address
    #: the federation root's public key, 32 bytes in hex
    root: Key32
    #: TOKEN_BYTES in hex
    token: Key32
    #: until when, UTC
    expires: Annotated[datetime, Meta(tz=True)]
    #: the certificate of the authority that signs the coordinator's
    authority: Certificate
    kind: Literal["invite-1"] = "invite-1"


class Request(Record, frozen=True):
    """What both kinds of request hold: whose, for which federation, and the keys to be listed. Hex but `node_key`."""

    name: SiteName
    #: the root and the SHA-256 of the authority's certificate that the hospital was given
    root: Key32
    authority: Key32
    identity: Key32
    #: OpenSSH public key, P-256
    node_key: NodeKey


class JoinRequest(Request, frozen=True):
    """A hospital's answer to its invite. `proof`: HMAC-SHA256 of all before it under the token."""

    proof: Key32
    signature: Signature
    kind: Literal["join-1"] = "join-1"


class RotationRequest(Request, frozen=True):
    """New keys for a hospital that belongs already, signed by the identity to be `previous` and by the new one."""

    previous: Key32
    previous_signature: Signature
    signature: Signature
    kind: Literal["rotation-1"] = "rotation-1"


def check_name(name: str) -> str:
    """`name`, if it may name a hospital and so a file; else InputError."""
    try:
        return msgspec.convert(name, SiteName)
    except msgspec.ValidationError:
        raise InputError(
            f"hospital {name[:80]!r}",
            expected="1 to 63 of a-z, 0-9 and '-', a letter or digit first",
            do="Choose another name.",
        ) from None


def fingerprint(root: str, authority: str, name: str, identity: str, node_key: str) -> str:
    """30 digits in groups of five, to read aloud: equal at both ends only if both hold these very values."""
    return _spoken(*(part.encode() for part in (root, authority, name, identity, node_key)))


def fingerprint_of(request: Request) -> str:
    """The fingerprint of what `request` asks to be listed."""
    return fingerprint(request.root, request.authority, request.name, request.identity, request.node_key)


def root_fingerprint(root: str) -> str:
    """The federation root's own, to compare when an invite arrives. `root` in hex."""
    return _spoken(root.encode())


def same_fingerprint(one: str, other: str) -> bool:
    """Whether two people hold the same digits, however they group them."""
    left, right = (re.sub(r"[^0-9]", "", text) for text in (one, other))
    return len(left) == DIGITS and hmac.compare_digest(left, right)


def authority_digest(certificate: str) -> str:
    """How requests name the authority: SHA-256 of its PEM text, in hex."""
    return hashlib.sha256(certificate.encode()).hexdigest()


def join_request(invite: Invite, identity: Identity, node_key: str) -> JoinRequest:
    """The hospital's answer to `invite`: the same bytes whenever it is made anew from the same keys."""
    authority, public = authority_digest(invite.authority), identity.public.hex()
    body = _body(JOIN_LABEL, invite.name, invite.root, authority, public, node_key)
    proof = hmac.digest(bytes.fromhex(invite.token), body, "sha256")
    return JoinRequest(
        name=invite.name,
        root=invite.root,
        authority=authority,
        identity=public,
        node_key=node_key,
        proof=proof.hex(),
        signature=identity.sign(JOIN_LABEL, body, proof).hex(),
    )


def rotation_request(last: Request, old: Identity, new: Identity, node_key: str) -> RotationRequest:
    """A request to list `new` and `node_key` instead of `old`, for the federation of the `last` request."""
    previous, public = old.public.hex(), new.public.hex()
    body = _body(ROTATE_LABEL, last.name, last.root, last.authority, public, node_key, previous)
    return RotationRequest(
        name=last.name,
        root=last.root,
        authority=last.authority,
        identity=public,
        node_key=node_key,
        previous=previous,
        previous_signature=old.sign(ROTATE_LABEL, body).hex(),
        signature=new.sign(ROTATE_LABEL, body).hex(),
    )


def verify_join(request: JoinRequest, token: bytes) -> None:
    """Return if the holder of `token` and of the listed identity made `request`, else raise PeerError."""
    checked(request.node_key)
    body = _body(JOIN_LABEL, request.name, request.root, request.authority, request.identity, request.node_key)
    proof = hmac.digest(token, body, "sha256")
    if not hmac.compare_digest(proof, bytes.fromhex(request.proof)):
        raise PeerError(
            f"request of {request.name}",
            expected="proof by the token of its open invite",
            got="another",
            do="It was changed on the way, or answers an older invite; invite the hospital again.",
        )
    verify(bytes.fromhex(request.identity), bytes.fromhex(request.signature), JOIN_LABEL, body, proof)


def verify_rotation(request: RotationRequest) -> None:
    """Return if the owners of both the old and the new identity made `request`, else raise PeerError."""
    checked(request.node_key)
    parts = (request.name, request.root, request.authority, request.identity, request.node_key, request.previous)
    body = _body(ROTATE_LABEL, *parts)
    for public, signature in (
        (request.previous, request.previous_signature),
        (request.identity, request.signature),
    ):
        verify(bytes.fromhex(public), bytes.fromhex(signature), ROTATE_LABEL, body)


def read_invite(data: bytes, source: str) -> Invite:
    """The invite in `data`. Raises InputError naming `source` and the wrong key."""
    try:
        return parse_toml(Invite, _text(data, source), source)
    except InputError as error:
        if error.what != f"{source}: token":
            raise
        raise InputError(error.what, expected="64 hexadecimal digits", got="something else") from None


def read_request(data: bytes, source: str) -> JoinRequest | RotationRequest:
    """The request in `data`, of either kind. Raises InputError naming `source` and the wrong key."""
    text = _text(data, source)
    if load_toml(text, source).get("kind") == "rotation-1":
        return parse_toml(RotationRequest, text, source)
    return parse_toml(JoinRequest, text, source)


def to_text(record: Invite | Request, comment: str) -> str:
    """`record` as TOML under `comment`. Raises InputError for a value that no reader would accept."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for name, value in msgspec.structs.asdict(record).items():
        lines.append(f"{name} = {_literal(value)}")
    text = "\n".join(lines) + "\n"
    if parse_toml(type(record), text, record.name) != record:
        raise InputError(f"record of {record.name}", expected="one that reads back as written", got="another")
    return text


def quoted(text: str) -> str:
    """`text` as a TOML basic string: control characters, quotes and backslashes escaped (TOML 1.0, strings)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(repr(text), expected="UTF-8 text", do="Rename it.") from None
    # JSON's escapes are TOML's, but JSON leaves DEL as it is
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def utc(seconds: float) -> datetime:
    """Unix seconds as whole seconds UTC."""
    return datetime.fromtimestamp(int(seconds), UTC)


def _literal(value: str | datetime) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if "\n" in value:  # PEM: its pattern allows neither quotes nor backslashes
        return f'"""\n{value}"""'
    return quoted(value)


def _body(label: str, *parts: str) -> bytes:
    return digest(label, *(part.encode() for part in parts))


def _text(data: bytes, source: str) -> str:
    if len(data) > LIMIT:
        raise InputError(source, expected=f"an invite or request of at most {LIMIT} bytes", got="a larger file")
    try:
        return data.decode("utf-8-sig")  # mail programs of Windows put a mark before the text
    except UnicodeDecodeError:
        raise InputError(source, expected="a text file in UTF-8", got="other bytes", do="Check the path.") from None


def _spoken(*parts: bytes) -> str:
    number = int.from_bytes(digest(FINGERPRINT_LABEL, *parts), "big") % 10**DIGITS
    digits = f"{number:0{DIGITS}d}"
    return " ".join(digits[start : start + 5] for start in range(0, DIGITS, 5))
