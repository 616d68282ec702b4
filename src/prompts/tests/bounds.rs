//! Renderings that would take too long, and what the checks on the way leave as it is.

use super::*;

const HEAD: &str = "+++\n[variables.n]\ntype = 'integer'\n[variables.a]\n+++\n";

fn render(body: &str, given: Value) -> Result<String, RenderError> {
    let template = parse(&format!("{HEAD}{body}")).unwrap();
    template.render(values(given)).map(|rendered| rendered.user)
}

#[test]
fn a_rendering_that_takes_too_long_is_refused_with_its_templates_name() {
    let lines = "a\n".repeat(50_000);
    for body in [
        "{% for line in a|lines %}{{ loop.index }}/{{ a|lines|length }}{% endfor %}",
        "{% for line in a|lines %}{{ a|lines|sort|first }}{% endfor %}",
        "{% for line in a|lines %}{% if a is in(a|lines) %}{% endif %}{% endfor %}",
        "{% filter upper %}{% for line in a|lines %}{{ a|lower|length }}{% endfor %}{% endfilter %}",
        "{{ a|lines|map('replace', '', a)|list }}{{ n }}",
        // Nothing but operators, on values that have names of their own.
        "{% set b = a * 80 %}{% for i in range(n) %}{% if 'z' in b %}{% endif %}{% endfor %}",
        "{% set b = a * 80 %}{% for i in range(n) if 'z' in b %}{% endfor %}",
        "{% set b = a * 80 %}{% macro m(d) %}{% if 'z' in b or d == 0 %}{% else %}{{ m(d - 1) }}{{ m(d - 1) }}\
         {% endif %}{% endmacro %}{{ m(30) }}",
        "{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}",
        "{% for i in [n] recursive %}{{ loop([i]) }}{{ loop([i]) }}{% endfor %}",
        "{{ ([a] * 100000000)|list|length }}",
    ] {
        let error = render(body, json!({ "n": 90_000, "a": lines })).unwrap_err();
        assert!(
            matches!(&error, RenderError::TooSlow { template, .. } if template == "p")
                || error.to_string().contains("recursion limit"),
            "{body}: {error}"
        );
    }
    assert_eq!(
        render(
            "{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}",
            json!({ "n": 90_000, "a": "" })
        )
        .unwrap_err()
        .to_string(),
        "the template `p` takes too long with these values: more than 1 s or 1000000 steps; \
         give shorter values, or let it do less in its loops"
    );
}

#[test]
fn a_filter_never_writes_more_than_a_prompt_may_be() {
    let text = "x ".repeat(1 << 15);
    for body in [
        "{{ a|replace('x', a) }}",
        "{{ a|replace('', a) }}",
        "{{ a|split|join(a) }}",
        "{{ a|join(d=a) }}",
        "{{ a|indent(n) }}",
        "{{ a|indent(width=n, first=true) }}",
        "{{ '%*d'|format(n, 1) }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ ('%(a)s' * 500)|format(a=a) }}",
        "{{ a|split|batch(n, 'x')|length }}",
        "{{ a|split|slice(n)|length }}",
        "{{ a|split|sum(start='') }}",
        "{% set b %}{{ [a] * 1000000 }}{% endset %}",
    ] {
        let error = render(body, json!({ "n": 1_000_000_000, "a": text })).unwrap_err();
        assert!(
            matches!(error, RenderError::TooLong { .. }),
            "{body}: {error}"
        );
    }
}

#[test]
fn templates_say_the_same_with_their_checks() {
    for (body, says) in [
        ("{%- for i in [1, 2] -%}  {{ i }}  {%- endfor -%}  .", "12."),
        ("{% for i in [1, 2] %} {{ i }}\n{% endfor %}.", "1\n 2\n."),
        (
            "{% for i in [1, 2, 3] if i > 2 or i == 1 %}{{ i }}{% endfor %}",
            "13",
        ),
        (
            "{% for i in [1, 2, 3] if not i == 2 %}{{ loop.length }}{% endfor %}",
            "22",
        ),
        (
            "{% for i in ([1] if n else [2]) if true if n else false %}{{ i }}{% endfor %}",
            "1",
        ),
        (
            "{% for i in 'a if b'|split(' ') %}{{ i }}{% else %}none{% endfor %}",
            "aifb",
        ),
        (
            "{% for k, v in {'if': 1}|items %}{{ k }}{{ v }}{% endfor %}",
            "if1",
        ),
        (
            "{% for i in [[1], []] recursive %}{% for j in i %}{{ j }}{% endfor %}{% endfor %}",
            "1",
        ),
        (
            "{% macro m(x, y='%}') -%} {{ x }}{{ y }} {%- endmacro %}{{ m(1) }}",
            "1%}",
        ),
        (
            "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}a{% endcall %}",
            "<a>",
        ),
        (
            "{% raw %}{% for i in x %}{% endraw %}{# {% for i in x %} #}",
            "{% for i in x %}",
        ),
        ("{{ [3, 1, 2]|sort(reverse=true)|join(d=', ') }}", "3, 2, 1"),
        (
            "{{ {}.b|default('none') }}{{ '%5.1f|%s'|format(2.25, 'x') }}",
            "none  2.2|x",
        ),
        (
            "{{ ['b', 'A']|map('upper')|select('in', ['A', 'B'])|list }}",
            "['B', 'A']",
        ),
        (
            "{{ [[1], [2]]|sum(start=[])|list }}{{ [1, 2]|sum }}",
            "[1, 2]3",
        ),
        (
            "{{ 'a\nb'|indent(2, first=true) }}{{ 'abc'|replace('b', '') }}",
            "a\n  bac",
        ),
        (
            "{{ [1, 2, 3]|batch(2, 0)|list }}{{ dict(x=1).x }}{{ 5|string }}",
            "[[1, 2], [3, 0]]15",
        ),
        (
            "{{ 4 is divisibleby 2 }}{{ 'a' is in 'abc' }}{{ 1 is eq(1) }}",
            "TrueTrueTrue",
        ),
    ] {
        assert_eq!(
            render(body, json!({ "n": 1, "a": "" })).unwrap(),
            says,
            "{body}"
        );
    }
}

#[test]
fn all_of_the_engines_filters_and_tests_are_there() {
    let names = |environment: &minijinja::Environment<'_>| {
        let all = format!("{environment:?}");
        let words = all.split('"').skip(1).step_by(2).map(str::to_owned);
        words.collect::<std::collections::BTreeSet<String>>()
    };
    let ours = names(&super::super::engine::environment("").unwrap());
    let missing: Vec<String> = names(&minijinja::Environment::new())
        .difference(&ours)
        .cloned()
        .collect();
    assert_eq!(missing, ["debug"], "its insides are not for a prompt");
}

#[test]
fn a_large_text_with_small_lines_is_no_problem() {
    let lines = "a line of text\n".repeat(2_000);
    let body = "{% for line in a|lines if line %}{{ loop.index }}/{{ n }} {{ line|upper }}\n{% endfor %}\
                {{ a|lines|join(' ')|length }}";
    let text = render(body, json!({ "n": 1, "a": lines })).unwrap();
    assert!(
        text.ends_with("2000/1 A LINE OF TEXT\n29999"),
        "{}",
        text.len()
    );
}
