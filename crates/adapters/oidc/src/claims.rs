//! What a token says, checked.

use std::time::Duration;

use arbiter_core::model::Timestamp;
use arbiter_core::ports::AuthenticationError;
use serde_json::Value;

use crate::object::Object;
use crate::subject::is_name;

/// What a token must say.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    /// The token is meant for one of these.
    pub(crate) audience: Vec<String>,
    /// How far clocks may differ.
    pub(crate) leeway: Duration,
}

/// What a token says that is valid now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    /// Its own id, if it has one.
    pub(crate) id: Option<String>,
    /// From then on it is refused.
    pub(crate) until: Timestamp,
    pub(crate) all: Object,
}

impl Expected {
    /// Checks what a verified token says.
    ///
    /// # Errors
    /// [`AuthenticationError`]: `Foreign` for another issuer or audience, `Expired`, `NotYetValid`, `Unsupported` for a token
    /// that is bound to a key of its holder (RFC 7800), `Malformed` for everything else.
    pub(crate) fn check(&self, claims: Object, now: Timestamp) -> Result<Claims, AuthenticationError> {
        let malformed = || AuthenticationError::Malformed;
        if claims.text("iss").ok_or_else(malformed)? != self.issuer {
            return Err(AuthenticationError::Foreign);
        }
        if !self.is_meant_for_us(claims.get("aud").ok_or_else(malformed)?)? {
            return Err(AuthenticationError::Foreign);
        }
        if claims.has("cnf") {
            return Err(AuthenticationError::Unsupported);
        }
        let until = moment(claims.get("exp").ok_or_else(malformed)?)?.plus(self.leeway);
        if now >= until {
            return Err(AuthenticationError::Expired);
        }
        for name in ["nbf", "iat"] {
            let from = claims.get(name).map(moment).transpose()?;
            if from.is_some_and(|from| from.minus(self.leeway) > now) {
                return Err(AuthenticationError::NotYetValid);
            }
        }
        let subject = claims.text("sub").filter(|subject| is_name(subject));
        let id = match claims.get("jti") {
            None => None,
            Some(id) => Some(id.as_str().ok_or_else(malformed)?.to_owned()),
        };
        Ok(Claims {
            subject: subject.ok_or_else(malformed)?.to_owned(),
            id,
            until,
            all: claims,
        })
    }

    fn is_meant_for_us(&self, audience: &Value) -> Result<bool, AuthenticationError> {
        let is_ours = |one: &Value| {
            let one = one.as_str().ok_or(AuthenticationError::Malformed)?;
            Ok(self.audience.iter().any(|ours| ours == one))
        };
        match audience {
            Value::Array(many) => {
                let ours: Result<Vec<bool>, _> = many.iter().map(is_ours).collect();
                Ok(ours?.contains(&true))
            }
            one => is_ours(one),
        }
    }
}

