//! Templates as people write and break them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;

fn values(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn parse(text: &str) -> Result<Template, String> {
    Template::parse("p.md", "p", text).map_err(|error| error.to_string())
}

#[test]
fn the_templates_that_ship_are_whole() {
    let library = Library::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts"), true).unwrap();
    let set = library.current();
    let names: Vec<&str> = set.list().map(Template::name).collect();
    assert_eq!(names, ["explain-code", "summarize", "translate"]);
    let rendered = set.get("summarize").unwrap().render(values(json!({ "text": "Long.", "sentences": 1 }))).unwrap();
    assert!(rendered.system.unwrap().starts_with("You summarize texts."));
    assert!(rendered.user.starts_with("Summarize the following text in 1 sentence for a busy"), "{}", rendered.user);
    let translate = set.get("translate").unwrap();
    let pairs = [("text".to_owned(), "Hallo".to_owned()), ("to".to_owned(), "French".to_owned())];
    let user = translate.render(translate.variables_from_query(&pairs).unwrap()).unwrap().user;
    assert!(user.contains("into French. Tone: as in the original.") && user.contains("Hallo"), "{user}");
    assert!(
        set.get("explain-code")
            .unwrap()
            .render(values(json!({ "code": "x" })))
            .unwrap()
            .user
            .contains("End with the bugs")
    );
}

#[test]
fn a_body_without_blocks_is_the_users() {
    let template = parse("+++\n[variables.a]\n+++\n Say {{ a }}.\n").unwrap();
    let rendered = template.render(values(json!({ "a": "hi" }))).unwrap();
    assert_eq!(rendered, Rendered { system: None, user: "Say hi.".into() });
    assert_eq!(template.name(), "p");
}

#[test]
fn values_are_data() {
    let template = parse("+++\n[variables.a]\n+++\n{{ a }}").unwrap();
    for attack in ["{{ 7*7 }}", "{% include 'x' %}", "<b>&\"", "{# c #}", "{{ self }}"] {
        assert_eq!(template.render(values(json!({ "a": attack }))).unwrap().user, attack);
    }
}

#[test]
fn broken_templates_name_file_and_line() {
    for (text, want) in [
        ("hello", "p.md:1: should begin with a line of +++"),
        ("+++\nname = 'a'\n", "p.md:1: the head is not closed"),
        ("+++\nnme = 'a'\n+++\n", "p.md:2: unknown field `nme`"),
        ("+++\n\nname = 'A B'\n+++\n", "p.md:3: the name `A B` should be of small letters"),
        ("+++\n+++\nline\n{{ oops", "p.md:4: "),
        ("+++\n+++\nline\n{{ what }}", "p.md:4: `what` is used but not declared; add [variables.what]"),
        ("+++\n[variables.a]\n+++\n\n{% include 'b' %}{{a}}", "p.md:5: `include` would reach another file"),
        ("+++\n+++\n{%- extends 'b' %}", "`extends` would reach another file"),
        ("+++\n+++\n{% block footer %}{% endblock %}", "p.md:3: there is no place for a block `footer`"),
        ("+++\n+++\n{% block system %}{% endblock %}", "needs a block `user`"),
        ("+++\n[variables.model]\n+++\n", "p.md:2: `model` is a parameter of ours"),
        ("+++\n[variables.a]\ntype = 'text'\n+++\n", "p.md:2: variables.a: unknown variant `text`"),
        (
            "+++\n[variables.a]\ntype = 'integer'\ndefault = 'x'\n+++\n",
            "p.md:2: variables.a: its default: the variable `a` should be a whole number",
        ),
        ("+++\n[variables.a]\ndefault = 'x'\nvalues = ['y']\n+++\n", "should be one of \"y\""),
        ("+++\n[variables.a]\ndefault = 'x'\nrequired = true\n+++\n", "a required variable has no use for a default"),
        ("+++\n[variables.a]\nvalues = [1]\n+++\n", "the allowed value 1 is of another type"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(want), "{text}\n got: {error}\nwant: {want}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn wrong_values_are_named() {
    let template = parse(
        "+++\n[variables.text]\n[variables.n]\ntype='integer'\ndefault=1\n[variables.c]\nvalues=['a','b']\nrequired=false\n+++\n{{text}}{{n}}{{c}}",
    )
    .unwrap();
    for (given, want) in [
        (json!({}), "the variable `text` is missing; it should be a string"),
        (json!({ "text": "x", "tex": 1 }), "there is no variable `tex` (did you mean `text`?)"),
        (json!({ "text": 5 }), "the variable `text` should be a string"),
        (json!({ "text": "x", "n": 1.5 }), "the variable `n` should be a whole number"),
        (json!({ "text": "x", "c": "z" }), "the variable `c` should be one of \"a\", \"b\""),
    ] {
        assert_eq!(
            template.render(values(given.clone())).unwrap_err().to_string().replace("; there are: c, n, text", ""),
            want
        );
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let read = template.variables_from_query(&[pair("text", "5"), pair("n", "7")]).unwrap();
    assert_eq!(Value::Object(read), json!({ "text": "5", "n": 7 }));
    assert!(
        template.variables_from_query(&[pair("n", "1"), pair("n", "2")]).unwrap_err().to_string().contains("twice")
    );
    let wrong = template.variables_from_query(&[pair("text", ""), pair("n", "x")]).unwrap();
    assert_eq!(template.render(wrong).unwrap_err().variable(), Some("n"));
}

#[test]
fn an_edit_is_seen_at_once_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.md");
    fs::write(&file, "+++\n+++\none").unwrap();
    let library = Library::open(folder.path(), true).unwrap();
    let say = || library.current().get("a").map(|t| t.render(Map::new()).unwrap().user);
    assert_eq!(say().as_deref(), Some("one"));
    fs::write(&file, "+++\n+++\ntwo, longer").unwrap();
    assert_eq!(say().as_deref(), Some("two, longer"));
    fs::write(&file, "+++\n+++\n{{ broken").unwrap();
    assert_eq!(say().as_deref(), Some("two, longer"));
    fs::write(folder.path().join("b.md"), "+++\n+++\nnew").unwrap();
    assert!(library.current().get("b").is_some());
    fs::remove_file(&file).unwrap();
    assert_eq!(say(), None);
}

#[test]
fn a_missing_folder_is_wrong_only_if_it_was_asked_for() {
    let nowhere = Path::new("/nowhere/prompts");
    assert_eq!(Library::open(nowhere, false).unwrap().current().list().count(), 0);
    assert!(
        Library::open(nowhere, true).unwrap_err().to_string().starts_with("/nowhere/prompts: can't read the folder")
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "+++\n+++\n").unwrap();
    fs::write(folder.path().join("b.md"), "+++\nname = 'a'\n+++\n").unwrap();
    assert!(Library::open(folder.path(), true).unwrap_err().to_string().contains("there is a template `a` already"));
}
