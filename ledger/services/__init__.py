"""What other rooms call: record what happened, keep a file, seal, checkpoint, prove, verify."""

from ledger.services.anchoring import AnchorRefusedError, add_anchor, anchor_checkpoint, stamp_holds, tell_anchor
from ledger.services.artifacts import (
    artifact_path,
    read_artifact,
    remove_artifacts,
    scratch_folder,
    store_artifact,
    store_artifact_file,
)
from ledger.services.checkpoints import NothingSealedError, make_checkpoint, public_key, public_verifier_key
from ledger.services.forwarding import (
    FORWARD_QUEUE,
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    forward,
    nudge_forwarders,
    pause_forwarder,
    place_forwarder,
    remove_forwarder,
    resume_forwarder,
    rewind_forwarder,
)
from ledger.services.held import count_payloads, is_held, spare_payloads
from ledger.services.keeping import NotErasableError, Witnessed, compare_checkpoint, erase_payload, rotate_key
from ledger.services.outliving import PAYLOADS, drop_payloads, old_payloads, remove_payloads
from ledger.services.packing import VERIFIER, PackTooLargeError, export_pack, write_pack
from ledger.services.proving import ExplainedProof, NotInLogError, explain_proof, prove_consistency, prove_inclusion
from ledger.services.recording import Record, record, record_many
from ledger.services.residency import (
    ExportRefusedError,
    ensure_destination,
    ensure_may_leave,
    ensure_stays_where_asked,
    ensure_store_stays,
    must_stay_in,
    region_of,
)
from ledger.services.sealing import log_origin, seal_pending
from ledger.services.verification_runs import perform_verification, request_verification
from ledger.services.verifying import Verification, verify_log

__all__ = [
    "FORWARD_QUEUE",
    "PAYLOADS",
    "VERIFIER",
    "AnchorRefusedError",
    "ExplainedProof",
    "ExportRefusedError",
    "ForwarderRefusedError",
    "ForwarderSetup",
    "NotErasableError",
    "NotInLogError",
    "NothingSealedError",
    "PackTooLargeError",
    "Record",
    "Verification",
    "Witnessed",
    "add_anchor",
    "add_forwarder",
    "anchor_checkpoint",
    "artifact_path",
    "compare_checkpoint",
    "count_payloads",
    "drop_payloads",
    "ensure_destination",
    "ensure_may_leave",
    "ensure_stays_where_asked",
    "ensure_store_stays",
    "erase_payload",
    "explain_proof",
    "export_pack",
    "forward",
    "is_held",
    "log_origin",
    "make_checkpoint",
    "must_stay_in",
    "nudge_forwarders",
    "old_payloads",
    "pause_forwarder",
    "perform_verification",
    "place_forwarder",
    "prove_consistency",
    "prove_inclusion",
    "public_key",
    "public_verifier_key",
    "read_artifact",
    "record",
    "record_many",
    "region_of",
    "remove_artifacts",
    "remove_forwarder",
    "remove_payloads",
    "request_verification",
    "resume_forwarder",
    "rewind_forwarder",
    "rotate_key",
    "scratch_folder",
    "seal_pending",
    "spare_payloads",
    "stamp_holds",
    "store_artifact",
    "store_artifact_file",
    "tell_anchor",
    "verify_log",
    "write_pack",
]
