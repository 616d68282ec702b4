//! Field names in camel case.

use std::borrow::Cow;

use crate::json::Json;

/// Returns the value of a field whose name is given in camel case, in either spelling: Google
/// accepts both, and its own clients mix them. Null if there is none.
pub(super) fn field<'a>(object: Json<'a>, name: &str) -> Json<'a> {
    let mut found = Json::NULL;
    object.each_field(|own, value| {
        if own == name.as_bytes() || own.contains(&b'_') && camel_case(own) == name {
            found = value;
        }
    });
    found
}

/// Returns a name in camel case.
pub(in crate::gemini) fn camel_case(name: &[u8]) -> Cow<'_, str> {
    let name = String::from_utf8_lossy(name);
    if !name.contains('_') {
        return name;
    }
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_name_and_the_last_field_counts() {
        assert_eq!(camel_case(b"function_call_x"), "functionCallX");
        assert_eq!(camel_case(b"_a__b_"), "aB");
        assert_eq!(camel_case(b"functionCall"), "functionCall");
        let object = Json::of_valid(r#"{"top_k": 1, "topK": 2, "top_p": 3}"#);
        assert_eq!(field(object, "topK").raw(), "2");
        assert_eq!(field(object, "topP").raw(), "3");
        assert!(field(object, "top_p").is_null() || field(object, "top_p").raw() == "3");
    }
}
