//! Templates as people write and break them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod library;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{fs, io};

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
    let library =
        Library::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts"), true).unwrap();
    let set = library.current();
    let names: Vec<&str> = set.list().map(Template::name).collect();
    assert_eq!(names, ["explain-code", "summarize", "translate"]);
    let rendered = set
        .get("summarize")
        .unwrap()
        .render(values(json!({ "text": "Long.", "sentences": 1 })))
        .unwrap();
    assert!(rendered.system.unwrap().starts_with("You summarize texts."));
    assert!(
        rendered
            .user
            .starts_with("Summarize the following text in 1 sentence for a busy"),
        "{}",
        rendered.user
    );
    let translate = set.get("translate").unwrap();
    let pairs = [
        ("text".to_owned(), "Hallo".to_owned()),
        ("to".to_owned(), "French".to_owned()),
    ];
    let user = translate
        .render(translate.variables_from_query(&pairs).unwrap())
        .unwrap()
        .user;
    assert!(
        user.contains("into French. Tone: as in the original.") && user.contains("Hallo"),
        "{user}"
    );
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
    assert_eq!(
        rendered,
        Rendered {
            system: None,
            user: "Say hi.".into()
        }
    );
    assert_eq!(template.name(), "p");
}

#[test]
fn values_are_data() {
    let template = parse("+++\n[variables.a]\n+++\n{{ a }}").unwrap();
    for attack in [
        "{{ 7*7 }}",
        "{% include 'x' %}",
        "<b>&\"",
        "{# c #}",
        "{{ self }}",
    ] {
        assert_eq!(
            template
                .render(values(json!({ "a": attack })))
                .unwrap()
                .user,
            attack
        );
    }
}

