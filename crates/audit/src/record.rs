//! Records as leaves.

use arbiter_core::model::{Record, RecordOutcome};

use crate::detail::{Detail, SALT_BYTES};
use crate::leaf::{Actions, Leaf, NoAction, Outcome, Resource};
use crate::word::{InvalidWord, Word};

/// A record that cannot become a leaf: a mistake in the program that drafted it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A word of it is not one of the log's.
    #[error(transparent)]
    Word(#[from] InvalidWord),
    /// It says nothing.
    #[error(transparent)]
    NoAction(#[from] NoAction),
}

/// Makes the leaf of a record, and the detail that stands beside it. The operation that was called comes first among
/// the actions. `salt` must be random and fresh.
///
/// # Errors
/// Returns a [`RecordError`] for a record without actions or with a word that the log does not take.
pub fn encode_record(record: &Record, salt: [u8; SALT_BYTES]) -> Result<(Leaf, Option<Detail>), RecordError> {
    let operation = record.operation.map(arbiter_core::model::Operation::word);
    let words = operation
        .into_iter()
        .chain(record.actions.iter().map(|action| action.word()));
    let actions = words.map(Word::new).collect::<Result<Vec<_>, _>>()?;
    let detail = record.detail.as_ref().map(|body| Detail {
        salt,
        body: body.as_str().as_bytes().to_vec(),
    });
    let leaf = Leaf {
        at: record.at,
        tenant: record.tenant,
        principal: record.principal,
        actions: Actions::new(actions)?,
        resource: Some(Resource {
            kind: Word::new(record.resource.kind)?,
            id: record.resource.id.clone(),
            version: record.resource.version.map(|version| version.0),
        }),
        outcome: match record.outcome {
            RecordOutcome::Done => Outcome::Done,
            RecordOutcome::Refused => Outcome::Refused,
        },
        reason: record.reason.map(Word::new).transpose()?,
        count: record.count,
        detail: detail.as_ref().map(Detail::digest),
    };
    Ok((leaf, detail))
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{
        AuditAction, Json, Operation, PrincipalId, Resource as Subject, TenantId, Timestamp, Version,
    };

    use super::*;

    fn record() -> Record {
        Record {
            at: Timestamp::from_micros(1),
            tenant: TenantId::from_bytes([1; 16]),
            principal: Some(PrincipalId::from_bytes([2; 16])),
            operation: Some(Operation::TaskSubmit),
            actions: vec![AuditAction::Sanitized, AuditAction::Submitted],
            resource: Subject {
                kind: "task",
                id: "x".into(),
                version: Some(Version(1)),
            },
            outcome: RecordOutcome::Done,
            reason: Some("policy"),
            count: None,
            detail: Json::parse("{}").ok(),
        }
    }

    #[test]
    fn a_record_becomes_a_leaf_with_its_operation_first() {
        let (leaf, detail) = encode_record(&record(), [9; 16]).expect("leaf");
        let words: Vec<&str> = leaf.actions.as_slice().iter().map(Word::as_str).collect();
        assert_eq!(words, ["task.submit", "sanitized", "submitted"]);
        assert_eq!(leaf.detail, detail.as_ref().map(Detail::digest));
        assert_eq!(Leaf::decode(&leaf.encode()), Ok(leaf));
    }

    #[test]
    fn every_word_of_the_vocabulary_is_one_of_the_log() {
        for action in AuditAction::ALL {
            for operation in Operation::ALL {
                let record = Record {
                    operation: Some(*operation),
                    actions: vec![*action],
                    ..record()
                };
                assert!(
                    encode_record(&record, [0; 16]).is_ok(),
                    "{action:?} {operation:?}"
                );
            }
        }
        let silent = Record {
            operation: None,
            actions: Vec::new(),
            ..record()
        };
        assert_eq!(
            encode_record(&silent, [0; 16]),
            Err(RecordError::NoAction(NoAction))
        );
    }
}
