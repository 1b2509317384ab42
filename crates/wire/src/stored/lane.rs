//! The name of a lane.

use std::collections::BTreeSet;

use arbiter_core::model::{Band, LaneKey, Ratio, Requires, Shape, TaskKind, Work};
use serde::{Deserialize, Serialize};

use super::CodecError;
use super::common::{parse, value, version};
use super::spec::{security, security_word, stage};

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    tenant: String,
    band: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<ShapeForm>,
}

#[derive(Serialize, Deserialize)]
struct ShapeForm {
    kind: String,
    security: String,
    #[serde(flatten)]
    requires: RequiresForm,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct RequiresForm {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    languages: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    specialisations: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    tools: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_success_millionths: Option<u32>,
}

impl From<&Requires> for RequiresForm {
    fn from(requires: &Requires) -> Self {
        Self {
            languages: requires.languages.clone(),
            specialisations: requires.specialisations.clone(),
            tools: requires.tools.clone(),
            minimum_success_millionths: requires.minimum_success_rate.map(Ratio::millionths),
        }
    }
}

impl RequiresForm {
    pub(super) fn decode(self) -> Result<Requires, CodecError> {
        Ok(Requires {
            languages: self.languages,
            specialisations: self.specialisations,
            tools: self.tools,
            minimum_success_rate: self.minimum_success_millionths.map(ratio).transpose()?,
        })
    }
}

pub(super) fn ratio(millionths: u32) -> Result<Ratio, CodecError> {
    Ratio::new(f64::from(millionths) / 1e6).map_err(|_| value("ratio in millionths", millionths))
}

/// Writes a lane's name.
///
/// # Errors
/// Never for a name that was made by this program.
pub fn encode_lane(key: &LaneKey) -> Result<String, CodecError> {
    let (review, attempt) = match &key.work {
        Work::Review(stage) => (Some(stage.word().to_owned()), None),
        Work::Attempt(shape) => {
            let form = ShapeForm {
                kind: shape.kind.to_string(),
                security: security_word(shape.security).to_owned(),
                requires: (&shape.requires).into(),
            };
            (None, Some(form))
        }
    };
    let form = Form {
        v: 1,
        tenant: key.tenant.to_string(),
        band: key.band.get(),
        review,
        attempt,
    };
    Ok(serde_json::to_string(&form)?)
}

/// Reads a lane's name.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_lane(text: &str) -> Result<LaneKey, CodecError> {
    let form: Form = serde_json::from_str(text)?;
    version(form.v, 1)?;
    let work = match (form.review, form.attempt) {
        (Some(word), None) => Work::Review(stage(&word)?),
        (None, Some(shape)) => Work::Attempt(Shape {
            kind: TaskKind::new(&shape.kind).map_err(|_| value("task kind", &shape.kind))?,
            security: security(&shape.security)?,
            requires: shape.requires.decode()?,
        }),
        _ => return Err(value("work of a lane", "neither attempt nor review, or both")),
    };
    let band = Band::new(form.band).map_err(|_| value("band", form.band))?;
    Ok(LaneKey {
        tenant: parse("tenant id", &form.tenant)?,
        band,
        work,
    })
}