#[test]
fn broken_templates_name_file_and_line() {
    for (text, want) in [
        ("hello", "p.md:1: should begin with a line of +++"),
        ("+++\nname = 'a'\n", "p.md:1: the head is not closed"),
        ("+++\nnme = 'a'\n+++\n", "p.md:2: unknown field `nme`"),
        (
            "+++\n\nname = 'A B'\n+++\n",
            "p.md:3: the name `A B` should be of small letters",
        ),
        ("+++\n+++\nline\n{{ oops", "p.md:4: "),
        (
            "+++\n+++\nline\n{{ what }}",
            "p.md:4: `what` is used but not declared; add [variables.what]",
        ),
        (
            "+++\n[variables.a]\n+++\n\n{% include 'b' %}{{a}}",
            "p.md:5: `include` would reach another file",
        ),
        (
            "+++\n+++\n{%- extends 'b' %}",
            "`extends` would reach another file",
        ),
        (
            "+++\n+++\n{% block footer %}{% endblock %}",
            "p.md:3: there is no place for a block `footer`",
        ),
        (
            "+++\n+++\n{% block system %}{% endblock %}",
            "needs a block `user`",
        ),
        (
            "+++\n[variables.model]\n+++\n",
            "p.md:2: `model` is a parameter of ours",
        ),
        (
            "+++\n[variables.a]\ntype = 'text'\n+++\n",
            "p.md:3: unknown variant `text`, expected one of",
        ),
        (
            "+++\n[variables.a]\ntype = 'integer'\ndefault = 'x'\n+++\n",
            "p.md:2: variables.a: its default: the variable `a` should be a whole number",
        ),
        (
            "+++\n[variables.a]\ndefault = 'x'\nvalues = ['y']\n+++\n",
            "should be one of \"y\"",
        ),
        (
            "+++\n[variables.a]\ndefault = 'x'\nrequired = true\n+++\n",
            "a required variable has no use for a default",
        ),
        (
            "+++\n[variables.b]\ntype = 'string'\ntyp = 'x'\n+++\n",
            "p.md:4: unknown field `typ`",
        ),
        (
            "+++\nmax_tokens = 0\n+++\n",
            "p.md:2: max_tokens should be at least 1",
        ),
        (
            "+++\n\ntemperature = nan\n+++\n",
            "p.md:3: temperature should be from 0 to 2, not NaN",
        ),
        (
            "+++\n[variables.true]\n+++\n",
            "p.md:2: `true` is a word of the template language",
        ),
        (
            "+++\n[variables.b]\n+++\nsay a word\n{{ b.a }}{# {{ a }} #}\n{{ a }}",
            "p.md:6: `a` is used but not declared",
        ),
        (
            "+++\r\nname='a'\r\n+++\r\nhi\r\n{{ b }}",
            "p.md:5: `b` is used but not declared",
        ),
        (
            "+++\n[variables.a]\n+++\n{{ 'x|y'\n| upcase }}",
            "p.md:5: there is no filter `upcase`",
        ),
        (
            "+++\n+++\n{% filter upcase %}{% endfilter %}",
            "p.md:3: there is no filter `upcase`",
        ),
        (
            "+++\n+++\n{{ 1 is not odder }}",
            "p.md:3: there is no test `odder`",
        ),
        (
            "+++\n+++\n{{ 1 is odder }}",
            "p.md:3: there is no test `odder`",
        ),
        (
            "+++\n+++\n{% block user %}a{% endblock %}\n\nlost",
            "p.md:5: stands outside the blocks `system` and `user` and would be lost",
        ),
        (
            "+++\n+++\n{{ 1 }}{% block user %}a{% endblock %}",
            "p.md:3: stands outside the blocks",
        ),
        (
            "+++\n+++\n{% if 1 %}a{% endif %}{% block user %}a{% endblock %}",
            "p.md:3: stands outside the blocks",
        ),
        (
            "+++\n+++\n{% if 1 %}\n{% block user %}a{% endblock %}{% endif %}",
            "p.md:4: the block `user` stands within `if`; put the `if` into the block",
        ),
        (
            "+++\n+++\n{% block user %}{% block system %}{% endblock %}{% endblock %}",
            "p.md:3: the block `system` stands within another",
        ),
        (
            "+++\n+++\n{% import 'a' as b %}",
            "p.md:3: `import` would reach another file",
        ),
        (
            "+++\n+++\n{% from 'a' import b %}",
            "p.md:3: `from` would reach another file",
        ),
        (
            "+++\n[variables.a]\nvalues = [1]\n+++\n",
            "the allowed value 1 is of another type",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(want), "{text}\n got: {error}\nwant: {want}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn what_only_looks_like_a_tag_is_text() {
    for (body, says) in [
        ("{# {% block user %} {% include 'x' %} #}hello", "hello"),
        (
            "{% raw %}{% include 'x' %}{{ y|z }}{% endraw %}!",
            "{% include 'x' %}{{ y|z }}!",
        ),
        ("{%- raw -%} {% block a %} {%- endraw -%}", "{% block a %}"),
        (
            "{{ '{% include x %}' }} {{ 'a is b' }} {{ {'a': {'b': 1}}['a']['b'] }}",
            "{% include x %} a is b 1",
        ),
        (
            "{{ \"it's \\\" %}\" }}{{ 1 is not defined }}{{ 'a'|upper|default('|x') }}",
            "it's \" %}FalseA",
        ),
        ("a { b {", "a { b {"),
    ] {
        assert_eq!(
            parse(&format!("+++\n+++\n{body}"))
                .unwrap()
                .render(Map::new())
                .unwrap()
                .user,
            says
        );
    }
}

#[test]
fn blocks_see_what_is_set_and_defined_beside_them() {
    let template = parse(
        "+++\n+++\n{% set a = 'x' %}{% set b %}y{% endset %}{% macro m(c) %}<{{ c }}>{% endmacro %}{# note #}\n\
         {% block system %} {{ a }}{{ b }} {% endblock %}\n{% block user %}{{ m('z') }}{% endblock %}",
    );
    let rendered = template.unwrap().render(Map::new()).unwrap();
    assert_eq!(
        rendered,
        Rendered {
            system: Some("xy".into()),
            user: "<z>".into()
        }
    );
}

#[test]
fn an_optional_variable_that_is_not_given_says_nothing() {
    let template =
        parse("+++\n[variables.a]\nrequired = false\n+++\nx{{ a }}y{% if a %}!{% endif %}")
            .unwrap();
    assert_eq!(template.render(Map::new()).unwrap().user, "xy");
    assert_eq!(
        template.render(values(json!({ "a": "-" }))).unwrap().user,
        "x-y!"
    );
}

#[test]
fn a_client_cannot_make_a_prompt_too_large() {
    let head = "+++\n[variables.n]\ntype = 'integer'\n[variables.a]\n+++\n";
    let given = values(json!({ "n": 90_000, "a": "x".repeat(100_000) }));
    for body in [
        "{% for i in range(n) %}{{ a }}{% endfor %}",
        "{% block user %}{% for i in range(n) %}{{ a }}{% endfor %}{% endblock %}",
        "{% set b %}{% for i in range(n) %}{{ a }}{% endfor %}{% endset %}{% block user %}{{ n }}{% endblock %}",
    ] {
        let error = parse(&format!("{head}{body}"))
            .unwrap()
            .render(given.clone())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the prompt would be longer than 8388608 bytes; give shorter values",
            "{body}"
        );
    }
    // The cap is the prompt's, not the sum of all that is rendered on the way to it.
    let large = parse("+++\n[variables.a]\n+++\n{% block user %}{{ a }}{% endblock %}").unwrap();
    let text = "x".repeat(5 << 20);
    assert_eq!(
        large
            .render(values(json!({ "a": text })))
            .unwrap()
            .user
            .len(),
        5 << 20
    );
}

#[test]
fn numbers_are_the_same_however_they_are_written() {
    let template =
        parse("+++\n[variables.n]\ntype = 'number'\nvalues = [1, 2.5]\n+++\n{{ n }}").unwrap();
    for (text, says) in [("1", "1"), ("1.0", "1.0"), ("2.5", "2.5")] {
        let given = template
            .variables_from_query(&[("n".to_owned(), text.to_owned())])
            .unwrap();
        assert_eq!(template.render(given).unwrap().user, says);
    }
    let given = template
        .variables_from_query(&[("n".to_owned(), "NaN".to_owned())])
        .unwrap();
    assert_eq!(
        template.render(given).unwrap_err().to_string(),
        "the variable `n` should be a number"
    );
}

#[test]
fn wrong_values_are_named() {
    let template = parse(
        "+++\n[variables.text]\n[variables.n]\ntype='integer'\ndefault=1\n[variables.c]\nvalues=['a','b']\nrequired=false\n+++\n{{text}}{{n}}{{c}}",
    )
    .unwrap();
    for (given, want) in [
        (
            json!({}),
            "the variable `text` is missing; it should be a string",
        ),
        (
            json!({ "text": "x", "tex": 1 }),
            "there is no variable `tex` (did you mean `text`?)",
        ),
        (
            json!({ "text": 5 }),
            "the variable `text` should be a string",
        ),
        (
            json!({ "text": "x", "n": 1.5 }),
            "the variable `n` should be a whole number",
        ),
        (
            json!({ "text": "x", "c": "z" }),
            "the variable `c` should be one of \"a\", \"b\"",
        ),
    ] {
        assert_eq!(
            template
                .render(values(given.clone()))
                .unwrap_err()
                .to_string()
                .replace("; there are: c, n, text", ""),
            want
        );
    }
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let read = template
        .variables_from_query(&[pair("text", "5"), pair("n", "7")])
        .unwrap();
    assert_eq!(Value::Object(read), json!({ "text": "5", "n": 7 }));
    assert!(
        template
            .variables_from_query(&[pair("n", "1"), pair("n", "2")])
            .unwrap_err()
            .to_string()
            .contains("twice")
    );
    let wrong = template
        .variables_from_query(&[pair("text", ""), pair("n", "x")])
        .unwrap();
    assert_eq!(template.render(wrong).unwrap_err().variable(), Some("n"));
}
