//! Canonical JSON.

use serde_json::Value;

/// A value that has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// An integer that IEEE 754 double precision cannot hold: its canonical form would be another number (RFC 8785
    /// §3.2.2.3 and appendix D: such numbers are sent as strings).
    #[error("the integer {0} is not exact in double precision; send it as a string")]
    InexactInteger(i128),
    /// The value could not be written.
    #[error("cannot write canonical JSON")]
    Write(#[source] serde_json::Error),
}

/// Writes `value` in the JSON Canonicalization Scheme (RFC 8785): no white space, properties sorted by their UTF-16
/// code units, numbers in the shortest form of ECMAScript. Equal values give equal bytes.
///
/// # Errors
/// [`CanonicalError::InexactInteger`] instead of a silently rounded number.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    check_integers(value)?;
    serde_json_canonicalizer::to_vec(value).map_err(CanonicalError::Write)
}

fn check_integers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check_integers),
        Value::Object(entries) => entries.values().try_for_each(check_integers),
        Value::Number(number) => match number.as_i128() {
            Some(integer) if (integer as f64) as i128 != integer => {
                Err(CanonicalError::InexactInteger(integer))
            }
            _ => Ok(()),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let value: Value = serde_json::from_str(text).expect("JSON");
        String::from_utf8(canonical_json(&value).expect("canonical")).expect("UTF-8")
    }

    #[test]
    fn the_example_of_rfc_8785_section_3_2_2() {
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(canonical(input), expected);
    }

    #[test]
    fn properties_sort_by_utf_16_as_in_section_3_2_3() {
        let input = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let value: Value = serde_json::from_str(&canonical(input)).expect("JSON");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(7));
        let text = canonical(input);
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let places: Vec<_> = order
            .iter()
            .map(|word| text.find(word).expect("present"))
            .collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn numbers_are_those_of_appendix_b() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let bytes = canonical_json(&Value::from(f64::from_bits(bits))).expect("finite");
            assert_eq!(String::from_utf8_lossy(&bytes), expected, "{bits:016x}");
        }
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_an_error() {
        assert_eq!(
            canonical("[9007199254740992, -9007199254740992, 18014398509481984]").len(),
            54
        );
        for bad in [
            "9007199254740993",
            "[{\"a\": -9007199254740993}]",
            "18446744073709551615",
        ] {
            let value: Value = serde_json::from_str(bad).expect("JSON");
            assert!(
                matches!(canonical_json(&value), Err(CanonicalError::InexactInteger(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn order_and_spelling_of_the_input_do_not_matter() {
        assert_eq!(
            canonical(r#"{"b": 1.0, "a": "\u0041"}"#),
            canonical(r#" {"a":"A","b":1}"#)
        );
    }
}
