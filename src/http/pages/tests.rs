//! Pages that may ask, and pages that may not.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn may(origins: &[&str], host: Option<&str>, allowed: &Cors) -> bool {
    let mut headers = HeaderMap::new();
    for value in origins {
        headers.append(ORIGIN, value.parse().unwrap());
    }
    check_origin(&headers, host, allowed).is_ok()
}

#[test]
fn own_pages_listed_ones_and_who_is_no_page_may() {
    let listed = Cors::These(vec!["https://app.example".parse().unwrap()]);
    for allowed in [&Cors::None, &listed, &Cors::Any] {
        assert!(may(&[], Some("a.example"), allowed), "no browser");
        assert!(may(&["https://a.example"], Some("a.example"), allowed));
        assert!(may(
            &["http://A.example:8080"],
            Some("a.example:8080"),
            allowed
        ));
    }
    assert!(may(&["https://app.example"], Some("a.example"), &listed));
    assert!(may(
        &["https://anyone.example"],
        Some("a.example"),
        &Cors::Any
    ));
    assert!(may(&["null"], Some("a.example"), &Cors::Any));
}

#[test]
fn nobody_else_may() {
    let listed = Cors::These(vec!["https://app.example".parse().unwrap()]);
    for allowed in [&Cors::None, &listed] {
        for foreign in [
            "null",
            "",
            "https://",
            "a.example",
            "https://b.example",
            "https://a.example:8443",
            "https://a.example.evil.example",
            "https://app.example.evil.example",
            "http://app.example",
            "https://evil.example/a.example",
        ] {
            assert!(!may(&[foreign], Some("a.example"), allowed), "{foreign}");
        }
        assert!(
            !may(
                &["https://a.example", "https://evil.example"],
                Some("a.example"),
                allowed
            ),
            "two"
        );
        assert!(!may(&["https://a.example"], None, allowed), "no host");
    }
}

#[test]
fn what_a_foreign_page_embeds_is_refused_although_it_has_no_origin() {
    let may = |site: &str, allowed: &Cors| {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_FETCH_SITE, site.parse().unwrap());
        check_origin(&headers, Some("localhost:8080"), allowed).is_ok()
    };
    for fine in ["same-origin", "none"] {
        assert!(may(fine, &Cors::None), "{fine}");
    }
    for foreign in ["cross-site", "same-site", "?"] {
        assert!(!may(foreign, &Cors::None), "{foreign}");
        assert!(may(foreign, &Cors::Any), "{foreign}");
    }
}
