//! The engine's filters, tests and functions, each within the [`Budget`] of its rendering.
//!
//! The environment begins empty, so that nothing is there without a bound. `debug` is left out: it
//! prints the engine's insides.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters, functions, tests};

use super::budget::{self, Budget, MAX_PROMPT_BYTES, too_long};

/// The cost of a call, known before it is made.
#[derive(Debug, Clone, Copy)]
enum Cost {
    /// Looks at its arguments, but not at all that they hold.
    Constant,
    /// Reads its arguments, and returns no more than it has read.
    Reading,
    /// Reads its arguments, and may return many times as much: this tells how much.
    Growing(fn(&[Value]) -> usize),
}

use Cost::{Constant, Growing, Reading};

/// Adds everything to an empty environment.
pub(super) fn add(environment: &mut Environment<'static>) {
    for (name, cost, filter) in text_filters().into_iter().chain(list_filters()) {
        environment.add_filter(name, within_budget(cost, filter));
    }
    for (name, cost, test) in type_tests().into_iter().chain(comparisons()) {
        environment.add_test(name, within_budget(cost, test));
    }
    for (name, function) in [
        ("range", Value::from_function(functions::range)),
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
    ] {
        environment.add_function(name, within_budget(Reading, function));
    }
}

fn within_budget(
    cost: Cost,
    inner: Value,
) -> impl Fn(&mut State<'_, '_>, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync + 'static
{
    move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        // The clock is asked first: weighing takes time too.
        Budget::of(state).charge(0)?;
        let read = match cost {
            Constant => 0,
            Reading | Growing(_) => budget::weigh(&args)?,
        };
        if let Growing(size) = cost
            && size(&args) > MAX_PROMPT_BYTES
        {
            return Err(too_long());
        }
        Budget::of(state).charge(read)?;
        let result = inner.call(state, &args)?;
        if !matches!(cost, Constant) {
            Budget::of(state).charge(budget::weigh_result(&result))?;
        }
        Ok(result)
    }
}

type Builtin = (&'static str, Cost, Value);

macro_rules! builtins {
    ($($name:literal $cost:expr => $function:path,)*) => {
        vec![$(($name, $cost, Value::from_function($function))),*]
    };
}

fn text_filters() -> Vec<Builtin> {
    builtins![
        "safe" Reading => filters::safe,
        "escape" Reading => filters::escape,
        "e" Reading => filters::escape,
        "lower" Reading => filters::lower,
        "upper" Reading => filters::upper,
        "title" Reading => filters::title,
        "capitalize" Reading => filters::capitalize,
        "replace" Growing(replaced) => filters::replace,
        "trim" Reading => filters::trim,
        "split" Reading => filters::split,
        "lines" Reading => filters::lines,
        "indent" Growing(indented) => filters::indent,
        "format" Growing(formatted) => filters::format,
        "pprint" Reading => filters::pprint,
        "string" Reading => filters::string,
        "int" Reading => filters::int,
        "float" Reading => filters::float,
        "bool" Constant => filters::bool,
        "abs" Constant => filters::abs,
        "round" Constant => filters::round,
        "default" Constant => filters::default,
        "d" Constant => filters::default,
    ]
}

fn list_filters() -> Vec<Builtin> {
    builtins![
        "length" Constant => filters::length,
        "count" Constant => filters::length,
        "first" Constant => filters::first,
        "last" Reading => filters::last,
        "attr" Constant => filters::attr,
        "dictsort" Reading => filters::dictsort,
        "items" Constant => filters::items,
        "reverse" Reading => filters::reverse,
        "join" Growing(joined) => filters::join,
        "min" Reading => filters::min,
        "max" Reading => filters::max,
        "sort" Reading => filters::sort,
        "list" Reading => filters::list,
        "batch" Growing(counted) => filters::batch,
        "slice" Growing(counted) => filters::slice,
        "sum" Growing(summed) => filters::sum,
        "select" Reading => filters::select,
        "reject" Reading => filters::reject,
        "selectattr" Reading => filters::selectattr,
        "rejectattr" Reading => filters::rejectattr,
        "map" Reading => filters::map,
        "groupby" Reading => filters::groupby,
        "unique" Reading => filters::unique,
        "chain" Reading => filters::chain,
        "zip" Reading => filters::zip,
    ]
}

fn type_tests() -> Vec<Builtin> {
    builtins![
        "undefined" Constant => tests::is_undefined,
        "defined" Constant => tests::is_defined,
        "none" Constant => tests::is_none,
        "safe" Constant => tests::is_safe,
        "escaped" Constant => tests::is_safe,
        "boolean" Constant => tests::is_boolean,
        "odd" Constant => tests::is_odd,
        "even" Constant => tests::is_even,
        "divisibleby" Constant => tests::is_divisibleby,
        "number" Constant => tests::is_number,
        "integer" Constant => tests::is_integer,
        "int" Constant => tests::is_integer,
        "float" Constant => tests::is_float,
        "string" Constant => tests::is_string,
        "sequence" Constant => tests::is_sequence,
        "iterable" Constant => tests::is_iterable,
        "mapping" Constant => tests::is_mapping,
        "true" Constant => tests::is_true,
        "false" Constant => tests::is_false,
        "filter" Constant => tests::is_filter,
        "test" Constant => tests::is_test,
        "sameas" Constant => tests::is_sameas,
    ]
}

fn comparisons() -> Vec<Builtin> {
    builtins![
        "startingwith" Reading => tests::is_startingwith,
        "endingwith" Reading => tests::is_endingwith,
        "lower" Reading => tests::is_lower,
        "upper" Reading => tests::is_upper,
        "eq" Reading => tests::is_eq,
        "equalto" Reading => tests::is_eq,
        "==" Reading => tests::is_eq,
        "ne" Reading => tests::is_ne,
        "!=" Reading => tests::is_ne,
        "lt" Reading => tests::is_lt,
        "lessthan" Reading => tests::is_lt,
        "<" Reading => tests::is_lt,
        "le" Reading => tests::is_le,
        "<=" Reading => tests::is_le,
        "gt" Reading => tests::is_gt,
        "greaterthan" Reading => tests::is_gt,
        ">" Reading => tests::is_gt,
        "ge" Reading => tests::is_ge,
        ">=" Reading => tests::is_ge,
        "in" Reading => tests::is_in,
    ]
}

/// Each place of the second text becomes the third.
fn replaced(args: &[Value]) -> usize {
    let [value, from, to, ..] = args else {
        return 0;
    };
    let (value, from, to) = (value.to_string(), from.to_string(), to.to_string());
    let places = match from.is_empty() {
        true => value.chars().count() + 1,
        false => value.matches(&from).count(),
    };
    places.saturating_mul(to.len()).saturating_add(value.len())
}

/// The separator stands between all items.
fn joined(args: &[Value]) -> usize {
    let [list, rest @ ..] = args else { return 0 };
    let items = list.len().or_else(|| Some(list.try_iter().ok()?.count()));
    let separator = rest.iter().map(text_bytes).sum::<usize>();
    items.unwrap_or(0).saturating_mul(separator)
}

fn text_bytes(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None => named(value).map(|value| value.to_string().len()).sum(),
    }
}

