//! Erasures as they are shown.

use arbiter_queue::erasures::Erasure;
use arbiter_wire::http::ErasureView;

/// An erasure.
pub fn erasure(erasure: &Erasure) -> ErasureView {
    ErasureView {
        id: erasure.id.to_string(),
        tenant: erasure.tenant.to_string(),
        subject: erasure.subject.word().to_owned(),
        subject_id: erasure.subject.id(),
        reason: erasure.reason.clone(),
        requested_by: erasure.requested_by.to_string(),
        requested_at: erasure.requested_at.to_string(),
        stage: erasure.stage.word().to_owned(),
        finished_at: erasure.finished_at.map(|at| at.to_string()),
    }
}
