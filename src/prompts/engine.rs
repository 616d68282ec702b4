//! The template engine as it is set up for a prompt: strict, without files, and within bounds.

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, escape_formatter,
};
use serde_json::Value;

use super::budget::{Budget, MAX_STEPS, printed_bytes};
use super::builtins;
use super::checkpoints::{CHECKPOINT, add_checkpoints};

/// The only template of its environment.
pub(super) const NAME: &str = "template";

/// Returns an environment whose only template has this body.
pub(super) fn environment(body: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_formatter(|out, state, value| {
        // An optional variable that was not given is none, and says nothing.
        if value.is_none() {
            return Ok(());
        }
        let bytes = printed_bytes(value)?;
        Budget::of(state).print(bytes)?;
        escape_formatter(out, state, value)
    });
    builtins::add(&mut environment);
    let checkpoint = |state: &mut State<'_, '_>, captured: usize| {
        Budget::of(state).charge(captured)?;
        Ok::<_, Error>(true)
    };
    environment.add_function(CHECKPOINT, checkpoint);
    environment.add_template_owned(NAME, add_checkpoints(body))?;
    Ok(environment)
}

/// Variables hold nothing but scalars: their types see to that.
pub(super) fn scalar(value: &Value) -> minijinja::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => n.into(),
            (None, Some(n)) => n.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        _ => ().into(),
    }
}

/// minijinja's words without its position, which is the body's and not the file's.
pub(super) fn describe(error: &Error) -> String {
    let detail = error
        .detail()
        .map_or(String::new(), |detail| format!(": {detail}"));
    format!("{}{detail}", error.kind())
}

/// The bound that a rendering has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Time,
    Length,
}

/// Returns the bound that an error is about, if it is about one.
pub(super) fn exceeded(error: &Error) -> Option<Exceeded> {
    match error.kind() {
        ErrorKind::OutOfFuel => Some(Exceeded::Time),
        // What is written to here has no other reason to fail.
        ErrorKind::WriteFailure => Some(Exceeded::Length),
        _ => std::error::Error::source(error)?
            .downcast_ref::<Error>()
            .and_then(exceeded),
    }
}