/// Each line begins with the width in spaces.
fn indented(args: &[Value]) -> usize {
    let [text, rest @ ..] = args else { return 0 };
    let lines = text.as_str().map_or(0, |text| text.matches('\n').count());
    (lines + 1).saturating_mul(largest_number(rest))
}

/// The count that is asked for, of lists or of items in one.
fn counted(args: &[Value]) -> usize {
    largest_number(args.get(1..).unwrap_or_default()).saturating_mul(8)
}

/// Texts and lists are copied at each addition, numbers are not.
fn summed(args: &[Value]) -> usize {
    let [list, rest @ ..] = args else { return 0 };
    let is_number =
        |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Undefined);
    let start = rest.get(1).cloned().or_else(|| {
        let named = rest.last()?.get_attr("start").ok();
        named.filter(|value| !value.is_undefined())
    });
    match start {
        Some(start) if !is_number(&start) => {
            let (items, bytes) = (list.len(), budget::weigh(std::slice::from_ref(list)));
            let copied = items
                .unwrap_or(usize::MAX)
                .saturating_mul(bytes.unwrap_or(usize::MAX));
            // Copying is a hundred times as fast as anything else that is done to a text.
            copied / 100
        }
        _ => 0,
    }
}

/// Each conversion (`%5.2f`, `%*d`, `%(name)s`) is as long as its width or its value.
fn formatted(args: &[Value]) -> usize {
    let [text, rest @ ..] = args else { return 0 };
    let Some(text) = text.as_str() else { return 0 };
    let given = budget::weigh(rest).unwrap_or(usize::MAX);
    let mut size = text.len();
    for (at, _) in text.match_indices('%') {
        let mut conversion = &text[at + 1..];
        if let Some((_, after)) = conversion.strip_prefix('(').and_then(|c| c.split_once(')')) {
            // A name can be repeated, so each time all of the values might be meant.
            size = size.saturating_add(given);
            conversion = after;
        }
        let end = conversion.find(|c: char| !c.is_ascii_digit() && !"#0- +.*".contains(c));
        for part in
            conversion[..end.unwrap_or(conversion.len())].split(|c: char| !c.is_ascii_digit())
        {
            let width = part
                .parse()
                .unwrap_or(if part.is_empty() { 0 } else { usize::MAX });
            size = size.saturating_add(width);
        }
        if conversion[..end.unwrap_or(conversion.len())].contains('*') {
            size = size.saturating_add(largest_number(rest));
        }
    }
    size.saturating_add(given)
}

/// Returns the largest whole number among arguments, named or not.
fn largest_number(args: &[Value]) -> usize {
    let numbers = args
        .iter()
        .flat_map(|value| named(value).chain([value.clone()]));
    let sizes = numbers.filter(|value| value.kind() == ValueKind::Number);
    sizes
        .filter_map(|value| i128::try_from(value).ok())
        .map(|number| usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX))
        .max()
        .unwrap_or(0)
}

/// Returns the values of named arguments; none for anything else.
fn named(value: &Value) -> impl Iterator<Item = Value> {
    let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
    let is_map = value.kind() == ValueKind::Map;
    let values: Vec<Value> = match pairs {
        Some(pairs) if is_map => pairs.map(|(_, value)| value).collect(),
        _ => Vec::new(),
    };
    values.into_iter()
}
