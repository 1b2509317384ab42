//! Labels of series, as a text that sorts and is searched as labels do.

use arbiter_core::model::Labels;

use super::CodecError;

/// Labels as stores keep them: a line break, then `name TAB value` and a line break for each. Neither names nor values
/// have control characters, so texts sort as labels do, and a label is part of the text exactly when it is one of them.
pub fn encode_labels(labels: &Labels) -> String {
    let mut text = String::from("\n");
    for (label, value) in labels.iter() {
        text.extend([label, "\t", value, "\n"]);
    }
    text
}

/// The part that the text of labels with this one has.
pub fn label_part(label: &str, value: &str) -> String {
    format!("\n{label}\t{value}\n")
}

/// Labels of the text that stores keep.
///
/// # Errors
/// [`CodecError::Value`] when it is no such text.
pub fn decode_labels(text: &str) -> Result<Labels, CodecError> {
    let bad = || CodecError::Value {
        what: "labels",
        value: text.to_owned(),
    };
    let mut lines = text.strip_prefix('\n').ok_or_else(bad)?.split('\n');
    // what follows the last line break
    if lines.next_back() != Some("") {
        return Err(bad());
    }
    let pairs: Option<_> = lines
        .map(|line| {
            let (label, value) = line.split_once('\t')?;
            Some((label.to_owned(), value.to_owned()))
        })
        .collect();
    Labels::new(pairs.ok_or_else(bad)?).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_labels() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[a-c_][a-c0-9]{0,2}", "[a-c =\\\\\"é]{0,3}", 0..4)
            .prop_map(|pairs| Labels::new(pairs).expect("labels"))
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(labels in any_labels()) {
            prop_assert_eq!(decode_labels(&encode_labels(&labels)).expect("a text"), labels);
        }

        #[test]
        fn texts_sort_as_labels_do(a in any_labels(), b in any_labels()) {
            prop_assert_eq!(encode_labels(&a).cmp(&encode_labels(&b)), a.cmp(&b));
        }

        #[test]
        fn a_label_is_part_of_the_text_when_it_is_one(a in any_labels(), b in any_labels()) {
            let text = encode_labels(&a);
            for (label, value) in b.iter() {
                prop_assert_eq!(text.contains(&label_part(label, value)), a.get(label) == Some(value));
            }
        }
    }

    #[test]
    fn the_stored_form_stays() {
        let pairs = [("b", "x y"), ("a", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let labels = Labels::new(BTreeMap::from(pairs)).expect("labels");
        assert_eq!(encode_labels(&labels), "\na\t\nb\tx y\n");
        assert_eq!(encode_labels(&Labels::default()), "\n");
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["", "a\tb\n", "\na\tb", "\na\n", "\n\n", "\n1\tb\n"] {
            assert!(decode_labels(text).is_err(), "{text:?}");
        }
    }
}
