//! Lanes: what claims go by.

use sha2::{Digest as _, Sha256};

use super::{Band, LaneId, Requires, SecurityLevel, Stage, TaskKind, TaskSpec, TenantId};

/// What an agent must satisfy to serve a lane: the requirement class of its tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// The kind of the tasks.
    pub kind: TaskKind,
    /// What they require.
    pub requires: Requires,
    /// How sensitive they are.
    pub security: SecurityLevel,
}

impl Shape {
    /// The requirement class of a specification.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            kind: spec.kind.clone(),
            requires: spec.requires.clone(),
            security: spec.security,
        }
    }
}

/// What is to be done with the tasks of a lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// An agent attempts them.
    Attempt(Shape),
    /// A node reviews them.
    Review(Stage),
}

/// The full name of a lane: tenant + band + requirement class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// Whose tasks they are.
    pub tenant: TenantId,
    /// How urgent they are.
    pub band: Band,
    /// What is to be done.
    pub work: Work,
}

impl LaneKey {
    /// The first eight bytes of the SHA-256 of the key's parts, each with its length before it.
    pub fn id(&self) -> LaneId {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.tenant.as_bytes());
        part(&[self.band.get()]);
        match &self.work {
            Work::Review(stage) => {
                part(b"review");
                part(stage.word().as_bytes());
            }
            Work::Attempt(shape) => {
                part(b"attempt");
                part(shape.kind.as_str().as_bytes());
                for words in [
                    &shape.requires.languages,
                    &shape.requires.specialisations,
                    &shape.requires.tools,
                ] {
                    part(&(words.len() as u64).to_be_bytes());
                    words.iter().for_each(|word| part(word.as_bytes()));
                }
                let minimum = shape
                    .requires
                    .minimum_success_rate
                    .map_or(u32::MAX, super::Ratio::millionths);
                part(&minimum.to_be_bytes());
                part(&[shape.security as u8]);
            }
        }
        let bytes: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        LaneId(i64::from_be_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(languages: &[&str], tools: &[&str]) -> LaneKey {
        let mut spec = TaskSpec::new(TaskKind::new("analysis").expect("kind"), "t", "i");
        spec.requires.languages = languages.iter().map(|&word| word.to_owned()).collect();
        spec.requires.tools = tools.iter().map(|&word| word.to_owned()).collect();
        LaneKey {
            tenant: TenantId::from_bytes([1; 16]),
            band: Band::HIGHEST,
            work: Work::Attempt(Shape::of(&spec)),
        }
    }

    #[test]
    fn lanes_differ_where_requirements_differ() {
        let ids = [
            key(&[], &[]).id(),
            key(&["rust"], &[]).id(),
            key(&[], &["rust"]).id(),
            key(&["ru", "st"], &[]).id(),
            LaneKey {
                work: Work::Review(Stage::Judge),
                ..key(&[], &[])
            }
            .id(),
            LaneKey {
                work: Work::Review(Stage::Verify),
                ..key(&[], &[])
            }
            .id(),
            LaneKey {
                band: Band::DESCENDING[1],
                ..key(&[], &[])
            }
            .id(),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(key(&["a", "b"], &[]).id(), key(&["b", "a"], &[]).id());
    }
}
