"""Certificates as the command line handles them: made, signed, shown and checked in files of this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inferno_cli import output
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.identity.authority import Grant, make_request
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.names import MeshName
from inferno_runtime.identity.preflight import (
    Facts,
    check_authority,
    check_identity,
    check_pair,
    facts_in,
    moment,
)

_COLUMNS = (
    output.Column("names", "NAMES"),
    output.Column("from", "FROM"),
    output.Column("until", "UNTIL"),
    output.Column("issuer", "SIGNED BY"),
    output.Column("serial", "SERIAL"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for: ``name`` is ``role/name`` or empty, ``seconds`` its life."""

    name: str
    hosts: tuple[str, ...]
    seconds: float


def init(folder: Path, domain: str, form: output.Format) -> None:
    """Make a CA.

    Raises:
        AlreadyExists: There is one.
        InvalidInput: The domain or the folder is no good.
    """
    kept = AuthorityFolder(folder)
    made = kept.create(domain, time.time())
    if form == "json":
        output.print_json({"certificate": str(kept.certificate), "key": str(kept.key), "pin": made.pin})
        return
    output.print_line(f"{kept.certificate}\n{kept.key}")
    output.say(f"A CA for the trust domain {domain}. Whoever reads {kept.key.name} can make members: keep it secret.")


def issue(ca: Path, out: Path, subject: Subject, form: output.Format) -> None:
    """Sign a certificate and put it, its key and the CA into ``out``.

    Raises:
        InvalidInput: The CA, the name, a host or the folder is no good.
    """
    if not subject.name and not subject.hosts:
        raise InvalidInput(
            "There is nobody to sign a certificate for.",
            reason="NO_SUBJECT",
            fix="Give --name ROLE/NAME for a member, --host NAME for a server, or both.",
        )
    now = time.time()
    authority = AuthorityFolder(ca).read(now)
    member = MeshName.parse(f"spiffe://{authority.domain}/{subject.name}") if subject.name else None
    request, kept = make_request(), IdentityFolder(out)
    certificate = authority.sign(request.csr, Grant(member, subject.hosts, subject.seconds), now)
    try:
        kept.write(certificate, request.key, authority.trusted)
    except OSError as error:
        raise InvalidInput(
            f"The certificate cannot be written to {out}: {error.strerror}.",
            reason="FOLDER_UNWRITABLE",
            fix="Choose another folder with --out.",
        ) from error
    made = check_identity(kept, now)
    if form == "json":
        files = {"certificate": str(kept.certificate), "key": str(kept.key), "ca": str(kept.authority)}
        output.print_json({**files, **_row(made)})
        return
    output.print_line(f"{kept.certificate}\n{kept.key}\n{kept.authority}")
    output.say(f"For {', '.join(made.names)}, until {moment(made.not_after)}.")


def show(file: Path, form: output.Format) -> None:
    """Write what a PEM file's certificates say to standard output.

    Raises:
        InvalidInput: It cannot be read, or holds none.
    """
    rows = [_row(each) for each in facts_in(file)]
    if form == "json":
        output.print_json({"certificates": rows})
    else:
        output.print_table(_COLUMNS, rows)


def check(certificate: Path, key: Path | None, ca: Path | None) -> bool:
    """Tell on standard output whether files are fit for use; True when they are."""
    now = time.time()
    try:
        found = _checked(certificate, key, now)
        authorities = check_authority(ca, now) if ca else ()
    except InfernoError as error:
        output.print_line(f"error[{error.reason}] {error.sentence()}")
        return False
    for each in (found, *authorities):
        warning = each.warning(now)
        output.print_line(f"warning {warning}" if warning else f"ok {each.label}, until {moment(each.not_after)}")
    return True


def _checked(certificate: Path, key: Path | None, now: float) -> Facts:
    if certificate.is_dir():
        return check_identity(IdentityFolder(certificate), now)
    if key is None:
        raise InvalidInput(
            f"{certificate} is a file, and its key is not given.", reason="NO_KEY", fix="Give the key's file after it."
        )
    return check_pair(certificate, key, now)


def _row(each: Facts) -> dict[str, str]:
    names: Sequence[str] = each.names or (each.subject,)
    return {
        "names": " ".join(names),
        "from": moment(each.not_before),
        "until": moment(each.not_after),
        "issuer": each.issuer,
        "serial": each.serial,
    }
