"""What other rooms call: record what happened, keep a file, seal, checkpoint, prove, verify."""

from ledger.services.anchoring import AnchorRefusedError, add_anchor, anchor_checkpoint, stamp_holds, tell_anchor
from ledger.services.artifacts import read_artifact, store_artifact
from ledger.services.checkpoints import NothingSealedError, make_checkpoint, public_key, public_verifier_key
from ledger.services.keeping import NotErasableError, Witnessed, compare_checkpoint, erase_payload, rotate_key
from ledger.services.packing import PackTooLargeError, export_pack
from ledger.services.proving import ExplainedProof, NotInLogError, explain_proof, prove_consistency, prove_inclusion
from ledger.services.recording import record
from ledger.services.sealing import log_origin, seal_pending
from ledger.services.verification_runs import perform_verification, request_verification
from ledger.services.verifying import Verification, verify_log

__all__ = [
    "AnchorRefusedError",
    "ExplainedProof",
    "NotErasableError",
    "NotInLogError",
    "NothingSealedError",
    "PackTooLargeError",
    "Verification",
    "Witnessed",
    "add_anchor",
    "anchor_checkpoint",
    "compare_checkpoint",
    "erase_payload",
    "explain_proof",
    "export_pack",
    "log_origin",
    "make_checkpoint",
    "perform_verification",
    "prove_consistency",
    "prove_inclusion",
    "public_key",
    "public_verifier_key",
    "read_artifact",
    "record",
    "request_verification",
    "rotate_key",
    "seal_pending",
    "stamp_holds",
    "store_artifact",
    "tell_anchor",
    "verify_log",
]