/// A moment in seconds since 1970, whole or not (RFC 7519 §2), before the year 10000.
fn moment(value: &Value) -> Result<Timestamp, AuthenticationError> {
    const END: f64 = 253_402_300_800.0;
    let seconds = value.as_f64().filter(|seconds| (0.0..END).contains(seconds));
    let micros = seconds.ok_or(AuthenticationError::Malformed)? * 1_000_000.0;
    Ok(Timestamp::from_micros(micros as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn checked(change: impl FnOnce(&mut Value)) -> Result<Claims, AuthenticationError> {
        at(Timestamp::from_micros(NOW * 1_000_000), change)
    }

    fn at(now: Timestamp, change: impl FnOnce(&mut Value)) -> Result<Claims, AuthenticationError> {
        let expected = Expected {
            issuer: "https://issuer.example".to_owned(),
            audience: vec!["arbiter".to_owned(), "second".to_owned()],
            leeway: Duration::from_secs(30),
        };
        let mut claims =
            json!({"iss": "https://issuer.example", "aud": "arbiter", "sub": "ann", "exp": NOW + 60});
        change(&mut claims);
        expected.check(serde_json::from_value(claims).expect("an object"), now)
    }

    fn word(checked: Result<Claims, AuthenticationError>) -> &'static str {
        checked.map_or_else(|error| error.word(), |_| "accepted")
    }

    #[test]
    fn skew_is_borne_up_to_the_leeway_and_no_further_both_ways() {
        let end = Timestamp::from_micros((NOW + 60) * 1_000_000).plus(Duration::from_secs(30));
        let micro = Duration::from_micros(1);
        assert_eq!(word(at(end.minus(micro), |_| {})), "accepted");
        assert_eq!(word(at(end, |_| {})), "expired");
        for name in ["nbf", "iat"] {
            let set = |claims: &mut Value| claims[name] = json!(NOW);
            let begin = Timestamp::from_micros(NOW * 1_000_000).minus(Duration::from_secs(30));
            assert_eq!(word(at(begin, set)), "accepted", "{name}");
            assert_eq!(word(at(begin.minus(micro), set)), "not_yet_valid", "{name}");
        }
    }

    #[test]
    fn an_end_is_required_and_is_a_number() {
        for end in [
            json!(null),
            json!("1900000060"),
            json!(-1),
            json!(1e300),
            json!([NOW]),
        ] {
            assert_eq!(
                word(checked(|claims| claims["exp"] = end.clone())),
                "malformed",
                "{end}"
            );
        }
        assert_eq!(
            word(checked(|claims| {
                claims.as_object_mut().expect("an object").remove("exp");
            })),
            "malformed"
        );
        assert_eq!(word(checked(|claims| claims["exp"] = json!(0))), "expired");
        assert_eq!(word(checked(|claims| claims["nbf"] = json!("now"))), "malformed");
        let half = checked(|claims| claims["exp"] = json!(NOW as f64 + 0.5)).expect("accepted");
        assert_eq!(half.until.as_micros(), NOW * 1_000_000 + 30_500_000);
    }

    #[test]
    fn the_audience_is_one_of_ours() {
        let cases = [
            (json!("arbiter"), "accepted"),
            (json!("second"), "accepted"),
            (json!(["other", "arbiter"]), "accepted"),
            (json!("other"), "foreign"),
            (json!("Arbiter"), "foreign"),
            (json!("arbiter "), "foreign"),
            (json!(["other"]), "foreign"),
            (json!([]), "foreign"),
            (json!(null), "malformed"),
            (json!({"arbiter": true}), "malformed"),
            (json!(["arbiter", 1]), "malformed"),
        ];
        for (audience, expected) in cases {
            let told = word(checked(|claims| claims["aud"] = audience.clone()));
            assert_eq!(told, expected, "{audience}");
        }
        let without = checked(|claims| {
            claims.as_object_mut().expect("an object").remove("aud");
        });
        assert_eq!(word(without), "malformed");
    }

    #[test]
    fn the_issuer_is_exactly_ours() {
        for other in [
            "https://issuer.example/",
            "HTTPS://issuer.example",
            "https://issuer.example.evil",
        ] {
            assert_eq!(
                word(checked(|claims| claims["iss"] = json!(other))),
                "foreign",
                "{other}"
            );
        }
        assert_eq!(
            word(checked(|claims| claims["iss"] = json!(["https://issuer.example"]))),
            "malformed"
        );
    }

    #[test]
    fn a_subject_is_a_name() {
        for odd in [
            json!(""),
            json!(null),
            json!(1),
            json!("a\u{0}b"),
            json!("x".repeat(256)),
        ] {
            assert_eq!(
                word(checked(|claims| claims["sub"] = odd.clone())),
                "malformed",
                "{odd}"
            );
        }
        assert_eq!(
            word(checked(|claims| claims["sub"] = json!("x".repeat(255)))),
            "accepted"
        );
    }

    #[test]
    fn a_token_that_is_bound_to_a_key_of_its_holder_is_not_taken_for_a_bearer_token() {
        let bound = checked(|claims| {
            claims["cnf"] = json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"});
        });
        assert_eq!(word(bound), "unsupported");
    }
}
